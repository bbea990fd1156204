"""Labels of sensor logs by interval: a table of start, end and label.

Rows from start (inclusive) to end (exclusive) have the label. The table may have a column ``file``
(a log's name), and the column of the privacy unit. Times are written as in the log; if the log has
no time column, they are seconds from its first row.

Intervals of one log should not overlap; overlaps are listed as problems. If the table names the
privacy units, each interval is read as if it were the only one, so that a line of the table changes
only the windows of its own unit, and rows outside all intervals belong to no unit. Otherwise rows
in two intervals are not used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import quote_names
from wg_client.data.sensor_log import parse_time_seconds
from wg_common.modalities import table_text
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.site.reading_config import SensorLogConfig

FILE_UNIT, INTERVAL_UNIT, TIME_RUN_UNIT = "file", "interval", "time-run"
UNITS_WITHOUT_COLUMN = frozenset({FILE_UNIT, INTERVAL_UNIT, TIME_RUN_UNIT})
"""Privacy units without a column: all windows of one log, of one interval, or between two gaps in a
log's times that are longer than a window."""
OverlapMessages = list[str]
"""Messages on intervals that overlap."""
OVERLAP_INDEX = -2  # Index of the interval of a row that lies in two
INTERVAL_TABLE_BYTES_LIMIT = 16 << 20  # Largest table of intervals, in bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelInterval:
    """Row of the table of intervals.

    Attributes:
        start_seconds: First moment of the interval, seconds on the log's clock.
        end_seconds: Moment after the last, seconds.
        label: Label of the rows in the interval; empty: no label.
        log_name: Name of the log; None: any log.
        privacy_unit: Privacy unit of the rows; None: no column names it.
        line_number: Number of the line in the table.
    """

    start_seconds: float
    end_seconds: float
    label: str
    log_name: str | None
    privacy_unit: str | None
    line_number: int


def intervals_of_log(
    file: Path, relative_name: str, intervals: Sequence[LabelInterval]
) -> list[LabelInterval]:
    """Return the intervals that apply to one log: they name it, or no log.

    Args:
        relative_name: Path of the log within the folder of logs.
    """
    names = (None, relative_name, file.name, file.stem)
    return [interval for interval in intervals if interval.log_name in names]


def match_rows_to_intervals(
    times: NDArray[np.float64], intervals: Sequence[LabelInterval]
) -> tuple[NDArray[np.int64], OverlapMessages]:
    """Return the index of the interval that each row lies in, or -1, and messages on overlaps.

    Rows in two intervals have index ``OVERLAP_INDEX``.
    """
    interval_of = np.full(len(times), -1, dtype=np.int64)
    latest_of = interval_of.copy()
    overlaps = []
    for number, interval in enumerate(intervals):
        rows = (times >= interval.start_seconds) & (times < interval.end_seconds)
        overlap = rows & (latest_of >= 0)
        if overlap.any():
            earlier = intervals[int(latest_of[overlap].min())]
            overlaps.append(
                f"lines {earlier.line_number} and {interval.line_number} overlap; a moment has one"
                " label: rows in both are not used"
            )
        interval_of[rows], latest_of[rows] = number, number
        interval_of[overlap] = OVERLAP_INDEX
    return interval_of, overlaps


def interval_row_ranges(
    times: NDArray[np.float64], intervals: Sequence[LabelInterval]
) -> tuple[list[tuple[int, int]], OverlapMessages]:
    """Return each interval's first row and the row after its last, and messages on overlaps.

    Args:
        times: Times in rising order; NaN comes last.
        intervals: Intervals of one log.
    """
    starts = np.searchsorted(times, [interval.start_seconds for interval in intervals]).tolist()
    stops = np.searchsorted(times, [interval.end_seconds for interval in intervals]).tolist()
    overlaps, latest = [], -1
    for number in sorted(range(len(intervals)), key=starts.__getitem__):
        if stops[number] <= starts[number]:
            continue
        if latest >= 0 and starts[number] < stops[latest]:
            lines = sorted((intervals[latest].line_number, intervals[number].line_number))
            overlaps.append(
                f"lines {lines[0]} and {lines[1]} overlap; a moment has one label: each counts by"
                " itself"
            )
        if latest < 0 or stops[number] > stops[latest]:
            latest = number
    return list(zip(starts, stops, strict=True)), overlaps


def read_intervals(
    root: Path,
    log_config: SensorLogConfig,
    unit_column: str | None,
    encoding: str,
    *,
    allow_missing_table: bool,
) -> list[LabelInterval]:
    """Read the table of intervals; without a table the list is empty.

    Args:
        root: Folder of the logs and of the table.
        allow_missing_table: The table may be missing even if the configuration names one.

    Raises:
        DataError: The table cannot be read; the message has file, line and column.
    """
    if log_config.intervals is None:
        return []
    table = root / log_config.intervals
    if allow_missing_table and not table.is_file():
        return []
    data = atomic.read_bytes(table, limit=INTERVAL_TABLE_BYTES_LIMIT)
    lines = _numbered_lines(table, data, encoding)
    _, names = next(lines, (1, []))
    places = {
        column: table_text.find_column(names, column)
        for column in ("start", "end", "label", "file", *([unit_column] if unit_column else []))
    }
    for column in ("start", "end", "label"):
        if places[column] is None:
            raise DataError(
                f"{table}: no column {column!r}; found {quote_names(names)}, expected start, end"
                " and label"
            )
    return [_parse_interval(table, line, cells, places, unit_column) for line, cells in lines]


def _numbered_lines(table: Path, data: bytes, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each nonempty line of a table.

    Raises:
        DataError: A line cannot be read; then the whole table is refused.
    """
    text, found_encoding = table_text.decode_table(data, str(table), encoding)
    delimiter = table_text.guess_delimiter(text.partition("\n")[0])
    for line, cells in table_text.read_rows(text, delimiter):
        if isinstance(cells, str):
            raise DataError(f"{table}: line {line}: {cells}")
        if not all(map(table_text.is_decodable_text, cells)):
            wrong = table_text.describe_wrong_encoding(found_encoding)
            raise DataError(f"{table}: line {line}: {wrong}")
        yield line, cells


def _parse_interval(
    table: Path,
    line_number: int,
    cells: Sequence[str],
    column_positions: dict[str, int | None],
    unit_column: str | None,
) -> LabelInterval:
    def cell(column: str | None) -> str | None:
        place = None if column is None else column_positions.get(column)
        return None if place is None else cells[place].strip()

    if len(cells) <= max(place for place in column_positions.values() if place is not None):
        raise DataError(f"{table}: line {line_number}: {len(cells)} cells: too few")
    try:
        start, end = parse_time_seconds(cell("start") or ""), parse_time_seconds(cell("end") or "")
    except ValueError as error:
        raise DataError(f"{table}: line {line_number}: {error}") from error
    if not start < end:
        raise DataError(
            f"{table}: line {line_number}: ends at {cell('end')}, and starts at {cell('start')}"
        )
    return LabelInterval(
        start_seconds=start,
        end_seconds=end,
        label=cell("label") or "",
        log_name=cell("file") or None,
        privacy_unit=None if unit_column in UNITS_WITHOUT_COLUMN else cell(unit_column),
        line_number=line_number,
    )
