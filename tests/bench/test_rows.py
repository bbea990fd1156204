"""Rows of results: what was left out, and what a later run does."""

from __future__ import annotations

import json
from pathlib import Path

from bench.rows import Row, Rows, judged

Job = tuple[str, Path]


def work(job: Job) -> Row | None:
    key, data = job
    return {"key": key, "scores": {"a": 1.0}} if data.exists() else None


def test_a_data_set_that_was_not_here_is_judged_when_it_is(tmp_path: Path) -> None:
    results, data = tmp_path / "rows.jsonl", tmp_path / "data"
    assert judged(Rows(results), work, [("one", data)], 1) == []
    data.touch()
    assert [row["key"] for row in judged(Rows(results), work, [("one", data)], 1)] == ["one"]
    data.unlink()
    assert [row["key"] for row in judged(Rows(results), work, [("one", data)], 1)] == ["one"]
    assert [json.loads(line)["key"] for line in results.read_text().splitlines()] == ["one"]


def test_rows_that_nobody_asked_for_are_in_no_table(tmp_path: Path) -> None:
    """Those of another generator, or of cells that are left out, stay in the file."""
    rows = Rows(tmp_path / "rows.jsonl")
    rows.add({"key": "another", "scores": {"a": 0.0}})
    assert [row["key"] for row in judged(rows, work, [("one", tmp_path)], 1)] == ["one"]
