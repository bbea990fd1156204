"""One long sensor log, read strictly: CSV, Parquet or WAV, as float32 with what stands beside it.

A CSV file has one line of names, and may have one line of units below it; a row is a moment.
Encodings, delimiters and decimal commas are ``wg_common.modalities.tables``'s. A Parquet file needs
pyarrow, which is imported when there is one. A WAV file says its rate itself; its channels are
called 1, 2, and so on. What a logger writes where it has no value (an empty cell, ``NaN``, ``---``)
is a gap.

Not guaranteed: that times are right. They are compared with the rate that the plant says.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import wave
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities import tables
from wg_common.modalities.base import DAMAGE
from wg_core.errors import DataError

SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".wav"})
LOG_LIMIT = 4 << 30  # Largest file of a log, in bytes
VALUES_LIMIT = 1 << 28  # Most numbers of one log, rows times channels: one GiB in memory

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_NOTHING = frozenset(
    ("", "na", "n/a", "nan", "null", "none", "-", "--", "---", "#n/a", "no data", "bad", "err")
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which columns of a log are read.

    Attributes:
        channels: Names, in order; None: every column of numbers but those below.
        time: Column of times, or None.
        texts: Columns of labels and units; one that a file lacks is left out if ``lenient``.
        lenient: For predictions: a new log has no labels yet.
    """

    channels: tuple[str, ...] | None
    time: str | None = None
    texts: tuple[str, ...] = ()
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SensorLog:
    """A log in memory.

    Attributes:
        channels: Names of its C channels.
        values: float32 ``[n, C]``; NaN where the logger had no value.
        times: Seconds, float64 ``[n]``, or None.
        texts: For each column of texts its n values, as codes, and the values by code.
        rate: Hz, where the file itself says it.
    """

    channels: tuple[str, ...]
    values: Floats
    times: NDArray[np.float64] | None
    texts: dict[str, tuple[NDArray[np.int64], tuple[str, ...]]]
    rate: float | None = None

    def __len__(self) -> int:
        return len(self.values)


def read_log(path: Path, request: Wanted, encoding: str) -> SensorLog:
    """Read a log.

    Args:
        path: A file whose suffix is one of ``SUFFIXES``.
        encoding: Of a text, as of ``tables.encoding_of``.

    Raises:
        DataError: Damaged, too large, or a column is missing or holds something else; named.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _from_parquet(path, request)
        if suffix == ".wav":
            return _from_wav(path, request)
        return _from_csv(path, request, encoding)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: damaged: {error or 'it ends too early'}") from error


def seconds(text: str) -> float:
    """A time in seconds: a number (also with a decimal comma), or a date and time.

    Dates are of ISO 8601, also with slashes. One without a zone is taken as UTC; only differences
    count.

    Raises:
        ValueError: It is neither.
    """
    text = text.strip()
    if len(text) > 64:
        raise ValueError(f"{text[:64]!r}: too long for a time")
    try:
        value = tables.number(text, ";")
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
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """A regular file of bounded size, open for reading."""
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file")
        if not status.st_size:
            raise DataError(f"{path}: an empty file, 0 bytes; expected a sensor log")
        if status.st_size > LOG_LIMIT:
            raise DataError(f"{path}: {status.st_size} bytes, at most {LOG_LIMIT} are read")
        yield stream


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the wanted columns stand."""

    channels: tuple[str, ...]
    values: tuple[int, ...]
    time: int | None
    texts: tuple[tuple[str, int], ...]


def _places(path: Path, names: Sequence[str], request: Wanted, numeric: Sequence[int]) -> _Places:
    """Find the columns; ``numeric`` are those that may be channels if none is named."""

    def find(name: str) -> int:
        place = tables.find_column(names, name)
        if place is None:
            shown = ", ".join(repr(name) for name in list(names)[:20])
            raise DataError(f"{path}: no column {name!r}; found {shown}")
        return place

    texts = tuple(
        (name, find(name))
        for name in request.texts
        if not request.lenient or tables.find_column(names, name) is not None
    )
    time = None if request.time is None else find(request.time)
    if request.channels is not None:
        values = tuple(find(name) for name in request.channels)
        return _Places(request.channels, values, time, texts)
    excluded = {place for _, place in texts} | {time}
    values = tuple(
        place for place in numeric if place not in excluded and not tables.is_time(names[place])
    )
    if not values:
        raise DataError(f"{path}: no column of numbers that could be a channel")
    return _Places(tuple(names[place].strip() for place in values), values, time, texts)


