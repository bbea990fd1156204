"""Laboratory values beside a sensor log, each matched with the window that ends at its time.

Both files are read as logs (``sensor_log``): one time column, and the channels or the one value
column, in which a gap means no value. Windows with a gap in values or in time are left out; values
that belong to no remaining window are counted. All windows of a day are one recording.

Not guaranteed: that samples were drawn at the recorded times. Late times make any soft sensor look
bad.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.sensor_log import LogColumns, SensorLog, read_log
from wg_core.errors import DataError
from wg_core.site.reading_config import AUTO_TEXT_ENCODING

_DAY_SECONDS = timedelta(days=1).total_seconds()
_GAP_TIME_STEPS = 1.5  # Largest time between rows, in usual steps of the log


@dataclass(frozen=True, slots=True, eq=False)
class LaboratoryWindows:
    """Windows of a sensor log with their laboratory values.

    Attributes:
        windows: Windows of the log, float32 ``[n, C, samples]``.
        values: Laboratory value of each window, float64 ``[n]``; NaN where there is none.
        times: Time at the end of each window, as the log writes it.
        recording_ids: Day of each window, ``[n]``.
        channels: Names of the C channels.
        unmatched_count: Number of values without a complete window.
    """

    windows: NDArray[np.float32]
    values: NDArray[np.float64]
    times: tuple[str, ...]
    recording_ids: NDArray[np.int64]
    channels: tuple[str, ...]
    unmatched_count: int

    def select_channels(self, channels: Sequence[str]) -> "LaboratoryWindows":
        """Return the windows with only the given channels, in the given order.

        Raises:
            DataError: A channel is missing.
        """
        if missing := sorted(set(channels) - set(self.channels)):
            raise DataError(f"log: no column {missing[0]!r}, which the home's logs have")
        columns = [self.channels.index(name) for name in channels]
        return replace(self, windows=self.windows[:, columns], channels=tuple(channels))


def read_laboratory_windows(
    log: str | Path, laboratory: str | Path | None, *, target: str, time: str, samples: int
) -> LaboratoryWindows:
    """Cut a log into windows that end at laboratory values, and further windows between them.

    Args:
        log: Log of signals, one row per time step.
        laboratory: Table of values, one row per sample; None: there are no values.
        target: Column of values.
        time: Column of times, in both files.
        samples: Number of rows of a window, at least 2.

    Raises:
        DataError: A file cannot be read, times do not increase, the log has the target as a
            channel, no value belongs to a window, or values do not vary.
    """
    if samples < 2:
        raise DataError(f"samples: {samples}, expected at least 2 rows of the log")
    log = Path(log)
    signals = read_log(
        log, LogColumns(channels=None, time_column=time, text_columns=(time,)), AUTO_TEXT_ENCODING
    )
    clock = _read_times(log, signals)
    falls = np.flatnonzero(np.diff(clock) <= 0)
    if len(clock) < 2 or len(falls):
        at = int(falls[0]) + 3 if len(falls) else 2
        raise DataError(f"{log}: line {at}: times do not rise; sort the log by time")
    times = values = np.empty(0)
    if laboratory is not None:
        if target in signals.channels:
            raise DataError(
                f"{log}: has a column {target!r}, which is to be told; take it out of the log, or"
                " name another target: what is measured needs no soft sensor"
            )
        times, values = _read_times_and_values(Path(laboratory), target, time)
    is_complete, step = _complete_window_mask_and_time_step(signals, clock, samples)
    ends = np.searchsorted(clock, times + 1e-6, side="right")
    value_at = {
        int(end): value
        for end, moment, value in zip(ends, times, values, strict=True)
        if is_complete[end] and moment - clock[end - 1] <= _GAP_TIME_STEPS * step
    }
    if laboratory is not None and not value_at:
        raise DataError(
            f"{laboratory}: none of {len(values)} values of {target!r} belongs to {samples} whole"
            f" rows of {log.name}; both need the same clock, and perhaps windows of fewer rows"
        )
    chosen_ends = sorted({*value_at, *(np.flatnonzero(is_complete[::samples]) * samples).tolist()})
    if not chosen_ends:
        raise DataError(f"{log}: no {samples} rows without a gap in values or time")
    codes, words = signals.texts[time]
    return LaboratoryWindows(
        windows=np.stack([signals.values[end - samples : end].T for end in chosen_ends]),
        values=np.array([value_at.get(end, np.nan) for end in chosen_ends]),
        times=tuple(words[codes[end - 1]] for end in chosen_ends),
        recording_ids=np.array([int(clock[end - 1] // _DAY_SECONDS) for end in chosen_ends]),
        channels=signals.channels,
        unmatched_count=len(values) - len(value_at),
    )


def _read_times_and_values(
    laboratory: Path, target: str, time: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read times and laboratory values from a table; errors as for ``read_laboratory_windows``."""
    table = read_log(
        laboratory, LogColumns(channels=(target,), time_column=time), AUTO_TEXT_ENCODING
    )
    rows = np.isfinite(table.values[:, 0])
    times, values = _read_times(laboratory, table)[rows], table.values[rows, 0].astype(np.float64)
    if len(np.unique(times)) < len(times):
        raise DataError(f"{laboratory}: two values of {target!r} at one time; keep one of them")
    if len(values) and np.ptp(values) == 0:
        raise DataError(f"{laboratory}: all values of {target!r} are alike: nothing can be learnt")
    rise = [len(column) > 2 and (np.diff(column) > 0).all() for column in (times, values)]
    if rise == [False, True]:
        raise DataError(
            f"{laboratory}: values of {target!r} rise and times do not: the columns may be"
            " swapped; if they are not, sort the rows by time"
        )
    return times, values


def _complete_window_mask_and_time_step(
    signals: SensorLog, times: NDArray[np.float64], samples: int
) -> tuple[NDArray[np.bool_], float]:
    """Return a mask ``[rows + 1]`` of windows without gaps, and the median time step in seconds.

    Element i of the mask is for the window that ends just before row i.
    """
    steps = np.diff(times)
    step = float(np.median(steps))
    bad_rows = ~np.isfinite(signals.values).all(axis=1)
    bad_before = np.concatenate([[0], np.cumsum(bad_rows)])
    breaks_before = np.concatenate([[0, 0], np.cumsum(steps > _GAP_TIME_STEPS * step)])
    is_complete = np.zeros(len(times) + 1, np.bool_)
    ends = np.arange(samples, len(times) + 1)
    is_complete[ends] = (bad_before[ends] == bad_before[ends - samples]) & (
        breaks_before[ends] == breaks_before[ends - samples + 1]
    )
    return is_complete, step


def _read_times(path: Path, table: SensorLog) -> NDArray[np.float64]:
    if table.times is None:
        raise DataError(f"{path}: no column of times")
    return table.times
