"""Windows of long sensor logs, labelled and cut by public rules only.

::

    log.csv, log.wav                    one log
    DIR/**/*.csv                        many logs, each cut separately
    DIR/CLASS/**/*.csv                  the folder is the label, unless a column or table gives it

A log is divided into *stretches*: runs of rows with one label and one unit, without a gap in time,
a missing value or a row that cannot be read. Windows start at the beginning of a stretch and then
at every hop, and lie entirely within it; remaining rows are not used. Labels by interval:
``intervals``.

The windows depend only on their log and on ``SensorLogConfig``, which is fixed: the rate is
compared with the time stamps of each stretch, never estimated. Names give file and first row:
``press/04.csv[12000]``.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import (
    RECORD_LIMIT,
    DatasetSurvey,
    SurveyOptions,
    check_modality,
    explain_undeclared,
    label_index,
    normalise_name,
)
from wg_client.data.folders import is_inside, list_folder
from wg_client.data.intervals import (
    FILE,
    INTERVAL,
    NO_COLUMN,
    TIME_RUN,
    LabelInterval,
    interval_indices,
    read_intervals,
)
from wg_client.data.sensor_log import SUFFIXES, LogColumns, LogTooLarge, SensorLog, read_log
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities.base import Record
from wg_common.modalities.stored import StoredRecords
from wg_common.modalities.windows import Windows
from wg_core.errors import ConfigError, DataError
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.site.reading import ReadingConfig, SensorLogConfig
from wg_core.snapshot import Problem

CACHE_LIMIT = 512 << 20  # Most bytes of cached logs, apart from the log last read


class LogReader:
    """Reader of windows from sensor logs, which keeps the last logs in memory."""

    def __init__(self, reading: ReadingConfig) -> None:
        if reading.log is None:
            raise ConfigError("data.reading.log: null, expected how windows are cut")
        self._reading = reading
        self.log: SensorLogConfig = reading.log
        self._held: OrderedDict[Path, SensorLog] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, *, texts: Sequence[str] = (), lenient: bool = False) -> SensorLog:
        """Read a sensor log with its channels; ``texts`` are columns of labels and units.

        Raises:
            DataError: The log cannot be read, or declares another rate.
        """
        request = LogColumns(
            channels=self.log.channels,
            time=self.log.time,
            texts=tuple(texts),
            lenient=lenient,
            allow_gaps=True,
        )
        if path.suffix.lower() == ".wav":
            request = replace(request, time=None, texts=())
        sensor_log = read_log(path, request, self._reading.encoding)
        rate = sensor_log.rate
        if rate is not None and _differs(rate, self.log):
            raise DataError(f"{path}: {_describe_rate(rate, self.log)}")
        with self._lock:
            self._held[path] = sensor_log
            self._held.move_to_end(path)
            while len(self._held) > 1 and sum(x.values.nbytes for x in self._held.values()) > (
                CACHE_LIMIT
            ):
                self._held.popitem(last=False)
        return sensor_log

    def window(self, path: Path, start: int) -> Record:
        """Return one window of a sensor log, float32 ``[C, time]``.

        Raises:
            DataError: The log cannot be read, or has become shorter.
        """
        with self._lock:
            sensor_log = self._held.get(path)
            if sensor_log is not None:
                self._held.move_to_end(path)
        if sensor_log is None:
            sensor_log = self.read(path)
        stop = start + self.log.window_samples
        if stop > len(sensor_log):
            raise DataError(f"{path}: {len(sensor_log)} rows, expected at least {stop}; it changed")
        return np.ascontiguousarray(sensor_log.values[start:stop].T)

    def named_window(self, path: Path, name: str) -> Record:
        """Return the window with this name in a snapshot of ``path``; errors as for ``window``."""
        row = name.removesuffix("]").rpartition("[")[2]
        if not row.isascii() or not row.isdecimal() or len(row) > 12:
            raise DataError(f"{name}: not the name of a window of a log")
        return self.window(log_of_window(path, name), int(row))


@dataclass(slots=True)
class _Cutter:
    """Collector of the windows that are cut from sensor logs, with the settings for cutting.

    Attributes:
        root: Folder of the logs.
        logs: Reader of the logs.
        unit_column: Name of the privacy unit; None: each window.
        intervals: Lines of the table of intervals.
        lenient: True for predictions, where a column of labels may be missing.
        short: Number of stretches shorter than a window.
        other_rates: For each log with another rate than declared, its name and rate.
    """

    root: Path
    logs: LogReader
    unit_column: str | None
    intervals: Sequence[LabelInterval]
    lenient: bool
    paths: list[Path] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    short: int = 0
    other_rates: list[tuple[str, float]] = field(default_factory=list)


def log_of_window(path: Path, name: str) -> Path:
    """Return the log that a window's name refers to."""
    return path / (name.rpartition("[")[0] or name) if path.is_dir() else path


