"""The glossary: each term once, short, with its Japanese word; and every word that files keep."""

from __future__ import annotations

import re
import typing
from pathlib import Path

from wg_common import weights_package
from wg_core.ledger import entries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/glossary.md").read_text("utf-8")
TERMS, KEPT = PAGE.split("## Names that files keep")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
STRING = re.compile(r"`([a-z._-]+)`")
# What the field does not say, or says of something else. Files keep some of it: see the last table.
OLD = set(
    re.findall(
        r"\w+",
        "contest entrant kin sister sisters stranger strangers skeleton skeletons twin caution nats"
        " clearance blend bridge shelf completed leak guess wander wanders trust",
    )
)


def rows(text: str) -> list[tuple[str, str, str]]:
    return [row for row in ROW.findall(text) if row[0] not in {"Term", "---", "Where"}]


def test_a_term_stands_once_and_takes_two_sentences_at_most() -> None:
    found = rows(TERMS)
    assert len(found) > 80
    terms = [term.strip().lower() for row in found for term in row[0].split(", ")]
    assert len(terms) == len(set(terms)), sorted(t for t in terms if terms.count(t) > 1)
    for term, _, meaning in found:
        sentences = re.findall(r"\.(?:\s|$)", meaning.replace("et al.", "et al"))
        assert meaning.endswith("."), term
        assert len(sentences) <= 2, f"{term}: {meaning}"


def test_every_term_has_its_japanese_word() -> None:
    for term, japanese, _ in rows(TERMS):
        assert re.search(r"[぀-ヿ一-鿿]", japanese), term


def test_a_word_in_italics_has_its_own_line() -> None:
    terms = {term.strip() for row in rows(TERMS) for term in row[0].split(", ")}
    words = [word for row in rows(TERMS) for word in re.findall(r"\*([^*]+)\*", row[2])]
    assert len(words) > 10
    for word in words:
        assert {word, word.removesuffix("s")} & terms, word


def test_old_words_stand_only_where_files_keep_them() -> None:
    words = set(re.findall(r"[a-z]+", TERMS.lower()))
    assert not words & OLD


def test_all_names_of_sources_entries_and_files_are_there() -> None:
    kept = set(STRING.findall(KEPT))
    sources = typing.get_args(typing.get_type_hints(weights_package.Candidate)["source"])
    assert len(sources) > 2
    assert set(sources) <= kept
    assert set(entries.ENTRY_TYPES) <= set(STRING.findall(TERMS))
    for suffix in (".wgs", ".wgw", ".wgl"):
        assert suffix in kept


def test_names_that_files_keep_are_in_the_code() -> None:
    code = "".join(
        path.read_text("utf-8")
        for part in ("common", "server", "client")
        for path in sorted((ROOT / part).rglob("*.py"))
    )
    for name in STRING.findall(KEPT):
        assert re.search(rf"[\"'`]{re.escape(name.removeprefix('.'))}[\"'`]", code), name
