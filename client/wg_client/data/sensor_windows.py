"""Windows of long sensor logs, labelled and cut by public rules only.

::

    log.csv, log.wav                    one log
    DIR/**/*.csv                        many logs, each cut separately
    DIR/CLASS/**/*.csv                  the folder is the label, unless a column or table gives it

The rows of each privacy unit are read as if the log had no others: rows of other units between
them neither separate nor connect them. They are divided into *stretches*: runs of rows with one
label, without a gap in time, a missing value or a row that cannot be read. Windows start at the
beginning of a stretch and then at every hop, and lie entirely within it; remaining rows are not
used. Labels by interval: ``label_intervals``.

The windows and the names of units depend only on the rows of their unit and on
``SensorLogConfig``, which is fixed: the rate is compared with the time stamps of each stretch,
never estimated. Names of windows give file and first row: ``press/04.csv[12000]``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wg_client.data.class_folders import is_inside, list_folder
from wg_client.data.dataset import (
    RECORD_COUNT_LIMIT,
    DatasetSurvey,
    SurveyOptions,
    check_modality,
    explain_undeclared_label,
    label_positions,
    normalise_name,
    undeclared_labels,
)
from wg_client.data.label_intervals import (
    TIME_RUN_UNIT,
    UNITS_WITHOUT_COLUMN,
    LabelInterval,
    intervals_of_log,
)
from wg_client.data.log_reader import (
    RELATIVE_RATE_TOLERANCE,
    LogReader,
    describe_wrong_rate,
    measure_sampling_rate,
    open_log_reader,
    time_run_indices,
)
from wg_client.data.log_stretches import (
    LogPrivacyUnits,
    UnitRows,
    find_breaks,
    find_stretches,
    split_log_by_unit,
)
from wg_client.data.sensor_log import (
    SENSOR_LOG_SUFFIXES,
    LogColumns,
    LogTooLargeError,
    SensorLog,
    read_log,
)
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities.stored_records import StoredRecords
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.site.reading_config import SensorLogConfig
from wg_core.snapshot import UnusableItem


@dataclass(slots=True)
class _WindowCollector:
    """Collector of the windows that are cut from sensor logs, with the settings for cutting.

    Attributes:
        root: Folder of the logs.
        log_reader: Reader of the logs.
        for_prediction: True for predictions, where a column of labels may be missing.
        paths: Log of each window.
        start_rows: First row of each window in its log.
        labels: Label of each window; empty: none.
        privacy_units: Name of each window's privacy unit.
        problems: Logs, lines and windows that cannot be used.
        short_stretch_count: Number of stretches shorter than a window.
        outside_row_count: Number of rows outside all intervals, if the table names the units.
        logs_with_reset_clock: Names of logs whose times go back within a run, if runs are the
            units.
        logs_with_other_rate: For each log with another rate than declared, its name and rate.
    """

    root: Path
    log_reader: LogReader
    for_prediction: bool
    paths: list[Path] = field(default_factory=list)
    start_rows: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    privacy_units: list[str] = field(default_factory=list)
    problems: list[UnusableItem] = field(default_factory=list)
    short_stretch_count: int = 0
    outside_row_count: int = 0
    logs_with_reset_clock: list[str] = field(default_factory=list)
    logs_with_other_rate: list[tuple[str, float]] = field(default_factory=list)


def list_logs(path: Path, interval_table: str | None) -> list[Path]:
    """List all logs at a path, without the table of intervals.

    Raises:
        DataError: The folder cannot be read.
    """
    return list(_walk_logs(path, path if path.is_dir() else path.parent, interval_table, []))


def is_sensor_log(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a sensor log."""
    return path.suffix.lower() in SENSOR_LOG_SUFFIXES and path.is_file()


