"""Strict reader of one long sensor log: CSV or WAV to float32 channels, times and texts.

A CSV file has one line of names, and may have one line of units below it; each further row is a
time step. Encodings, delimiters and decimal commas are handled by
``wg_common.modalities.table_text``. A WAV file declares its rate; its channels are called 1, 2, and
so on. A logger's marks for a missing value (an empty cell, ``NaN``, ``---``) are gaps.

A log may hold rows of several privacy units, and one row must not change how others are read. So
each line is read by itself: in UTF-8 or else CP932, and no quotation extends beyond its line. A row
that cannot be read can count as a gap (``LogColumns.allow_gaps``).

Not guaranteed: that times are right. They are compared with the rate that the plant declared.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import stat
import wave
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities import table_text
from wg_common.modalities.base import DAMAGED_INPUT_ERRORS
from wg_core.errors import DataError

SENSOR_LOG_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".wav"})
LOG_BYTES_LIMIT = 4 << 30  # Largest file of a log, in bytes
LOG_VALUES_LIMIT = 1 << 28  # Most numbers of one log, rows times channels: one GiB in memory

_OPEN_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
_MISSING_VALUE_MARKS = frozenset(
    ("", "na", "n/a", "nan", "null", "none", "-", "--", "---", "#n/a", "no data", "bad", "err")
)

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumns:
    """Columns of a log that are to be read.

    Attributes:
        channels: Names of the channels, in order; None: every numeric column except those below.
        time_column: Column of times, or None.
        text_columns: Columns of labels and units; a missing column is skipped if
            ``allow_missing_texts``.
        allow_missing_texts: Allow missing text columns: for prediction, a new log has no labels
            yet.
        allow_gaps: A row that cannot be read becomes a gap, without time and texts; if False, it is
            an error.
    """

    channels: tuple[str, ...] | None
    time_column: str | None = None
    text_columns: tuple[str, ...] = ()
    allow_missing_texts: bool = False
    allow_gaps: bool = False


class LogTooLargeError(DataError):
    """A sensor log has more bytes or numbers than a limit."""


class _MissingColumnError(DataError):
    """A sensor log lacks a requested column, or has no column of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SensorLog:
    """Sensor log in memory: values of all channels, times and texts.

    Attributes:
        channels: Names of its C channels.
        values: Values of the channels, float32 ``[n, C]``; NaN where the logger had no value.
        times: Time of each row, seconds, float64 ``[n]``; None: there is no column of times.
        texts: For each text column the code of each row, ``[n]``, and the text of each code.
        declared_rate_hz: Sampling rate in Hz, if the file declares it.
        damage_message: Number of rows that cannot be read, and the first of them; empty: there are
            none.
        row_positions: Index in these arrays of each row of the file, ``[n]``; None: both have the
            same order.
    """

    channels: tuple[str, ...]
    values: Float32Array
    times: NDArray[np.float64] | None
    texts: dict[str, tuple[NDArray[np.int64], tuple[str, ...]]]
    declared_rate_hz: float | None = None
    damage_message: str = ""
    row_positions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)


