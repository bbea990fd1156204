"""The documentation site: every page is in it, and what is no page does not pass for one."""

from __future__ import annotations

import os
import re
from pathlib import Path

from requirements import docs_site
from tests.common.test_pages import CODE, LINK

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r": (\S+\.md)$", re.MULTILINE)


def test_every_page_is_in_the_navigation_or_linked_from_another(tmp_path: Path) -> None:
    count = docs_site.write(tmp_path)
    listed = set(PLACE.findall((ROOT / "mkdocs.yml").read_text("utf-8")))
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert len(written) == count and listed <= written
    linked = {
        Path(os.path.normpath(page.parent / (match[1] or match[2]).partition("#")[0]))
        for page in tmp_path.rglob("*.md")
        for match in LINK.finditer(page.read_text("utf-8"))
    }
    assert [page for page in sorted(written - listed) if tmp_path / page not in linked] == []


def test_links_of_the_site_stay_on_it(tmp_path: Path) -> None:
    docs_site.write(tmp_path)
    found = 0
    for page in tmp_path.rglob("*.md"):
        for match in LINK.finditer(CODE.sub("", page.read_text("utf-8"))):
            target = (match[1] or match[2]).partition("#")[0]
            if target and not target.startswith("https://"):
                place = (page.parent / target).resolve()
                assert place.is_relative_to(tmp_path) and place.is_file(), f"{page.name}: {target}"
                found += 1
    assert found > 50


def test_links_to_code_become_paths() -> None:
    page = ROOT / "docs/architecture.md"
    text = docs_site.converted(page, "architecture.md")
    assert "(`client/wg_client/cli`)" in text and "](../client" not in text
    assert "[glossary](glossary.md)" in text