def survey_logs(path: Path, options: SurveyOptions) -> DatasetSurvey:
    """Survey the windows of sensor logs.

    Raises:
        DataError: There is no log, a log is too large, the table of intervals cannot be read, or
            nothing says where the rows of a privacy unit have gaps.
    """
    logs = open_log_reader(
        path, options.reading, options.unit_column, allow_missing_table=options.for_prediction
    )
    intervals = logs.intervals
    if options.modality is not None:
        check_modality(options.modality, Windows.name, path)
    root = path if path.is_dir() else path.parent
    if logs.units_in_log is not None and logs.log.time is None:
        raise DataError(
            f"{path}: unit column {logs.units_in_log!r}: without times nothing says where a unit's"
            " rows have gaps; name the column of times (--time-column), or write each unit into a"
            " log of its own (--unit-column file)"
        )
    cut = _WindowCollector(root, logs, options.for_prediction)
    strays: list[UnusableItem] = []
    for file in _walk_logs(path, root, logs.log.intervals, strays):
        try:
            _cut_log_into_windows(cut, file)
        except LogTooLargeError:
            raise  # a row more or less must not set other units' rows aside
        except DataError as error:
            reason = str(error).removeprefix(f"{file}: ")
            cut.problems.append(UnusableItem(name=str(file.relative_to(root)), reason=reason))
        if len(cut.paths) > RECORD_COUNT_LIMIT:
            raise DataError(f"{path}: more than {RECORD_COUNT_LIMIT} windows; make the hop longer")
    cut.problems += _unknown_log_problems(
        logs.log.intervals or "", intervals, list_logs(path, logs.log.intervals), root
    )
    if not cut.paths and not cut.problems:
        raise DataError(
            f"{path}: no window: no sensor log ({', '.join(sorted(SENSOR_LOG_SUFFIXES))}), or none"
            f" that has {logs.log.window_samples} rows without a gap"
            + "".join(
                f"; {name}: {describe_wrong_rate(rate, logs.log)}"
                for name, rate in cut.logs_with_other_rate[:1]
            )
        )
    return _build_survey(cut, options, strays)


def _unknown_log_problems(
    interval_table: str, intervals: Sequence[LabelInterval], files: Sequence[Path], root: Path
) -> Iterator[UnusableItem]:
    """Yield a problem for each interval whose log does not exist."""
    names = {name for file in files for name in (str(file.relative_to(root)), file.name, file.stem)}
    for interval in intervals:
        if interval.log_name is not None and interval.log_name not in names:
            reason = f"no log is called {interval.log_name[:80]!r}"
            yield UnusableItem(name=f"{interval_table}: line {interval.line_number}", reason=reason)


def _build_survey(
    collector: _WindowCollector,
    options: SurveyOptions,
    unsupported_files: Sequence[UnusableItem],
) -> DatasetSurvey:
    root, logs, labels = collector.root, collector.log_reader, options.labels
    domain = (
        list(labels) if labels is not None else sorted({name for name in collector.labels if name})
    )
    if not domain and collector.problems:
        raise DataError(f"{root / collector.problems[0].name}: {collector.problems[0].reason}")
    if not domain and logs.log.intervals is not None:
        raise DataError(f"{root / logs.log.intervals}: none of its intervals meets a window")
    if not domain:
        raise DataError(
            f"{root}: no labels; name their column (--label-column), or declare them (--labels"
            " a,b,c)"
        )
    index = label_positions(domain)
    names = [
        f"{file.relative_to(root)}[{start}]"
        for file, start in zip(collector.paths, collector.start_rows, strict=True)
    ]
    unknown = {
        row for row, label in enumerate(collector.labels) if options.refuses_label(label, index)
    }
    usable = [row for row in range(len(names)) if row not in unknown]
    problems = collector.problems + [
        UnusableItem(
            name=names[row], reason=explain_undeclared_label(collector.labels[row], domain)
        )
        for row in sorted(unknown)
    ]
    records = StoredRecords(
        Windows(),
        lambda row: logs.read_window(collector.paths[row], collector.start_rows[row]),
        range(len(collector.paths)),
        collector.paths,
    )
    return DatasetSurvey(
        data=SiteData(
            records=records.select_rows(usable),
            modality=Windows.name,
            labels=np.array(
                [index.get(collector.labels[row], UNLABELLED) for row in usable], np.int64
            ),
            label_names=tuple(domain),
            names=tuple(names[row] for row in usable),
            privacy_units=None
            if logs.unit_column is None
            else tuple(collector.privacy_units[row] for row in usable),
        ),
        layout=text("sensor logs, cut into windows"),
        problems=tuple(problems),
        unsupported_files=tuple(unsupported_files),
        hints=tuple(_log_hints(collector)),
        undeclared_labels=undeclared_labels(collector.labels, domain, options),
    )


