"""The systemd recipe on a blank Debian that really boots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.deploy.debian import make_root, needs, pip_settings, run

REPOSITORY = Path(__file__).parents[2]
UNIT = """[Unit]
Description=What an operator types
After=multi-user.target
[Service]
Type=oneshot
Environment=PYTHON={python} HOME=/root
StandardOutput=file:/recipe.log
StandardError=file:/recipe.log
ExecStart=/bin/sh /src/tests/deploy/recipe.sh
"""


def write_images(folder: Path) -> None:
    """Two classes of twenty grey pictures."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ok", "scratch")):
        (folder / name).mkdir(parents=True)
        for record in range(20):
            picture = rng.integers(0, 128, (32, 32), dtype=np.uint8)
            picture[16] += 127 * number
            Image.fromarray(picture).save(folder / name / f"{record}.png")


@pytest.mark.slow
@needs("mmdebstrap", "systemd-nspawn")
def test_the_recipe_of_the_guide_serves_from_a_blank_debian(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_root(root, "age", "dbus", "systemd", "systemd-sysv")
    files = run("git", "-C", REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in files.splitlines():
        place = root / "src" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((REPOSITORY / name).read_bytes())
        place.chmod((REPOSITORY / name).stat().st_mode)
    settings = pip_settings()
    (root / "etc/pip.conf").write_text(settings.text)
    python = "/usr/bin/python3" if sys.base_prefix == "/usr" else "/usr/local/bin/python3"
    unit = root / "etc/systemd/system/recipe.service"
    unit.write_text(UNIT.format(python=python))
    wants = root / "etc/systemd/system/default.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit.name).symlink_to(f"../{unit.name}")
    write_images(root / "srv/plant-data")
    booted = subprocess.run(
        [
            *("systemd-nspawn", "--directory", str(root), "--boot", "--register=no"),
            *("--keep-unit", "--resolv-conf=copy-host", "--console=pipe"),
            f"--machine=weightgate-{os.getpid()}",
            *(f"--bind-ro={folder}" for folder in settings.folders),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = root / "recipe.log"
    said = log.read_text(errors="replace") if log.exists() else booted.stdout
    assert "recipe ended with 0" in said, said[-8000:]