def read_log(path: Path, requested_columns: LogColumns, encoding: str) -> SensorLog:
    """Read a sensor log file.

    Args:
        path: A file whose suffix is one of ``SENSOR_LOG_SUFFIXES``.
        requested_columns: Columns to read.
        encoding: Text encoding, as in ``table_text.detect_encoding``.

    Raises:
        DataError: The file is damaged or too large, or a column is missing or has unexpected
            values; the message names it.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".wav":
            return _read_wav(path, requested_columns)
        return _read_csv(path, requested_columns, encoding)
    except DataError:
        raise
    except DAMAGED_INPUT_ERRORS as error:
        raise DataError(f"{path}: damaged: {str(error) or 'it ends too early'}") from error


def parse_time_seconds(text: str) -> float:
    """Parse a time in seconds: a number (decimal commas allowed), or a date and time.

    Dates follow ISO 8601, also with slashes. A date without a time zone is taken as UTC, since only
    differences matter.

    Raises:
        ValueError: The text is not a time.
    """
    text = text.strip()
    if len(text) > 64:
        raise ValueError(f"{text[:64]!r}: too long for a time")
    try:
        value = table_text.parse_number(text, ";")
    except ValueError:
        if len(text) < 8 or not text[:4].isdecimal():
            raise ValueError(
                f"{text!r}, expected seconds, or a date and time as in 2026-04-01 12:00:00.5"
            ) from None
        moment = datetime.fromisoformat(text.replace("/", "-"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not np.isfinite(value):
        raise ValueError(f"{text!r}, expected a time")
    return value


@contextmanager
def _open_regular_file(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file of bounded size for reading."""
    try:
        handle = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file")
        if not status.st_size:
            raise DataError(f"{path}: an empty file, 0 bytes; expected a sensor log")
        if status.st_size > LOG_BYTES_LIMIT:
            raise LogTooLargeError(
                f"{path}: {status.st_size} bytes, at most {LOG_BYTES_LIMIT} are read"
            )
        yield stream


@dataclass(frozen=True, slots=True)
class _ColumnPositions:
    """Positions of the requested columns in a sensor log's header.

    Attributes:
        channels: Names of the channels.
        channel_positions: Position of each channel's column.
        time_position: Position of the column of times; None: there is none.
        text_positions: Name and position of each text column.
    """

    channels: tuple[str, ...]
    channel_positions: tuple[int, ...]
    time_position: int | None
    text_positions: tuple[tuple[str, int], ...]


def _find_columns(
    path: Path, names: Sequence[str], requested_columns: LogColumns, numeric_columns: Sequence[int]
) -> _ColumnPositions:
    """Find the requested columns; if none is named, channels come from ``numeric_columns``."""

    def find(name: str) -> int:
        place = table_text.find_column(names, name)
        if place is None:
            shown_names = ", ".join(repr(name) for name in list(names)[:20])
            raise _MissingColumnError(f"{path}: no column {name!r}; found {shown_names}")
        return place

    texts = tuple(
        (name, find(name))
        for name in requested_columns.text_columns
        if not requested_columns.allow_missing_texts
        or table_text.find_column(names, name) is not None
    )
    time = None if requested_columns.time_column is None else find(requested_columns.time_column)
    if requested_columns.channels is not None:
        values = tuple(find(name) for name in requested_columns.channels)
        return _ColumnPositions(requested_columns.channels, values, time, texts)
    excluded_columns = {place for _, place in texts} | {time}
    values = tuple(
        place
        for place in numeric_columns
        if place not in excluded_columns and not table_text.is_time_column(names[place])
    )
    if not values:
        raise _MissingColumnError(f"{path}: no column of numbers that could be a channel")
    return _ColumnPositions(tuple(names[place].strip() for place in values), values, time, texts)


def _read_csv(path: Path, requested_columns: LogColumns, encoding: str) -> SensorLog:
    with _open_regular_file(path) as stream:
        start = stream.read(1 << 16)
        wide = encoding == "utf-16" or start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        header = start[:2] if wide else re.split(rb"[\r\n]", start, maxsplit=1)[0]
        table_text.detect_encoding(header, str(path), encoding)
        stream.seek(0)
        codec, errors = ("utf-16", "replace") if wide else ("latin-1", "strict")
        with io.TextIOWrapper(stream, encoding=codec, errors=errors, newline="") as text:
            return _read_log_rows(
                path, _decoded_lines(text, "" if wide else encoding), requested_columns
            )


def _decoded_lines(text: io.TextIOWrapper, encoding: str) -> Iterator[str | DataError]:
    """Yield the lines of a CSV file; an error for one that is too long or in another encoding.

    Args:
        text: The file, its bytes as Latin-1; UTF-16 is decoded.
        encoding: Configured encoding; empty for UTF-16.
    """
    limit = 1 << 20
    while line := text.readline(limit):
        if not line.endswith(("\n", "\r")) and len(line) == limit:
            while line and not line.endswith(("\n", "\r")):
                line = text.readline(limit)
            yield DataError(f"more than {limit} characters")
        elif line.isascii():
            yield line
        elif not encoding:
            yield line if "\ufffd" not in line else DataError(_WRONG_ENCODING_MESSAGE)
        else:
            data = line.encode("latin-1")
            try:
                yield data.decode(table_text.detect_encoding(data, "", encoding))
            except (DataError, UnicodeDecodeError):
                yield DataError(_WRONG_ENCODING_MESSAGE)


