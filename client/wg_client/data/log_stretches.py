"""Rows of each privacy unit of a sensor log, and stretches: runs of such rows without a gap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.data.label_intervals import (
    INTERVAL_UNIT,
    OVERLAP_INDEX,
    TIME_RUN_UNIT,
    LabelInterval,
    interval_row_ranges,
    match_rows_to_intervals,
)
from wg_client.data.log_reader import LogReader, time_run_indices
from wg_client.data.sensor_log import SensorLog
from wg_core.site.reading_config import SensorLogConfig


@dataclass(frozen=True, slots=True)
class UnitRows:
    """Consecutive rows of one privacy unit, from ``start`` to ``stop`` (exclusive).

    Attributes:
        start: First row.
        stop: Row after the last.
        unit: Name of the privacy unit, which no row of another unit can change.
        interval: Interval that the rows lie in, if the table of intervals names the units.
    """

    start: int
    stop: int
    unit: str
    interval: LabelInterval | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogPrivacyUnits:
    """Rows of a log by privacy unit.

    Attributes:
        unit_rows: Rows of the units.
        interval_indices: Index of the interval that each row is in, ``[n]``; -1 for none, and
            ``OVERLAP_INDEX`` for several. All are -1 if the table of intervals names the units.
        overlap_messages: Messages on overlapping intervals.
        outside_row_count: Number of rows that belong to no unit.
    """

    unit_rows: Sequence[UnitRows]
    interval_indices: NDArray[np.int64]
    overlap_messages: Sequence[str]
    outside_row_count: int = 0


def split_log_by_unit(
    log_reader: LogReader, log_name: str, sensor_log: SensorLog, intervals: Sequence[LabelInterval]
) -> LogPrivacyUnits:
    """Split a log that ``log_reader`` has read into the rows of its privacy units.

    Args:
        log_reader: The reader, which knows the privacy unit.
        log_name: Name of the log.
        sensor_log: The log.
        intervals: Intervals of this log.
    """
    n, times = len(sensor_log), sensor_log.times
    if times is None:
        times = np.arange(n) / log_reader.log.rate
    if not log_reader.units_in_table:
        interval_of, overlaps = match_rows_to_intervals(times, intervals)
        parts = list(_unit_rows_of_log(log_reader, log_name, sensor_log))
        return LogPrivacyUnits(
            unit_rows=parts, interval_indices=interval_of, overlap_messages=overlaps
        )
    bounds, overlaps = interval_row_ranges(times, intervals)
    is_inside, parts = np.zeros(n, dtype=bool), []
    for (start, stop), interval in zip(bounds, intervals, strict=True):
        is_inside[start:stop] = True
        unit = interval.privacy_unit or ""
        if log_reader.unit_column == INTERVAL_UNIT:
            unit = f"{log_name}, {interval.start_seconds!r} to {interval.end_seconds!r}"
        parts.append(UnitRows(start, stop, unit, interval))
    return LogPrivacyUnits(
        unit_rows=parts,
        interval_indices=np.full(n, -1, dtype=np.int64),
        overlap_messages=overlaps,
        outside_row_count=n - int(is_inside.sum()),
    )


def _unit_rows_of_log(
    log_reader: LogReader, log_name: str, sensor_log: SensorLog
) -> Iterator[UnitRows]:
    """Yield the rows of each privacy unit of a log whose units no table of intervals names."""
    n, times = len(sensor_log), sensor_log.times
    words: tuple[str, ...] = ("",)
    codes = np.zeros(n, dtype=np.int64)
    if log_reader.units_in_log is not None:
        codes, words = sensor_log.texts.get(log_reader.units_in_log, (codes, words))
    elif log_reader.unit_column == TIME_RUN_UNIT:
        codes = time_run_indices(sensor_log, log_reader.log)
    starts = [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist()]
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        unit = log_name
        if log_reader.units_in_log is not None:
            unit = words[int(codes[start])]
        elif log_reader.unit_column == TIME_RUN_UNIT and times is not None:
            unit = f"{log_name}, from {float(times[start:stop].min())!r}"
        yield UnitRows(start, stop, unit)


@dataclass(frozen=True, slots=True, eq=False)
class LogBreaks:
    """Masks of a log's rows, ``[n]``: usable rows, and rows that begin a new stretch."""

    usable_row_mask: NDArray[np.bool_]
    stretch_start_mask: NDArray[np.bool_]


def find_breaks(
    sensor_log: SensorLog, log_config: SensorLogConfig, code_columns: Sequence[NDArray[np.int64]]
) -> LogBreaks:
    """Find usable rows, and rows that begin a stretch: after a gap, or where a code changes.

    Args:
        code_columns: Columns of codes ``[n]``, of the label and of the interval.
    """
    # Deviation of a time step from the expected step, in samples, beyond which it is a gap.
    step_tolerance = 0.5
    is_usable: NDArray[np.bool_] = np.asarray(np.isfinite(sensor_log.values).all(axis=1))
    is_new = np.zeros(len(sensor_log), dtype=bool)
    for column_codes in code_columns:
        is_usable &= column_codes != OVERLAP_INDEX
        is_new[1:] |= column_codes[1:] != column_codes[:-1]
    if sensor_log.times is not None:
        is_usable &= np.isfinite(sensor_log.times)
        steps = np.diff(sensor_log.times) * log_config.rate
        is_new[1:] |= ~(np.abs(steps - 1) <= step_tolerance)  # a NaN is a gap, too
    is_new[1:] |= is_usable[1:] != is_usable[:-1]
    return LogBreaks(is_usable, is_new)


def find_stretches(breaks: LogBreaks, unit_rows: UnitRows) -> Iterator[tuple[int, int]]:
    """Yield first row and row after the last of each usable stretch within a unit's rows."""
    if unit_rows.stop <= unit_rows.start:
        return
    later = (
        np.flatnonzero(breaks.stretch_start_mask[unit_rows.start + 1 : unit_rows.stop])
        + unit_rows.start
        + 1
    )
    starts = [unit_rows.start, *later.tolist()]
    for start, stop in zip(starts, [*starts[1:], unit_rows.stop], strict=True):
        if breaks.usable_row_mask[start]:
            yield start, stop