def list_logs(path: Path, table: str | None) -> list[Path]:
    """List all logs at a path, without the table of intervals.

    Raises:
        DataError: The folder cannot be read.
    """
    return list(_files(path, path if path.is_dir() else path.parent, table, []))


def is_sensor_log(path: Path) -> bool:
    """Return whether a file's suffix is one of a sensor log."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def survey_logs(path: Path, options: SurveyOptions, *, lenient: bool = False) -> DatasetSurvey:
    """Survey sensor logs; with ``lenient``, for predictions, label column or table may be missing.

    Raises:
        DataError: There is no log, or the table of intervals cannot be read.
    """
    unit_column = options.unit_column
    logs = LogReader(options.reading)
    if options.modality is not None:
        check_modality(options.modality, Windows.name, path)
    root = path if path.is_dir() else path.parent
    if unit_column == INTERVAL and logs.log.intervals is None:
        raise DataError(f"{path}: unit {INTERVAL!r}: there is no table of intervals (--intervals)")
    intervals = read_intervals(
        root, logs.log, unit_column, options.reading.encoding, lenient=lenient
    )
    cut = _Cutter(root, logs, unit_column, intervals, lenient)
    strays: list[Problem] = []
    for file in _files(path, root, logs.log.intervals, strays):
        try:
            _cut(cut, file)
        except LogTooLarge:
            raise  # a row more or less must not set other units' rows aside
        except DataError as error:
            reason = str(error).removeprefix(f"{file}: ")
            cut.problems.append(Problem(name=str(file.relative_to(root)), reason=reason))
        if len(cut.paths) > RECORD_LIMIT:
            raise DataError(f"{path}: more than {RECORD_LIMIT} windows; make the hop longer")
    cut.problems += _unknown_logs(
        logs.log.intervals or "", intervals, list_logs(path, logs.log.intervals), root
    )
    if not cut.paths and not cut.problems:
        raise DataError(
            f"{path}: no window: no sensor log ({', '.join(sorted(SUFFIXES))}), or none that has"
            f" {logs.log.window_samples} rows without a gap"
            + "".join(
                f"; {name}: {_describe_rate(rate, logs.log)}" for name, rate in cut.other_rates[:1]
            )
        )
    return _survey(cut, options.labels, strays)


def _unknown_logs(
    table: str, intervals: Sequence[LabelInterval], files: Sequence[Path], root: Path
) -> Iterator[Problem]:
    """Yield a problem for each interval whose log does not exist."""
    names = {name for file in files for name in (str(file.relative_to(root)), file.name, file.stem)}
    for interval in intervals:
        if interval.file is not None and interval.file not in names:
            reason = f"no log is called {interval.file[:80]!r}"
            yield Problem(name=f"{table}: line {interval.line}", reason=reason)


def _survey(cut: _Cutter, labels: Sequence[str] | None, strays: Sequence[Problem]) -> DatasetSurvey:
    root, logs = cut.root, cut.logs
    domain = list(labels) if labels is not None else sorted({name for name in cut.labels if name})
    if not domain and cut.problems:
        raise DataError(f"{root / cut.problems[0].name}: {cut.problems[0].reason}")
    if not domain and logs.log.intervals is not None:
        raise DataError(f"{root / logs.log.intervals}: none of its intervals meets a window")
    if not domain:
        raise DataError(
            f"{root}: no labels; name their column (--label-column), or declare them (--labels"
            " a,b,c)"
        )
    index = label_index(domain)
    names = [
        f"{file.relative_to(root)}[{start}]"
        for file, start in zip(cut.paths, cut.starts, strict=True)
    ]
    unknown = {row for row, label in enumerate(cut.labels) if label and label not in index}
    usable = [row for row in range(len(names)) if row not in unknown]
    problems = cut.problems + [
        Problem(name=names[row], reason=explain_undeclared(cut.labels[row], domain))
        for row in sorted(unknown)
    ]
    hints = []
    if cut.short:
        hints.append(
            text(
                "{count} stretches between gaps and changes of label are shorter than a window of"
                " {seconds:g} s, and are not used",
                count=cut.short,
                seconds=logs.log.window_seconds,
            )
        )
    if cut.other_rates:
        name, rate = cut.other_rates[0]
        hints.append(
            text(
                "{count} logs have another rate than data.reading.log.rate, {declared:.6g}; first"
                " {name}: {rate:.6g} samples a second. Rows at another rate are not used",
                count=len(cut.other_rates),
                declared=logs.log.rate,
                name=name,
                rate=rate,
            )
        )
    records = StoredRecords(
        Windows(),
        lambda row: logs.window(cut.paths[row], cut.starts[row]),
        range(len(cut.paths)),
        cut.paths,
    )
    return DatasetSurvey(
        data=SiteData(
            records=records.select_rows(usable),
            modality=Windows.name,
            labels=np.array([index.get(cut.labels[row], UNLABELLED) for row in usable], np.int64),
            label_names=tuple(domain),
            names=tuple(names[row] for row in usable),
            units=None if cut.unit_column is None else tuple(cut.units[row] for row in usable),
        ),
        problems=tuple(problems),
        strays=tuple(strays),
        hints=tuple(hints),
    )


def _files(path: Path, root: Path, table: str | None, strays: list[Problem]) -> Iterator[Path]:
    """Yield the logs at a path in the order of names; other files are added to ``strays``."""
    if not path.is_dir():
        yield path
        return
    for entry in list_folder(path):
        name = str(entry.relative_to(root))
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry, root, table, strays)
        elif name == table:
            continue
        elif not is_inside(root, entry):
            strays.append(Problem(name=name, reason="a link that leads out of the folder"))
        elif not is_sensor_log(entry):
            strays.append(Problem(name=name, reason="no sensor log"))
        else:
            yield entry


def _cut(cut: _Cutter, file: Path) -> None:
    """Cut one sensor log into windows, and add them to ``cut``.

    Raises:
        DataError: The log cannot be read, or its intervals overlap.
    """
    log, name = cut.logs.log, str(file.relative_to(cut.root))
    unit_column, intervals = cut.unit_column, cut.intervals
    in_column = None if unit_column in NO_COLUMN else unit_column
    in_table = in_column if any(interval.unit is not None for interval in intervals) else None
    texts = [log.label] if log.label is not None else []
    texts += [in_column] if in_column is not None and in_table is None else []
    sensor_log = cut.logs.read(file, texts=texts, lenient=cut.lenient)
    if sensor_log.damage:
        cut.problems.append(Problem(name=name, reason=sensor_log.damage))
    rate = _measure_rate(sensor_log)
    if rate is not None and _differs(rate, log):
        cut.other_rates.append((name, rate))
    n = len(sensor_log)
    no_units = (np.zeros(n, dtype=np.int64), ("",))
    label_codes, label_names = sensor_log.texts.get(log.label or "", no_units)
    unit_codes, unit_names = sensor_log.texts.get(in_column or "", no_units)
    interval_of = np.full(n, -1, dtype=np.int64)
    if intervals:
        interval_of = interval_indices(file, name, sensor_log, log, intervals)
    folder, runs = _folder_label(cut.root, file, log), gapless_run_starts(sensor_log, log)
    for start, stop in _stretches(sensor_log, log, (label_codes, unit_codes, interval_of)):
        if stop - start < log.window_samples:
            cut.short += 1
            continue
        at = int(interval_of[start])
        label = intervals[at].label if at >= 0 else label_names[int(label_codes[start])] or folder
        unit = {
            FILE: name,
            INTERVAL: f"{name}, interval {intervals[at].line}" if at >= 0 else f"{name}[{start}]",
            TIME_RUN: f"{name}[{runs[start]}]",
        }.get(unit_column or "", unit_names[int(unit_codes[start])])
        if in_table is not None:
            unit = (intervals[at].unit or "") if at >= 0 else f"{name}[{start}]"
        if unit_column is not None and not unit.strip():
            reason = f"column {unit_column!r} is empty: no privacy unit"
            cut.problems.append(Problem(name=f"{name}[{start}]", reason=reason))
            continue
        if (rate := _stretch_rate(sensor_log, start, stop)) and _differs(rate, log):
            reason = _describe_rate(rate, log)
            cut.problems.append(Problem(name=f"{name}[{start}]", reason=reason))
            continue
        for begin in range(start, stop - log.window_samples + 1, log.hop_samples):
            cut.paths.append(file)
            cut.starts.append(begin)
            cut.labels.append(normalise_name(label))
            cut.units.append(unit)


def _folder_label(root: Path, file: Path, log: SensorLogConfig) -> str:
    """Return the log's class folder as its label, if no column or table gives labels."""
    if log.label is not None or log.intervals is not None:
        return ""
    top, *inner = file.relative_to(root).parts
    return top if inner and top != UNLABELLED_FOLDER else ""


