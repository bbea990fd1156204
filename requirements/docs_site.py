"""The pages of the documentation site: ``docs/`` and the README, as the site generator reads them.

    python requirements/docs_site.py build/docs-pages

The same files are read on paper, in an editor and here. What differs on the site: the README is the
first page, and a link to a file that is no page becomes the file's path.
"""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOME = "index.md"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"(```.*?```)", re.DOTALL)
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.ja.md": "readme.ja.md",
}
"""Pages beside ``docs/`` that are part of the site."""


def moved(path: Path) -> str | None:
    """Where a file of the project lies on the site; None: it is no page of it."""
    if path == ROOT / "README.md":
        return HOME
    if path.parent == ROOT and path.name in ELSEWHERE:
        return ELSEWHERE[path.name]
    if path.is_relative_to(DOCS) and path.is_file():
        return path.relative_to(DOCS).as_posix()
    return None


def converted(page: Path, place: str) -> str:
    """Text of a page with its links as they are on the site."""

    def link(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return match[0]
        found = (page.parent / path).resolve()
        there = moved(found)
        if there is None:
            return f"{words} (`{found.relative_to(ROOT).as_posix()}`)"
        relative = os.path.relpath(there, Path(place).parent)
        return f"{picture}[{words}]({relative}{'#' if anchor else ''}{anchor})"

    parts = FENCED.split(page.read_text("utf-8"))
    return "".join(part if row % 2 else LINK.sub(link, part) for row, part in enumerate(parts))


def write(out: Path) -> int:
    """Write all pages, and what they show; returns how many pages there are."""
    shutil.rmtree(out, ignore_errors=True)
    beside = [ROOT / "README.md", *(ROOT / name for name in ELSEWHERE)]
    count = 0
    for path in [*beside, *sorted(p for p in DOCS.rglob("*") if p.is_file())]:
        place = moved(path) or ""
        target = out / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(converted(path, place), "utf-8")
            count += 1
        else:
            shutil.copyfile(path, target)
    return count


if __name__ == "__main__":
    print(f"{write(Path(sys.argv[1]))} pages")