_WRONG_ENCODING_MESSAGE = (
    "not a text in the log's encoding; say its encoding (data.reading.encoding)"
)


def _split_cells(line: str | DataError, delimiter: str, cell_count: int) -> list[str]:
    """Return the cells of one line; none for an empty line.

    Raises:
        DataError: The line cannot be read, or has another number of cells than ``cell_count``.
    """
    if isinstance(line, DataError):
        raise line
    bare = line.rstrip("\r\n")
    if not bare:
        return []
    try:
        cells = (
            next(csv.reader([bare], strict=True, delimiter=delimiter), [])
            if '"' in bare
            else bare.split(delimiter)
        )
    except csv.Error as error:
        raise DataError(f"not CSV: {error}") from error
    if len(cells) != cell_count:
        raise DataError(f"{len(cells)} cells, expected {cell_count}")
    return cells


def _read_log_rows(
    path: Path, lines: Iterator[str | DataError], requested_columns: LogColumns
) -> SensorLog:
    header = next(lines, "")
    if isinstance(header, DataError):
        raise DataError(f"{path}: line 1: {header}")
    delimiter = table_text.guess_delimiter(header)
    names = next(csv.reader([header], delimiter=delimiter), [])
    names = [name.removeprefix("\ufeff") for name in names]
    columns: _ColumnCollector | None = None
    gaps, first_gap = 0, ""
    for line, text in enumerate(lines, 2):
        try:
            cells = _split_cells(text, delimiter, len(names))
            if not cells or (line == 2 and _is_measurement_unit_row(cells, delimiter)):
                continue
            if columns is None:
                numeric = [
                    row for row, cell in enumerate(cells) if _is_number_or_missing(cell, delimiter)
                ]
                columns = _ColumnCollector(
                    delimiter, names, _find_columns(path, names, requested_columns, numeric)
                )
            columns.add_row(cells)
        except _MissingColumnError:
            raise
        except DataError as error:
            if not requested_columns.allow_gaps:
                raise DataError(f"{path}: line {line}: {error}") from error
            gaps, first_gap = gaps + 1, first_gap or f"line {line}: {error}"
            if columns is not None:
                columns.add_gap()
        if columns is not None and len(columns.values) > LOG_VALUES_LIMIT:
            raise LogTooLargeError(f"{path}: more than {LOG_VALUES_LIMIT} numbers; split the log")
    if columns is None:
        raise DataError(f"{path}: {first_gap or 'no rows below the line of names'}")
    damage = f"rows that cannot be read are gaps: {gaps}, first {first_gap}" if gaps else ""
    return replace(columns.build_log(), damage_message=damage)