def _log_hints(collector: _WindowCollector) -> Iterator[str]:
    """Yield hints for a person: short stretches, rows without a unit, wrong clocks and rates."""
    if collector.short_stretch_count:
        yield text(
            "{count} stretches between gaps and changes of label are shorter than a window of"
            " {seconds:g} s, and are not used",
            count=collector.short_stretch_count,
            seconds=collector.log_reader.log.window_seconds,
        )
    if collector.outside_row_count >= collector.log_reader.log.window_samples:
        yield text(
            "{count} rows lie outside all intervals, belong to no privacy unit, and are not"
            " used; an interval without a label makes them a unit",
            count=collector.outside_row_count,
        )
    if collector.logs_with_reset_clock:
        yield text(
            "times go back in {count} logs, first in {name}: recordings at the same times count"
            " as one run; write each into a log of its own (--unit-column file)",
            count=len(collector.logs_with_reset_clock),
            name=collector.logs_with_reset_clock[0],
        )
    if collector.logs_with_other_rate:
        name, rate = collector.logs_with_other_rate[0]
        yield text(
            "{count} logs have another rate than data.reading.log.rate, {declared:.6g}; first"
            " {name}: {rate:.6g} samples a second. Rows at another rate are not used",
            count=len(collector.logs_with_other_rate),
            declared=collector.log_reader.log.rate,
            name=name,
            rate=rate,
        )


def _walk_logs(
    path: Path, root: Path, interval_table: str | None, unsupported_files: list[UnusableItem]
) -> Iterator[Path]:
    """Yield the logs at a path by name; other files are added to ``unsupported_files``."""
    if not path.is_dir():
        yield path
        return
    for entry in list_folder(path):
        name = str(entry.relative_to(root))
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk_logs(entry, root, interval_table, unsupported_files)
        elif name == interval_table:
            continue
        elif not is_inside(root, entry):
            unsupported_files.append(
                UnusableItem(name=name, reason="a link that leads out of the folder")
            )
        elif not is_sensor_log(entry):
            unsupported_files.append(UnusableItem(name=name, reason="no sensor log"))
        else:
            yield entry


def _cut_log_into_windows(collector: _WindowCollector, file: Path) -> None:
    """Cut one sensor log into windows, and add them to ``collector``.

    Raises:
        DataError: The log cannot be read.
    """
    logs, log, name = (
        collector.log_reader,
        collector.log_reader.log,
        str(file.relative_to(collector.root)),
    )
    sensor_log = logs.read(
        file,
        text_columns=[log.label] if log.label else [],
        allow_missing_texts=collector.for_prediction,
    )
    n, rows = len(sensor_log), np.arange(len(sensor_log))
    if sensor_log.row_positions is not None:
        rows = np.argsort(sensor_log.row_positions)
    no_labels = np.zeros(n, dtype=np.int64), ("",)
    label_codes, label_names = sensor_log.texts.get(log.label or "", no_labels)
    intervals = intervals_of_log(file, name, logs.intervals)
    units = split_log_by_unit(logs, name, sensor_log, intervals)
    _add_log_problems(collector, name, sensor_log, units)
    folder = _folder_label(collector.root, file, log)
    breaks = find_breaks(sensor_log, log, (label_codes, units.interval_indices))
    for part in units.unit_rows:
        for start, stop in find_stretches(breaks, part):
            if stop - start < log.window_samples:
                collector.short_stretch_count += 1
                continue
            if problem := _stretch_problem(logs, sensor_log, part, (start, stop)):
                collector.problems.append(
                    UnusableItem(name=f"{name}[{rows[start]}]", reason=problem)
                )
                continue
            at = int(units.interval_indices[start])
            interval = intervals[at] if at >= 0 else part.interval
            label = label_names[int(label_codes[start])] or folder
            if interval is not None:
                label = interval.label
            for begin in range(start, stop - log.window_samples + 1, log.hop_samples):
                collector.paths.append(file)
                collector.start_rows.append(int(rows[begin]))
                collector.labels.append(normalise_name(label))
                collector.privacy_units.append(part.unit)