def _from_csv(path: Path, request: Wanted, encoding: str, *, sniffed: int = 1 << 20) -> SensorLog:
    with _opened(path) as stream:
        start = stream.read(sniffed)
        complete = len(start) < sniffed
        cut = len(start) if complete else start.rfind(b"\n") + 1
        used_encoding = tables.encoding_of(start[:cut] if cut else start, str(path), encoding)
        if used_encoding == "utf-16" and not complete:
            cut = len(start)  # a line feed there has two bytes; the mark alone has said it
        stream.seek(0)
        with io.TextIOWrapper(stream, encoding=used_encoding, newline="") as text:
            return _rows(path, text, request)


def _rows(path: Path, text: io.TextIOWrapper, request: Wanted) -> SensorLog:
    header = text.readline(1 << 16)
    delimiter = tables.delimiter_of(header)
    names = next(csv.reader([header], delimiter=delimiter), [])
    names = [name.removeprefix("\ufeff") for name in names]
    reader = csv.reader(text, strict=True, delimiter=delimiter)
    width = len(names)
    places: _Places | None = None
    values, times = array("f"), array("d")
    codes: list[tuple[array[int], dict[str, int]]] = []
    line = 1
    try:
        for line, cells in enumerate(reader, 2):
            if not cells:
                continue
            if len(cells) != width:
                raise DataError(f"{path}: line {line}: {len(cells)} cells, expected {width}")
            if places is None:
                if line == 2 and _is_units(cells, delimiter):
                    continue
                numeric = [row for row, cell in enumerate(cells) if _is_value(cell, delimiter)]
                places = _places(path, names, request, numeric)
                codes = [(array("q"), {}) for _ in places.texts]
            _add(path, line, cells, delimiter, places, names, values, times, codes)
            if len(values) > VALUES_LIMIT:
                raise DataError(f"{path}: more than {VALUES_LIMIT} numbers; split the log")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: after line {line}: not a text in {error.encoding}; say its encoding"
            " (data.reading.encoding)"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: line {line}: not CSV: {error}") from error
    if places is None:
        raise DataError(f"{path}: no rows below the line of names")
    return SensorLog(
        channels=places.channels,
        values=np.frombuffer(values, dtype=np.float32).reshape(-1, len(places.values)),
        times=None if places.time is None else np.frombuffer(times, dtype=np.float64),
        texts={
            name: (np.frombuffer(column_codes, dtype=np.int64), tuple(code_of))
            for (name, _), (column_codes, code_of) in zip(places.texts, codes, strict=True)
        },
    )


def _add(
    path: Path,
    line: int,
    cells: Sequence[str],
    delimiter: str,
    places: _Places,
    names: Sequence[str],
    values: array[float],
    times: array[float],
    codes: Sequence[tuple[array[int], dict[str, int]]],
) -> None:
    """Take one row in."""
    place = -1
    try:
        for place in places.values:
            values.append(_value(cells[place], delimiter))
        if places.time is not None:
            place = places.time
            times.append(seconds(cells[place]))
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: line {line}: column {names[place]!r}: {cells[place][:40]!r}: {error}"
        ) from error
    for (_, at), (column_codes, code_of) in zip(places.texts, codes, strict=True):
        column_codes.append(code_of.setdefault(cells[at].strip(), len(code_of)))


def _value(cell: str, delimiter: str) -> float:
    try:
        return tables.number(cell, delimiter)
    except ValueError:
        if cell.strip().casefold() in _NOTHING:
            return float("nan")
        raise ValueError("expected a number") from None


def _is_value(cell: str, delimiter: str) -> bool:
    try:
        _value(cell, delimiter)
    except ValueError:
        return False
    return True


def _is_units(cells: Sequence[str], delimiter: str) -> bool:
    """Whether the line below the names says units: texts, and no number or time."""
    return not any(any(c.isdecimal() for c in cell) for cell in cells) and not any(
        _is_value(cell, delimiter) for cell in cells if cell.strip()
    )


def _from_parquet(path: Path, request: Wanted) -> SensorLog:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(
            f"{path}: a Parquet file needs pyarrow: pip install 'weightgate[parquet]', or save it"
            " as CSV"
        ) from error
    with _opened(path) as stream:
        try:
            file = parquet.ParquetFile(stream)
            schema = file.schema_arrow
            numeric = [i for i, field in enumerate(schema) if _is_numeric(arrow, field.type)]
            places = _places(path, schema.names, request, numeric)
            rows = file.metadata.num_rows
            if rows * len(places.values) > VALUES_LIMIT:
                raise DataError(
                    f"{path}: {rows} rows of {len(places.values)} channels, at most {VALUES_LIMIT}"
                    " numbers are read; split the log"
                )
            return _batches(path, arrow, file, places, rows)
        except arrow.ArrowException as error:
            raise DataError(f"{path}: not a Parquet file, or damaged: {error}") from error


