"""A blank Debian, with the Python of this machine where that is not Debian's own.

Everything here needs root, and says what it lacks. What the machine tells pip (where wheels lie,
which certificates to trust) is told to pip inside, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SUITE = "trixie"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def needs(*programs: str) -> pytest.MarkDecorator:
    """A mark for tests that need root and these programs."""
    missing = [name for name in programs if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def run(*words: str | Path, **options: object) -> str:
    """Run a program; its output, which is also what a failure shows."""
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **options,  # type: ignore[call-overload]
    )
    said = str(done.stdout)
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{said[-4000:]}"
    return said


def make_root(root: Path, *packages: str) -> None:
    """Debian in a folder, from the packages' own registry.

    Args:
        root: New folder.
        packages: Beside a minimal system with Python.
    """
    wanted = ",".join(("ca-certificates", "python3", "python3-venv", *packages))
    run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={wanted}", SUITE, root)
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    if sys.base_prefix != "/usr":
        # Builds of torch for CPUs may lie on this machine for this Python alone.
        for part in ("bin", "lib", "include"):
            source = Path(sys.base_prefix) / part
            shutil.copytree(source, root / "usr/local" / part, symlinks=True, dirs_exist_ok=True)
        run("chroot", root, "ldconfig")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """What this machine tells pip: text of a pip.conf, and the folders that it names."""

    text: str
    folders: tuple[Path, ...]


def pip_settings() -> PipSettings:
    """Settings that pip has here, from its files and from the environment."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    known = dict(line.partition("=")[::2] for line in listed.splitlines())
    lines, folders = ["[global]", f"cert = {CERTIFICATES}"], []
    for key in ("find-links", "constraint", "index-url", "trusted-host"):
        value = known.get(f":env:.{key}", known.get(f"global.{key}", "")).strip("'")
        if value:
            lines.append(f"{key} = {value}")
        if value.startswith("/"):
            path = Path(value)
            folders.append(path if path.is_dir() else path.parent)
    return PipSettings("\n".join([*lines, ""]), tuple(folders))
