"""Reader of long sensor logs that sorts their rows by privacy unit, and of windows in them."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.label_intervals import (
    INTERVAL_UNIT,
    TIME_RUN_UNIT,
    UNITS_WITHOUT_COLUMN,
    LabelInterval,
    read_intervals,
)
from wg_client.data.sensor_log import LogColumns, SensorLog, read_log
from wg_common.modalities.base import Record
from wg_core.errors import ConfigError, DataError
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig

CACHED_LOGS_BYTES_LIMIT = 512 << 20  # Most bytes of cached logs, apart from the log last read
RELATIVE_RATE_TOLERANCE = 0.05  # Largest relative difference from the declared rate


class LogReader:
    """Reader of sensor logs and of windows in them, which keeps the last logs in memory.

    In the logs that it returns, the rows of each privacy unit are consecutive.

    Args:
        reading: Settings by which files are read.
        unit_column: Column of the privacy unit, or a member of ``UNITS_WITHOUT_COLUMN``; None: each
            window is a unit.
        intervals: Rows of the table of intervals.
    """

    def __init__(
        self,
        reading: ReadingConfig,
        unit_column: str | None = None,
        intervals: Sequence[LabelInterval] = (),
    ) -> None:
        if reading.log is None:
            raise ConfigError("data.reading.log: null, expected how windows are cut")
        self._reading = reading
        self.log: SensorLogConfig = reading.log
        self.unit_column, self.intervals = unit_column, intervals
        in_column = None if unit_column in UNITS_WITHOUT_COLUMN else unit_column
        units_listed = any(interval.privacy_unit is not None for interval in intervals)
        self.units_in_table = unit_column == INTERVAL_UNIT or (
            in_column is not None and units_listed
        )
        self.units_in_log = None if self.units_in_table else in_column
        self._cached_logs: OrderedDict[Path, SensorLog] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, path: Path, *, text_columns: Sequence[str] = (), allow_missing_texts: bool = False
    ) -> SensorLog:
        """Read a sensor log: the configured channels, times, the unit's column and text columns.

        Args:
            text_columns: Further text columns, such as that of the label.
            allow_missing_texts: Text columns may be missing.

        Raises:
            DataError: The log cannot be read, or declares another rate.
        """
        in_log = [] if self.units_in_log is None else [self.units_in_log]
        request = LogColumns(
            channels=self.log.channels,
            time_column=self.log.time,
            text_columns=(*text_columns, *in_log),
            allow_missing_texts=allow_missing_texts,
            allow_gaps=True,
        )
        if path.suffix.lower() == ".wav":
            request = replace(request, time_column=None, text_columns=())
        sensor_log = self._sort_by_unit(read_log(path, request, self._reading.encoding))
        rate = sensor_log.declared_rate_hz
        if rate is not None and abs(rate - self.log.rate) > RELATIVE_RATE_TOLERANCE * self.log.rate:
            raise DataError(f"{path}: {describe_wrong_rate(rate, self.log)}")
        with self._lock:
            self._cached_logs[path] = sensor_log
            self._cached_logs.move_to_end(path)
            while len(self._cached_logs) > 1 and sum(
                x.values.nbytes for x in self._cached_logs.values()
            ) > (CACHED_LOGS_BYTES_LIMIT):
                self._cached_logs.popitem(last=False)
        return sensor_log

    def _sort_by_unit(self, sensor_log: SensorLog) -> SensorLog:
        """Return a log in which the rows of each unit are consecutive, in the file's order."""
        key: NDArray[np.float64] | NDArray[np.int64] | None = None
        if self.units_in_table:
            key = sensor_log.times
        elif self.unit_column == TIME_RUN_UNIT:
            key = time_run_indices(sensor_log, self.log)
        elif self.units_in_log in sensor_log.texts:
            key = sensor_log.texts[self.units_in_log or ""][0]
        if key is None or bool((key[1:] >= key[:-1]).all()):
            return sensor_log
        order = np.argsort(key, kind="stable")
        return replace(
            sensor_log,
            values=sensor_log.values[order],
            times=None if sensor_log.times is None else sensor_log.times[order],
            texts={
                name: (codes[order], words) for name, (codes, words) in sensor_log.texts.items()
            },
            row_positions=np.argsort(order),
        )

    def read_window(self, path: Path, start_row: int) -> Record:
        """Return the window of a sensor log that starts at a row of the file, ``[C, time]``.

        Raises:
            DataError: The log cannot be read, or has become shorter.
        """
        with self._lock:
            sensor_log = self._cached_logs.get(path)
            if sensor_log is not None:
                self._cached_logs.move_to_end(path)
        if sensor_log is None:
            sensor_log = self.read(path, allow_missing_texts=True)
        if sensor_log.row_positions is not None and start_row < len(sensor_log):
            start_row = int(sensor_log.row_positions[start_row])
        stop = start_row + self.log.window_samples
        if stop > len(sensor_log):
            raise DataError(f"{path}: {len(sensor_log)} rows, expected at least {stop}; it changed")
        return np.ascontiguousarray(sensor_log.values[start_row:stop].T)

    def read_named_window(self, path: Path, window_name: str) -> Record:
        """Return the window that a snapshot lists by this name; errors as for ``read_window``."""
        row = window_name.removesuffix("]").rpartition("[")[2]
        if not row.isascii() or not row.isdecimal() or len(row) > 12:
            raise DataError(f"{window_name}: not the name of a window of a log")
        return self.read_window(log_path_of_window(path, window_name), int(row))


