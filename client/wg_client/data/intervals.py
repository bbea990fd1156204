"""Labels of sensor logs by interval: a table of start, end and label.

Rows from start (inclusive) to end (exclusive) have the label. The table may have a column ``file``
(a log's name), and the column of the privacy unit. Times are written as in the log; if the log has
no time column, they are seconds from its first row. Intervals of one log must not overlap.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import list_names
from wg_client.data.sensor_log import SensorLog, parse_time
from wg_common.modalities import tables
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.site.reading import SensorLogConfig

FILE, INTERVAL, TIME_RUN = "file", "interval", "time-run"
NO_COLUMN = frozenset({FILE, INTERVAL, TIME_RUN})
"""Privacy units without a column: all windows of one log, of one interval, or between two gaps in a
log's times that are longer than a window."""
INTERVALS_LIMIT = 16 << 20  # Largest table of intervals, in bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelInterval:
    """One row of the table of intervals."""

    start: float
    end: float
    label: str
    file: str | None
    unit: str | None
    line: int


def interval_indices(
    file: Path,
    name: str,
    sensor_log: SensorLog,
    log: SensorLogConfig,
    intervals: Sequence[LabelInterval],
) -> NDArray[np.int64]:
    """Return the index of the interval that each row lies in, or -1.

    Raises:
        DataError: Two intervals of one log overlap.
    """
    times = np.arange(len(sensor_log)) / log.rate if sensor_log.times is None else sensor_log.times
    interval_of = np.full(len(sensor_log), -1, dtype=np.int64)
    for number, interval in enumerate(intervals):
        if interval.file is not None and interval.file not in (name, file.name, file.stem):
            continue
        rows = (times >= interval.start) & (times < interval.end)
        overlaps = np.unique(interval_of[rows & (interval_of >= 0)])
        if len(overlaps):
            earlier = intervals[int(overlaps[0])]
            raise DataError(
                f"{file}: {log.intervals}: lines {earlier.line} and {interval.line} overlap; a"
                " moment has one label"
            )
        interval_of[rows] = number
    return interval_of


def read_intervals(
    root: Path, log: SensorLogConfig, unit_column: str | None, encoding: str, *, lenient: bool
) -> list[LabelInterval]:
    """Read the table of intervals; an empty list if there is no table.

    Raises:
        DataError: The table cannot be read; the message has file, line and column.
    """
    if log.intervals is None:
        return []
    table = root / log.intervals
    if lenient and not table.is_file():
        return []
    data = atomic.read_bytes(table, limit=INTERVALS_LIMIT)
    text = tables.decode_text(data, str(table), encoding)
    delimiter = tables.guess_delimiter(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    intervals = []
    try:
        names = next(reader, [])
        places = {
            column: tables.find_column(names, column)
            for column in ("start", "end", "label", "file", *([unit_column] if unit_column else []))
        }
        for column in ("start", "end", "label"):
            if places[column] is None:
                raise DataError(
                    f"{table}: no column {column!r}; found {list_names(names)}, expected start, end"
                    " and label"
                )
        for line, cells in enumerate(reader, 2):
            if cells:
                intervals.append(_interval(table, line, cells, places, unit_column))
    except csv.Error as error:
        raise DataError(f"{table}: line {reader.line_num}: not CSV: {error}") from error
    return intervals


def _interval(
    table: Path,
    line: int,
    cells: Sequence[str],
    places: dict[str, int | None],
    unit_column: str | None,
) -> LabelInterval:
    def cell(column: str | None) -> str | None:
        place = None if column is None else places.get(column)
        return None if place is None else cells[place].strip()

    if len(cells) <= max(place for place in places.values() if place is not None):
        raise DataError(f"{table}: line {line}: {len(cells)} cells: too few")
    try:
        start, end = parse_time(cell("start") or ""), parse_time(cell("end") or "")
    except ValueError as error:
        raise DataError(f"{table}: line {line}: {error}") from error
    if not start < end:
        raise DataError(
            f"{table}: line {line}: ends at {cell('end')}, and starts at {cell('start')}"
        )
    return LabelInterval(
        start=start,
        end=end,
        label=cell("label") or "",
        file=cell("file") or None,
        unit=None if unit_column in NO_COLUMN else cell(unit_column),
        line=line,
    )
