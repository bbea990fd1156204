"""Rows of results: what was left out, and what a later run does."""

from __future__ import annotations

import json
from pathlib import Path

from bench import tables
from bench.rows import Row, Rows, evaluate_jobs

Job = tuple[str, Path]


def work(job: Job) -> Row | None:
    key, data = job
    return {"key": key, "scores": {"a": 1.0}} if data.exists() else None


def test_a_data_set_that_was_not_here_is_judged_when_it_is(tmp_path: Path) -> None:
    results, data = tmp_path / "rows.jsonl", tmp_path / "data"
    assert evaluate_jobs(Rows(results), work, [("one", data)], 1) == []
    data.touch()
    assert [row["key"] for row in evaluate_jobs(Rows(results), work, [("one", data)], 1)] == ["one"]
    data.unlink()
    assert [row["key"] for row in evaluate_jobs(Rows(results), work, [("one", data)], 1)] == ["one"]
    assert [json.loads(line)["key"] for line in results.read_text().splitlines()] == ["one"]


def test_rows_that_nobody_asked_for_are_in_no_table(tmp_path: Path) -> None:
    """Those of another generator, or of cells that are left out, stay in the file."""
    rows = Rows(tmp_path / "rows.jsonl")
    rows.add({"key": "another", "scores": {"a": 0.0}})
    assert [row["key"] for row in evaluate_jobs(rows, work, [("one", tmp_path)], 1)] == ["one"]


def test_plants_are_held_against_the_same_ones_of_before() -> None:
    """By data set, draw and cell, whatever version and generator made the rows."""
    cell = "S1 few labels eps=4 n=5"
    current_time, then = {"selector": 0.7, "local-only": 0.5}, {"selector": 0.4, "local-only": 0.5}
    rows = [_row("v2 aa one 0", cell, current_time), _row("v2 aa two 0", cell, current_time)]
    before = [_row("v1 bb one 0", cell, then), _row("v1 bb two 1", cell, then)]
    text = "\n".join(tables.compare_runs(rows, before))
    assert (
        "| few labels, ε 4, n 5 | 1, 1 |  | +0.0 ± nan | +30.0 ± nan | +20.0 ± nan | -10.0 ± nan |"
        in text
    )
    assert "all of few labels | 1, 1 |" in text


def _row(plant: str, cell: str, scores: dict[str, float]) -> Row:
    return {"key": f"{plant} {cell}", "dataset": plant.split()[2], "cell": cell, "scores": scores}
