"""The lock of CI and releases covers what ``pyproject.toml`` asks for, by version and hash."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"torch", "torchvision", "weightgate"}  # builds by machine, and ourselves


def requirements() -> list[str]:
    """What ``pyproject.toml`` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [line for extra in project["optional-dependencies"].values() for line in extra]
    return [*project["dependencies"], *lines]


def locked() -> dict[str, str]:
    text = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\$", text, re.MULTILINE)
    }


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    found = locked()
    for line in requirements():
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


def test_the_table_of_versions_stands_at_each_lower_bound_and_within_each_upper_one() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    ran = {
        row[0]: row[1:] for row in re.findall(r"^\| ([\w-]+) \| (\d\S*) \| (\d\S*) \|$", page, re.M)
    }
    bounded = [
        requirement
        for requirement in map(Requirement, requirements())
        if requirement.name != "weightgate" and requirement.specifier
    ]
    assert len(bounded) > 40
    for requirement in bounded:
        lowest, newest = ran[canonicalize_name(requirement.name)]
        assert newest in requirement.specifier, requirement
        for bound in requirement.specifier:
            if bound.operator == ">=":
                assert Version(bound.version) == Version(lowest), f"{requirement}: make test-bounds"


def made(*words: str) -> str:
    """What make would do, or does; an environment that is there stays as it is."""
    done = subprocess.run(
        ["make", "--no-print-directory", *words], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize(("version", "locked_by_default"), [("3.11", True), ("3.12", False)])
def test_setup_uses_the_lock_where_the_version_of_python_fits(
    tmp_path: Path, version: str, locked_by_default: bool
) -> None:
    python = f"PYTHON=sh -c 'echo {version}' --"
    place = ("-f", str(ROOT / "Makefile"), "-C", str(tmp_path), f"VENV={tmp_path}/venv")
    words = ("-n", *place, python)
    (tmp_path / "pyproject.toml").touch()
    recipe = made(*words, "setup")
    assert ("--require-hashes --requirement requirements/dev.txt" in recipe) is locked_by_default
    assert (f"the lock is for Python 3.11, this is {version}" in recipe) is not locked_by_default
    assert "requirements/dev.txt" not in made(*words, "LOCKED=", "setup").replace("e5", "")


@pytest.mark.parametrize(
    ("lines", "cleared"),
    [
        (["No known vulnerabilities found"], True),
        (["No known vulnerabilities found", "numpy could not be audited"], False),
        (["Found 1 known vulnerability in 1 package"], False),
        ([], False),
    ],
)
def test_what_was_not_looked_up_is_a_warning_and_no_all_clear(
    tmp_path: Path, lines: list[str], cleared: bool
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    words = ("-f", str(ROOT / "Makefile"), "-C", str(tmp_path), "-o", "setup", f"BIN={tmp_path}")
    said = made("--silent", *words, "audit-deps")
    assert ("No known vulnerabilities" in said) is cleared
    assert ("warning:" in said) is not cleared
