"""The lock of CI and releases covers what ``pyproject.toml`` asks for, by version and hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"torch", "torchvision", "weightgate"}  # builds by machine, and ourselves
OPTIONAL = {"ray"}  # an extra that CI does not install


def locked() -> dict[str, str]:
    text = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\$", text, re.MULTILINE)
    }


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        asked += lines if extra not in OPTIONAL else []
    found = locked()
    for line in asked:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in ELSEWHERE or (requirement.marker and not requirement.marker.evaluate()):
            continue
        assert name in found, f"{line}: not in requirements/dev.txt, run 'make lock'"
        assert found[name] in requirement.specifier, f"{line}: locked at {found[name]}"


def test_everything_that_is_locked_has_hashes_and_comes_from_an_index() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    assert len(locked()) > 100
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if "==" in block.splitlines()[0]:
            assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in text and " @ " not in text
