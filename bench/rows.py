"""Rows of results as JSON lines: a run that was cut short goes on where it stopped."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Row = dict[str, Any]
"""``key``, ``dataset``, ``cell``, and ``scores``: accuracy by method. Where ``cell`` is empty, such
scores by cell."""
Job = TypeVar("Job", bound=tuple[Any, ...])


class Rows:
    """The rows of one file, by key."""

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

    def of(self, *prefixes: str) -> list[Row]:
        """Rows whose key begins with one of these; all without any."""
        return [row for key, row in self._rows.items() if key.startswith(prefixes or ("",))]


def judged(
    rows: Rows, work: Callable[[Job], Row | None], jobs: Sequence[Job], processes: int
) -> list[Row]:
    """Do what is not done yet, over processes; the rows of all of these jobs that have scores.

    Args:
        work: From a job, whose first part is its key, to a row; None where its data set is not
            there, so that a later run asks again.
    """
    left = [job for job in jobs if job[0] not in rows]
    with ProcessPoolExecutor(processes) as pool:
        for job, row in zip(left, pool.map(work, left), strict=True):
            if row is not None:
                rows.add(row)
            print(job[0] if row is not None else f"{job[0]}: not here, left out", flush=True)
    asked = {job[0] for job in jobs}
    return [row for row in rows.of() if row["key"] in asked and row["scores"]]


def by_cell(rows: Iterable[Row]) -> Iterator[Row]:
    """A row for each cell."""
    for row in rows:
        cells = {row["cell"]: row["scores"]} if row["cell"] else row["scores"]
        yield from ({**row, "cell": cell, "scores": scores} for cell, scores in cells.items())


def write_table(text: str, path: Path | None) -> None:
    """Print a table, and write it where asked to."""
    print(text)
    if path:
        path.write_text(text + "\n")
