"""Every benchmark can be run, and its page says what it answers."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
MODULES = sorted(path.stem for path in BENCH.glob("*.py"))
PARTS = sorted(path.parent.name for path in BENCH.glob("*/__init__.py"))


def test_the_page_lists_every_module_once_and_no_other() -> None:
    page = (BENCH / "README.md").read_text("utf-8")
    cells = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    listed = Counter(name for cell in cells for name in re.findall(r"`(\w+)`", cell))
    assert listed == Counter([*MODULES, *PARTS])


def test_a_module_with_a_command_says_which() -> None:
    for name in MODULES:
        text = (BENCH / f"{name}.py").read_text("utf-8")
        if '__name__ == "__main__"' in text:
            assert f"bench.{name}" in text or f"make bench-{name}" in text, name


@pytest.mark.parametrize("name", MODULES)
def test_a_module_still_finds_what_it_uses(name: str) -> None:
    """Each name that a module takes from the product is there."""
    importlib.import_module(f"bench.{name}")
