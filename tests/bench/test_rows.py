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