def _stretches(
    sensor_log: SensorLog, log: SensorLogConfig, codes: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[int, int]]:
    """Yield first and last row (exclusive) of each section without gap or change of label."""
    # Deviation of a time step from the expected step, in samples, beyond which it is a gap.
    step_tolerance = 0.5
    n = len(sensor_log)
    good: NDArray[np.bool_] = np.asarray(np.isfinite(sensor_log.values).all(axis=1))
    new = np.zeros(n, dtype=bool)
    new[:1] = True
    new[1:] |= good[1:] != good[:-1]
    for column_codes in codes:
        new[1:] |= column_codes[1:] != column_codes[:-1]
    if sensor_log.times is not None:
        steps = np.diff(sensor_log.times) * log.rate
        new[1:] |= ~(np.abs(steps - 1) <= step_tolerance)  # a NaN is a gap, too
    starts = np.flatnonzero(new)
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        if good[start]:
            yield int(start), int(stop)


def gapless_run_starts(sensor_log: SensorLog, log: SensorLogConfig) -> NDArray[np.int64]:
    """First row of the run that each row lies in, ``[n]``: no gap in it is longer than a window."""
    rows = np.arange(len(sensor_log))
    if sensor_log.times is None:
        return np.zeros_like(rows)
    steps = np.diff(sensor_log.times, prepend=np.nan) * log.rate
    near = (steps > 0) & (
        steps <= log.window_samples
    )  # False for a NaN and for times that run back
    return np.maximum.accumulate(np.where(near, 0, rows))


