"""The catalogue of failures, its page, and the checks say the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from wg_client.selection.checks import registry
from wg_core.site.weights_failures import FAILURE_CODES, FAILURE_MODES

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/failures.md").read_text("utf-8")
TESTS = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))


def test_the_page_has_every_failure_in_order_with_its_default() -> None:
    headings = re.findall(r"^## (WG-F\d\d): (.+)$", PAGE, re.MULTILINE)
    assert headings == [(failure.code, failure.name) for failure in FAILURE_MODES]
    rows = re.findall(r"^\| \[(WG-F\d\d)\]\(#[a-z0-9-]+\) \| (.+) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert rows == [(failure.code, failure.name, failure.action) for failure in FAILURE_MODES]


def test_every_failure_has_a_check_of_its_own_and_every_check_a_failure() -> None:
    codes = [vars(sys.modules[str(check.__module__)])["CODE"] for check in registry.CHECKS]
    assert len(set(codes)) == len(codes) and set(codes) == FAILURE_CODES


def test_each_section_says_how_it_is_found_what_to_do_and_names_a_test_that_makes_it() -> None:
    for section in PAGE.split("\n## ")[1 : 1 + len(FAILURE_MODES)]:
        for word in ("**What.**", "**Found by**", "**Limits**", "**Example**", "**Do**"):
            assert word in section, section[:40]
        (name,) = re.findall(r"\*\*Example\*\* `(\w+)`", section)
        assert f"def {name}(" in TESTS, name
