"""Every report in Chromium, in both languages, wide and narrow, light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.languages import load_demo_language as demo_speaks
from tests.browser import axe, chromium
from tests.browser.chromium import Browser
from tests.client.selection.example_reports import CASES, context
from tests.core.ledger.conftest import Site
from tests.e2e import test_demo_stories

from wg_audit import dossier_answers, verification
from wg_audit.auditor_page import render_auditor_page as render_audit
from wg_client.plant_language import load_plant_language
from wg_client.selection.report import render_report
from wg_common.language import LANGUAGE_CODES, Language

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.program() is None, reason=chromium.MISSING),
]
LANGUAGES = [load_plant_language(code) for code in LANGUAGE_CODES]
DEMO_LANGUAGES = [demo_speaks(code) for code in LANGUAGE_CODES]
SCRIPT = (Path(__file__).parent / "page_checks.js").read_text("utf-8")
WIDTHS = (1300, 390)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as opened:
        yield opened


def wrong(browser: Browser, page: Path, seen: Path) -> list[str]:
    """What is wrong with a page; pictures of it are left in ``seen``."""
    found = []
    browser.open(page.as_uri())
    for width in WIDTHS:
        for dark in (False, True):
            browser.shape(width, dark=dark)
            name = f"{page.stem}-{width}{'-dark' if dark else ''}"
            lines = json.loads(browser.run(SCRIPT))
            if axe.FILE.is_file():
                lines += axe.findings(browser)
            browser.picture(seen / f"{name}.png")
            found += [f"{name}: {line}" for line in lines]
    return found + browser.said


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
@pytest.mark.parametrize("case", CASES)
def test_the_plant_s_report(
    browser: Browser, tmp_path: Path, case: str, language: Language
) -> None:
    page = tmp_path / f"{case}.{language.code}.html"
    page.write_text(render_report(context(case), language), "utf-8")
    assert wrong(browser, page, tmp_path) == []


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
def test_the_auditor_s_page(browser: Browser, tmp_path: Path, language: Language) -> None:
    site = Site(tmp_path)
    with site.create() as ledger:
        site.register(ledger, "良品と傷", b"one")
        site.release(ledger)
        site.cosign(ledger)
        ledger.charge(site.request("r2", "0.5"))
    page = tmp_path / f"audit.{language.code}.html"
    records = dossier_answers.read_log_records(site.path, verification.audit_log(site.path))
    page.write_text(render_audit(records, language), "utf-8")
    assert wrong(browser, page, tmp_path) == []


def test_faults_of_a_page_are_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>x</title><body><main>"
        "<p style='color:#aaa;background:#fff'>faint</p><p>\U000e1234</p>"
        "<p style='width:3000px'>wide</p>"
        "<svg width=100 viewBox='0 0 300 30'><text y=20 font-size=20>small</text></svg>"
        "<div style='width:90px;overflow-x:auto'><p style='width:300px'>pushed</p></div>",
        "utf-8",
    )
    said = "\n".join(wrong(browser, page, tmp_path))
    page.write_text(page.read_text("utf-8").replace("lang=en", "lang=ja"), "utf-8")
    page.write_text(page.read_text("utf-8") + "<p>日本語 and english words here</p>", "utf-8")
    said += "\n".join(wrong(browser, page, tmp_path))
    words = (
        "contrast 2.3",
        "no font has",
        "the page is 30",
        "runs out",
        "pushed sideways",
        "text of 6.7 px",
    )
    for word in (*words, "English on a Japanese page: and english words here"):
        assert word in said


@pytest.mark.parametrize("language", DEMO_LANGUAGES, ids=lambda each: each.code)
def test_the_demo_s_page(browser: Browser, tmp_path: Path, language: Language) -> None:
    page = tmp_path / f"demo.{language.code}.html"
    page.write_text(test_demo_stories.rendered(test_demo_stories.summary(), language), "utf-8")
    assert wrong(browser, page, tmp_path) == []