def _add_log_problems(
    collector: _WindowCollector, name: str, sensor_log: SensorLog, units: LogPrivacyUnits
) -> None:
    """Note a log's damage, overlapping intervals, wrong rate and reset clock in ``collector``."""
    logs = collector.log_reader
    faults = [sensor_log.damage_message] if sensor_log.damage_message else []
    faults += [f"{logs.log.intervals}: {overlap}" for overlap in units.overlap_messages]
    collector.problems += [UnusableItem(name=name, reason=fault) for fault in faults]
    collector.outside_row_count += units.outside_row_count
    rate = measure_sampling_rate(sensor_log)
    if rate is not None and abs(rate - logs.log.rate) > RELATIVE_RATE_TOLERANCE * logs.log.rate:
        collector.logs_with_other_rate.append((name, rate))
    if logs.unit_column == TIME_RUN_UNIT and sensor_log.times is not None:
        same_run = np.diff(time_run_indices(sensor_log, logs.log)) == 0
        if (same_run & (np.diff(sensor_log.times) < 0)).any():
            collector.logs_with_reset_clock.append(name)


def _stretch_problem(
    log_reader: LogReader, sensor_log: SensorLog, unit_rows: UnitRows, row_range: tuple[int, int]
) -> str:
    """Describe why a stretch cannot be used, or return an empty string."""
    log, column = log_reader.log, log_reader.unit_column
    if column is not None and not unit_rows.unit.strip():
        return f"column {column!r} is empty: no privacy unit"
    if sensor_log.times is None:
        return ""
    times = sensor_log.times[slice(*row_range)]
    # Logs round or jitter their times in different ways: the rate is wrong only if both are.
    rates = [1 / float(average(np.diff(times))) for average in (np.median, np.mean)]
    if min(abs(rate - log.rate) for rate in rates) <= RELATIVE_RATE_TOLERANCE * log.rate:
        return ""
    return describe_wrong_rate(rates[0], log)


def _folder_label(root: Path, file: Path, log_config: SensorLogConfig) -> str:
    """Return a log's class folder as its label; empty if a column or table gives the labels."""
    if log_config.label is not None or log_config.intervals is not None:
        return ""
    top, *inner = file.relative_to(root).parts
    return top if inner and top != UNLABELLED_FOLDER else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CuttingOptions:
    """Command-line options for cutting sensor logs; None: not given.

    Attributes:
        window_seconds: Length of a window.
        hop_seconds: Time from window to window.
        rate_hz: Samples per second.
        channels: Names of the channels, in order.
        time_column: Column of times.
        label_column: Column of labels.
        interval_table: Path of the table of intervals within the folder of logs.
    """

    window_seconds: float
    hop_seconds: float | None
    rate_hz: float | None
    channels: tuple[str, ...] | None
    time_column: str | None
    label_column: str | None
    interval_table: str | None


def propose_log_config(
    path: Path, options: CuttingOptions, *, unit_column: str | None, encoding: str
) -> SensorLogConfig:
    """Return the rule for cutting windows that ``init`` stores, from options and the first log.

    If no rate is given, it is taken from the first log's times once, and is public from then on.

    Raises:
        DataError: There is no log, or the log does not determine the rule.
        ConfigError: A value is out of range.
    """
    root = path if path.is_dir() else path.parent
    file = next(_walk_logs(path, root, options.interval_table, []), None)
    if file is None or not is_sensor_log(file):
        raise DataError(
            f"{path}: no sensor log found; read are {', '.join(sorted(SENSOR_LOG_SUFFIXES))}"
        )
    in_log = None if unit_column in UNITS_WITHOUT_COLUMN or options.interval_table else unit_column
    texts = tuple(column for column in (options.label_column, in_log) if column is not None)
    log = read_log(
        file,
        LogColumns(
            channels=options.channels,
            time_column=options.time_column,
            text_columns=texts,
            allow_gaps=True,
        ),
        encoding,
    )
    rate = log.declared_rate_hz if options.rate_hz is None else options.rate_hz
    if rate is None:
        rate = float(f"{measure_sampling_rate(log) or 0:.6g}") or None
    if rate is None and log.times is not None:
        raise DataError(
            f"{file}: its times do not run forward; sort its rows by {options.time_column!r}"
        )
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
        time=options.time_column,
        label=options.label_column,
        intervals=options.interval_table,
    )
