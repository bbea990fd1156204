"""How large an installation is: for an auditor, a plant, a server; of what is installed here.

Usage: python requirements/sizes.py [--packages]

Sums the files of every package that an extra needs, directly or through others, as pip recorded
them. Compiled bytecode is not in it (Python adds about a tenth), nor is Python itself. What is not
installed here is named.
"""

import argparse
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "weightgate"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
SIDES = {"auditor": "", "plant": "client", "server": "server"}


def own(extra: str) -> list[str]:
    """What this project's ``pyproject.toml`` asks for, with an extra; empty: without one."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    found = list(project["dependencies"])
    todo = [extra] if extra else []
    while todo:
        for line in project["optional-dependencies"][todo.pop()]:
            wanted = Requirement(line)
            if wanted.name == PROJECT:
                todo += wanted.extras
            else:
                found.append(line)
    return found


def needed(extra: str) -> tuple[dict[str, Distribution], set[str]]:
    """Packages of an installation with an extra, and the names of those that are not here."""
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    todo = [(line, "") for line in own(extra)]
    seen: set[tuple[str, str]] = set()
    while todo:
        line, context = todo.pop()
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        if wanted.marker and not wanted.marker.evaluate({"extra": context}):
            continue
        try:
            package = found.setdefault(name, distribution(name))
        except PackageNotFoundError:
            missing.add(name)
            continue
        for each in {"", *wanted.extras}:
            if (name, each) not in seen:
                seen.add((name, each))
                todo += [(text, each) for text in package.requires or ()]
    return found, missing


def size_of(package: Distribution) -> int:
    """Bytes of a package's files, as it was installed; bytecode is left out."""
    total = 0
    for file in package.files or ():
        if file.suffix == ".pyc":
            continue
        path = file.locate()
        total += path.stat().st_size if path.is_file() else 0  # type: ignore[attr-defined]
    return total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", action="store_true", help="The largest packages as well.")
    words = parser.parse_args()
    for side, extra in SIDES.items():
        found, missing = needed(extra)
        sizes = {name: size_of(package) for name, package in found.items()}
        line = f"pip install '{PROJECT}{f'[{extra}]' if extra else ''}'"
        print(f"{side:8} {sum(sizes.values()) / 1e6:8.0f} MB  {len(found):3} packages  {line}")
        if words.packages:
            for name, size in sorted(sizes.items(), key=lambda each: -each[1])[:8]:
                print(f"         {size / 1e6:8.0f} MB  {name} {found[name].version}")
        if missing:
            print(f"         not installed here: {', '.join(sorted(missing))}", file=sys.stderr)


if __name__ == "__main__":
    main()
