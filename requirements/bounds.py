"""The versions with which the suite ran, as a table: ``bounds.py LOWEST NEWEST``.

Reads what ``make test-bounds`` resolved at both ends of the bounds in ``pyproject.toml``.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def asked() -> list[str]:
    """Packages with bounds in ``pyproject.toml``, by name."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    lists = project["dependencies"], *project["optional-dependencies"].values()
    names = (re.match(r"([\w.-]+)(\[\w+\])?[<>=]", line) for lines in lists for line in lines)
    return sorted({name[1].lower() for name in names if name})


def versions(path: Path) -> dict[str, str]:
    """Version of each package in a list of requirements."""
    lines = path.read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def table(lowest: dict[str, str], newest: dict[str, str]) -> str:
    """A line a package that both ends have, in Markdown."""
    rows = [f"| {name} | {lowest[name]} | {newest[name]} |" for name in asked() if name in lowest]
    return "\n".join(["| package | lowest | newest |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table(*(versions(Path(word)) for word in sys.argv[1:3])))