def open_log_reader(
    path: Path,
    reading: ReadingConfig,
    unit_column: str | None,
    *,
    allow_missing_table: bool = False,
) -> LogReader:
    """Return a reader of the logs at a path, after reading their table of intervals.

    Args:
        allow_missing_table: The table may be missing.

    Raises:
        DataError: The table of intervals cannot be read, or there is none although it names units.
    """
    log = LogReader(reading).log
    if unit_column == INTERVAL_UNIT and log.intervals is None:
        raise DataError(
            f"{path}: unit {INTERVAL_UNIT!r}: there is no table of intervals (--intervals)"
        )
    root = path if path.is_dir() else path.parent
    intervals = read_intervals(
        root, log, unit_column, reading.encoding, allow_missing_table=allow_missing_table
    )
    return LogReader(reading, unit_column, intervals)


def log_path_of_window(path: Path, window_name: str) -> Path:
    """Return the log that a window's name refers to."""
    return path / (window_name.rpartition("[")[0] or window_name) if path.is_dir() else path


def time_run_indices(sensor_log: SensorLog, log_config: SensorLogConfig) -> NDArray[np.int64]:
    """Return the index of each row's run, ``[n]``: no gap in a run is longer than a window.

    A run is a range of time, whatever the order of its rows in the file, so that adding or removing
    one run changes no other. A row without a time is in no run (-1).
    """
    if sensor_log.times is None:
        return np.zeros(len(sensor_log), dtype=np.int64)
    order = np.argsort(sensor_log.times, kind="stable")
    steps = np.diff(sensor_log.times[order], prepend=-np.inf) * log_config.rate
    runs = np.empty(len(order), dtype=np.int64)
    runs[order] = np.cumsum(steps > log_config.window_samples) - 1
    runs[~np.isfinite(sensor_log.times)] = -1
    return runs


def measure_sampling_rate(sensor_log: SensorLog) -> float | None:
    """Return the sampling rate by a log's median time step, Hz; None without time steps.

    The rate is 0 if the median step is not positive.
    """
    if sensor_log.times is None:
        return None
    steps = np.diff(sensor_log.times)
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        return None
    step = float(np.median(steps))
    return 1 / step if step > 0 else 0.0


def describe_wrong_rate(rate: float, log_config: SensorLogConfig) -> str:
    """Return a message on a log's sampling rate, Hz, that differs from the configured one."""
    return f"{rate:.6g} samples a second, data.reading.log.rate says {log_config.rate:.6g}"
