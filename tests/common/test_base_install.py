"""In an installation without extras, which is an auditor's, a command says what to install."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    "efficientnet-lite-pytorch": "efficientnet_lite_pytorch",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "prometheus-client": "prometheus_client",
}


def extras() -> list[str]:
    """Names of modules that only extras install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = set()
    for extra in ("models", "server", "client", "postgres"):
        for line in project["optional-dependencies"][extra]:
            name = re.split(r"[\[<>=;]", line)[0].strip()
            if name != "weightgate":
                found.add(MODULES.get(name, name.replace("-", "_")))
    return sorted(found)


@pytest.mark.parametrize(
    ("program", "words"), [("server", ["init", "--home"]), ("client", ["run", "--home"])]
)
def test_a_command_without_its_extra_names_it(
    tmp_path: Path, program: str, words: list[str]
) -> None:
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({extras()}))\n"
        f"from wg_{program}.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    expected = rf"error: \w+ is not installed: pip install 'weightgate\[{program}\]'"
    assert re.search(expected, done.stderr) and "Traceback" not in done.stderr