class _ColumnCollector:
    """Collector of the requested columns of a sensor log, to which rows are added one by one."""

    def __init__(self, delimiter: str, names: Sequence[str], positions: _ColumnPositions) -> None:
        self._delimiter, self._names, self._places = delimiter, names, positions
        self.values, self._times = array("f"), array("d")
        self._codes: list[tuple[array[int], dict[str, int]]] = [
            (array("q"), {}) for _ in positions.text_positions
        ]

    def add_row(self, cells: Sequence[str]) -> None:
        """Append one row of the sensor log.

        Raises:
            DataError: A cell is no number or time; nothing is appended.
        """
        place, values, moment = -1, [], float("nan")
        try:
            for place in self._places.channel_positions:
                values.append(_parse_value(cells[place], self._delimiter))
            if self._places.time_position is not None:
                place = self._places.time_position
                moment = parse_time_seconds(cells[place])
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"column {self._names[place]!r}: {cells[place][:40]!r}: {error}"
            ) from error
        self._append_row(
            values, moment, [cells[at].strip() for _, at in self._places.text_positions]
        )

    def add_gap(self) -> None:
        """Append a row without values, time and texts."""
        missing = float("nan")
        self._append_row(
            [missing] * len(self._places.channel_positions), missing, [""] * len(self._codes)
        )

    def _append_row(
        self, values: Sequence[float], time_seconds: float, texts: Sequence[str]
    ) -> None:
        self.values.extend(values)
        if self._places.time_position is not None:
            self._times.append(time_seconds)
        for word, (codes, code_of) in zip(texts, self._codes, strict=True):
            codes.append(code_of.setdefault(word, len(code_of)))

    def build_log(self) -> SensorLog:
        """Return the sensor log of all rows so far."""
        places = self._places
        values = np.frombuffer(self.values, dtype=np.float32)
        return SensorLog(
            channels=places.channels,
            values=values.reshape(-1, len(places.channel_positions)),
            times=None
            if places.time_position is None
            else np.frombuffer(self._times, dtype=np.float64),
            texts={
                name: (np.frombuffer(codes, dtype=np.int64), tuple(code_of))
                for (name, _), (codes, code_of) in zip(
                    places.text_positions, self._codes, strict=True
                )
            },
        )


def _parse_value(cell: str, delimiter: str) -> float:
    try:
        return table_text.parse_number(cell, delimiter)
    except ValueError:
        if cell.strip().casefold() in _MISSING_VALUE_MARKS:
            return float("nan")
        raise ValueError("expected a number") from None


def _is_number_or_missing(cell: str, delimiter: str) -> bool:
    try:
        _parse_value(cell, delimiter)
    except ValueError:
        return False
    return True


def _is_measurement_unit_row(cells: Sequence[str], delimiter: str) -> bool:
    """Return whether the line below the names holds units: texts such as m3/h, no numbers.

    Marks of a missing value stand for columns without a unit, but there is a unit or the line is
    blank.
    """
    words = [
        word for cell in cells if (word := cell.strip()).casefold() not in _MISSING_VALUE_MARKS
    ]
    return (bool(words) or not any(map(str.strip, cells))) and not any(
        word[:1].isdecimal() or _is_number_or_missing(word, delimiter) for word in words
    )


def _read_wav(path: Path, requested_columns: LogColumns) -> SensorLog:
    with _open_regular_file(path) as stream:
        try:
            with wave.open(stream, "rb") as file:
                channels, width = file.getnchannels(), file.getsampwidth()
                frames = file.getnframes()
                if frames * channels > LOG_VALUES_LIMIT:
                    raise LogTooLargeError(
                        f"{path}: {frames} samples of {channels} channels; split it"
                    )
                data, rate = file.readframes(frames), float(file.getframerate())
        except wave.Error as error:
            raise DataError(f"{path}: not a WAV file of plain samples: {error}") from error
    names = [str(number) for number in range(1, channels + 1)]
    places = _find_columns(
        path, names, LogColumns(channels=requested_columns.channels), range(channels)
    )
    frames = len(data) // (width * channels)
    raw = np.frombuffer(data[: frames * width * channels], dtype=np.uint8)
    values = _decode_samples(raw.reshape(frames, channels, width), width)
    return SensorLog(
        channels=places.channels,
        values=values[:, list(places.channel_positions)],
        times=None,
        texts={},
        declared_rate_hz=rate,
    )


def _decode_samples(raw: NDArray[np.uint8], bytes_per_sample: int) -> Float32Array:
    """Decode little-endian samples of ``bytes_per_sample`` bytes, ``[n, C, width]``, to -1 to 1."""
    if bytes_per_sample == 1:
        return np.asarray((raw[..., 0].astype(np.float32) - 128) / 128, dtype=np.float32)
    integers = np.zeros(raw.shape[:2], dtype=np.int64)
    for place in range(bytes_per_sample):
        integers |= raw[..., place].astype(np.int64) << (8 * place)
    full = 1 << (8 * bytes_per_sample - 1)
    return (np.where(integers >= full, integers - 2 * full, integers) / full).astype(np.float32)