def _is_numeric(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    return bool(
        types.is_floating(kind)
        or types.is_integer(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
    )


def _batches(path: Path, arrow: Any, file: Any, places: _Places, rows: int) -> SensorLog:
    names = file.schema_arrow.names
    values = np.empty((rows, len(places.values)), dtype=np.float32)
    times = None if places.time is None else np.empty(rows, dtype=np.float64)
    codes: list[tuple[NDArray[np.int64], dict[str, int]]] = [
        (np.empty(rows, dtype=np.int64), {}) for _ in places.texts
    ]
    columns = [*places.values, *([places.time] if places.time is not None else [])]
    columns += [place for _, place in places.texts]
    start = 0
    for batch in file.iter_batches(batch_size=1 << 16, columns=[names[i] for i in columns]):
        stop = start + batch.num_rows
        for column, place in enumerate(places.values):
            block = batch.column(batch.schema.get_field_index(names[place]))
            if not _is_numeric(arrow, block.type):
                raise DataError(f"{path}: column {names[place]!r}: {block.type}, expected numbers")
            cast = block.cast(arrow.float64(), safe=False)
            values[start:stop, column] = cast.to_numpy(zero_copy_only=False)
        if places.time is not None and times is not None:
            block = batch.column(batch.schema.get_field_index(names[places.time]))
            times[start:stop] = _arrow_seconds(path, arrow, block, names[places.time])
        for (_, place), (into, code_of) in zip(places.texts, codes, strict=True):
            block = batch.column(batch.schema.get_field_index(names[place]))
            texts = ["" if cell is None else str(cell).strip() for cell in block.to_pylist()]
            into[start:stop] = [code_of.setdefault(text, len(code_of)) for text in texts]
        start = stop
    if start != rows:
        raise DataError(f"{path}: {start} rows, its footer promises {rows}")
    return SensorLog(
        channels=places.channels,
        values=values,
        times=times,
        texts={
            name: (into, tuple(code_of))
            for (name, _), (into, code_of) in zip(places.texts, codes, strict=True)
        },
    )


def _arrow_seconds(path: Path, arrow: Any, column: Any, name: str) -> NDArray[np.float64]:
    kind = column.type
    if column.null_count:
        raise DataError(f"{path}: column {name!r}: rows without a time")
    if arrow.types.is_timestamp(kind):
        nanoseconds = column.cast(arrow.timestamp("ns"), safe=False).cast(arrow.int64())
        return np.asarray(nanoseconds.to_numpy(zero_copy_only=False), dtype=np.float64) / 1e9
    if _is_numeric(arrow, kind):
        return np.asarray(
            column.cast(arrow.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64
        )
    try:
        return np.array([seconds(str(cell)) for cell in column.to_pylist()], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: column {name!r}: {error}") from error


def _from_wav(path: Path, request: Wanted) -> SensorLog:
    with _opened(path) as stream:
        try:
            with wave.open(stream, "rb") as file:
                channels, width, frames = (
                    file.getnchannels(),
                    file.getsampwidth(),
                    file.getnframes(),
                )
                if frames * channels > VALUES_LIMIT:
                    raise DataError(f"{path}: {frames} samples of {channels} channels; split it")
                data, rate = file.readframes(frames), float(file.getframerate())
        except wave.Error as error:
            raise DataError(f"{path}: not a WAV file of plain samples: {error}") from error
    names = [str(number) for number in range(1, channels + 1)]
    places = _places(path, names, Wanted(channels=request.channels), range(channels))
    frames = len(data) // (width * channels)
    raw = np.frombuffer(data[: frames * width * channels], dtype=np.uint8)
    values = _samples(raw.reshape(frames, channels, width), width)
    return SensorLog(
        channels=places.channels,
        values=values[:, list(places.values)],
        times=None,
        texts={},
        rate=rate,
    )


def _samples(raw: NDArray[np.uint8], width: int) -> Floats:
    """Samples of -1 to 1 from their bytes ``[n, C, width]``, low byte first."""
    if width == 1:
        return np.asarray((raw[..., 0].astype(np.float32) - 128) / 128, dtype=np.float32)
    integers = np.zeros(raw.shape[:2], dtype=np.int64)
    for place in range(width):
        integers |= raw[..., place].astype(np.int64) << (8 * place)
    full = 1 << (8 * width - 1)
    return (np.where(integers >= full, integers - 2 * full, integers) / full).astype(np.float32)
