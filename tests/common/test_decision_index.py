"""The index of decision records lists each record once, with the status that stands in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS = {path.name[:4]: path for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
INDEX = (ROOT / "docs/decisions/README.md").read_text("utf-8")
ROW = re.compile(
    r"^\| \[(\d{4})\]\((\d{4}-[a-z0-9-]+\.md)\) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE
)
GONE = re.compile(r"^\| (\d{4}) \| \[(\d{4})\]\(", re.MULTILINE)
LINK = re.compile(r"\[(\d{4})\]\(\d{4}-[a-z0-9-]+\.md\)")
MENTION = re.compile(r"decisions?/(\d{4})((?:(?:, | and | to )\d{4})*)")


def status(text: str) -> tuple[str, list[str]]:
    """First word of a status, and the records that it names before its colon."""
    return text.split()[0].strip(".").lower(), LINK.findall(text.split(":")[0])


def test_every_record_is_listed_once_with_its_own_status() -> None:
    rows = ROW.findall(INDEX)
    assert sorted(number for number, *_ in rows) == sorted(RECORDS)
    for number, file, _, listed in rows:
        assert file == RECORDS[number].name
        lines = RECORDS[number].read_text("utf-8").splitlines()
        assert re.match(rf"# {number}:? \S", lines[0]), lines[0]
        own = "accepted"
        if lines[2].startswith("**Status.** "):
            own = lines[2].removeprefix("**Status.** ")
        word, others = status(own)
        assert word in {"accepted", "amended", "superseded"}, number
        assert (word, others if word != "accepted" else []) == status(listed), number


def test_a_number_that_is_gone_is_held_by_the_record_that_the_index_names() -> None:
    for gone, now in GONE.findall(INDEX):
        assert gone not in RECORDS
        assert gone in RECORDS[now].read_text("utf-8"), f"{now} does not name {gone}"


def test_code_and_pages_name_records_that_are_there() -> None:
    found = 0
    for part in ("common", "server", "client", "bench", "demo", "tests", "docs"):
        for path in sorted((ROOT / part).rglob("*")):
            if path.suffix not in {".py", ".md", ".yaml", ".j2"} or path.parent.name == "out":
                continue
            for first, rest in MENTION.findall(path.read_text("utf-8")):
                for number in (first, *re.findall(r"\d{4}", rest)):
                    assert number in RECORDS, f"{path.relative_to(ROOT)} names {number}"
                    found += 1
    assert found > 100
