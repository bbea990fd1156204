"""Pages for people: links lead somewhere, and what they tell a reader to run is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench/results").glob("*.md")]
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FILE = re.compile(r"`((?:[\w.]+/)*\w+\.(?:py|j2))`")
DOTTED = re.compile(r"`(wg_(?:common|server|client)(?:\.\w+)+)`")
TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)?(?:::)?(test_\w+)?`")
ENDS = (".py", "/__init__.py")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def anchors(text: str) -> set[str]:
    """Anchors that GitHub gives to headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def links(page: Path) -> Iterator[str]:
    for match in LINK.finditer(CODE.sub("", page.read_text("utf-8"))):
        yield match[1] or match[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_blank_line_cuts_a_table(page: Path) -> None:
    """A row after a blank line is text, unless it is the head of another table."""
    lines = page.read_text("utf-8").splitlines()
    for before, blank, row, after in zip(lines, lines[1:], lines[2:], lines[3:], strict=False):
        if before.startswith("|") and not blank and row.startswith("|"):
            assert after.startswith("|--") or after.startswith("| --"), f"{page.name}: {row[:60]}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}" in navigation, page.name


def test_links_are_found() -> None:
    assert sum(1 for page in PAGES for _ in links(page)) > 120


def test_files_and_modules_that_pages_name_are_there() -> None:
    """The change log names what was there when it was written."""
    sources = {
        f"/{path.relative_to(ROOT).as_posix()}"
        for part in ("common", "server", "client", "extras", "tests", "bench", "demo")
        for path in (ROOT / part).rglob("*.*")
    }
    found = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text("utf-8")
        for file in FILE.findall(text):
            assert any(source.endswith(f"/{file}") for source in sources), f"{page.name}: {file}"
            found += 1
        for name in DOTTED.findall(text):
            path = name.replace(".", "/")
            ends = [f"/{one}{end}" for one in (path, path.rpartition("/")[0]) for end in ENDS]
            assert any(source.endswith(tuple(ends)) for source in sources), f"{page.name}: {name}"
            found += 1
    assert found > 40


def test_tests_that_pages_name_are_there() -> None:
    where: dict[str, list[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for test in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text("utf-8"), re.M):
            where.setdefault(test, []).append(f"/{path.relative_to(ROOT).as_posix()}")
    files = {file for named in where.values() for file in named}
    found = 0
    for page in (ROOT / "docs").glob("*.md"):
        for file, test in TEST.findall(page.read_text("utf-8")):
            assert not test or test in where, f"{page.name}: {test}"
            places = where[test] if test else files
            assert not file or any(place.endswith(f"/{file}") for place in places), file
            found += 1
    assert found > 80


def test_make_targets_that_contributors_are_told_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    targets = set(TARGET.findall(" ".join(CODE.findall(text))))
    assert {"setup", "lint", "test", "limits", "lock", "package", "sbom"} <= targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
