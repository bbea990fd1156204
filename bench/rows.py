"""Rows of results in a file of JSON lines, from which an interrupted run continues."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Row = dict[str, Any]
"""Result with ``key``, unique in its file, ``dataset``, ``cell`` (configuration), and ``scores``:
accuracy by method, or, if ``cell`` is empty, accuracies by method for each of several cells."""
Job = TypeVar("Job", bound=tuple[Any, ...])


class Rows:
    """Rows of one file, by key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.is_file() else []
        self._rows: dict[str, Row] = {row["key"]: row for row in map(json.loads, lines)}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, row: Row) -> None:
        """Append a row to the file."""
        with self._path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self._rows[row["key"]] = row

    def with_prefix(self, *prefixes: str) -> list[Row]:
        """Return the rows whose key begins with one of the prefixes; all rows without any."""
        return [row for key, row in self._rows.items() if key.startswith(prefixes or ("",))]


def evaluate_jobs(
    rows: Rows, evaluate: Callable[[Job], Row | None], jobs: Sequence[Job], processes: int
) -> list[Row]:
    """Run the jobs without a row in several processes; return all jobs' rows that have scores.

    Args:
        evaluate: Turns a job, whose first element is the key, into a row, or into None if the job's
            data set is missing; a later run then tries again.
    """
    left = [job for job in jobs if job[0] not in rows]
    with ProcessPoolExecutor(processes) as pool:
        for job, row in zip(left, pool.map(evaluate, left), strict=True):
            if row is not None:
                rows.add(row)
            print(job[0] if row is not None else f"{job[0]}: not here, left out", flush=True)
    asked = {job[0] for job in jobs}
    return [row for row in rows.with_prefix() if row["key"] in asked and row["scores"]]


def split_by_cell(rows: Iterable[Row]) -> Iterator[Row]:
    """Split rows into one row per cell."""
    for row in rows:
        cells = {row["cell"]: row["scores"]} if row["cell"] else row["scores"]
        yield from ({**row, "cell": cell, "scores": scores} for cell, scores in cells.items())


def write_table(text: str, path: Path | None) -> None:
    """Print a table, and write it to a file if a path is given."""
    print(text)
    if path:
        path.write_text(text + "\n")