def _differs(rate: float, log: SensorLogConfig) -> bool:
    """Return whether a rate is not the declared one."""
    relative_tolerance = 0.05
    return abs(rate - log.rate) > relative_tolerance * log.rate


def _describe_rate(rate: float, log: SensorLogConfig) -> str:
    """Describe a rate that differs from the declared one."""
    return f"{rate:.6g} samples a second, data.reading.log.rate says {log.rate:.6g}"


def _stretch_rate(sensor_log: SensorLog, start: int, stop: int) -> float | None:
    """Return the median rate of a stretch; None if there are no times."""
    if sensor_log.times is None:
        return None
    return 1 / float(np.median(np.diff(sensor_log.times[start:stop])))


def _measure_rate(sensor_log: SensorLog) -> float | None:
    """Return the usual rate of a log's time stamps; None if it has too few."""
    if sensor_log.times is None:
        return None
    steps = np.diff(sensor_log.times)
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        return None
    step = float(np.median(steps))
    return 1 / step if step > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CuttingOptions:
    """Command-line options for cutting sensor logs, see ``SensorLogConfig``; None: not given."""

    window_seconds: float
    hop_seconds: float | None
    rate: float | None
    channels: tuple[str, ...] | None
    time: str | None
    label: str | None
    intervals: str | None


def propose_log_config(
    path: Path, options: CuttingOptions, *, unit_column: str | None, encoding: str
) -> SensorLogConfig:
    """Propose the cutting rule that ``init`` writes down, from options and the first log.

    If no rate is given, it is taken from the first log's times once, and is public from then on.

    Raises:
        DataError: There is no log, or the log does not determine the rule.
        ConfigError: A value is out of range.
    """
    root = path if path.is_dir() else path.parent
    file = next(_files(path, root, options.intervals, []), None)
    if file is None or not is_sensor_log(file):
        raise DataError(f"{path}: no sensor log found; read are {', '.join(sorted(SUFFIXES))}")
    in_log = None if unit_column in NO_COLUMN or options.intervals else unit_column
    texts = tuple(column for column in (options.label, in_log) if column is not None)
    log = read_log(
        file,
        LogColumns(channels=options.channels, time=options.time, texts=texts, allow_gaps=True),
        encoding,
    )
    rate = log.rate if options.rate is None else options.rate
    if rate is None:
        rate = float(f"{_measure_rate(log) or 0:.6g}") or None
    if rate is None and log.times is not None:
        raise DataError(f"{file}: its times do not run forward; sort its rows by {options.time!r}")
    if rate is None:
        raise DataError(
            f"{file}: nothing says how many samples a second it has; say it: --rate, or name the"
            " column of times: --time-column"
        )
    return SensorLogConfig(
        rate=rate,
        window_seconds=options.window_seconds,
        hop_seconds=options.window_seconds if options.hop_seconds is None else options.hop_seconds,
        channels=log.channels,
        time=options.time,
        label=options.label,
        intervals=options.intervals,
    )
