"""Reader of sensor windows.

A ``.npy`` file is one window, float ``[channels, time]``. A ``.csv`` file too is one window, with a
row per sample and a column per channel, with or without a line of names (``table_text``: encodings,
delimiters). If the plant configures the names of its channels, each file must have them in that
order. A column of times is refused: a network would learn when a record was made.
Sizes are checked before values are read, and pickle is never loaded. A value that is not a finite
number is a ``DataError`` that names file and line.
"""

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities import table_text
from wg_common.modalities.base import DAMAGED_INPUT_ERRORS, Modality, Record
from wg_common.streams import Stream
from wg_core.errors import DataError
from wg_core.site.reading_config import CHANNELS_LIMIT, WINDOW_SAMPLES_LIMIT, WINDOW_SAMPLES_MINIMUM

MAGNITUDE_LIMIT = 1e15  # Largest magnitude: squares and their sums must stay finite in float32
NPY_BYTES_LIMIT = 8 * CHANNELS_LIMIT * WINDOW_SAMPLES_LIMIT + 4096
"""Size of the largest accepted window in float64 with its header, in bytes."""
CSV_BYTES_LIMIT = 256 << 20


class Windows(Modality):
    """Modality of sensor windows, float ``[channels, time]``.

    Attributes:
        channels: Required names of a file's columns, in order; None accepts any.
    """

    def __init__(self, channels: Sequence[str] | None = None) -> None:
        """Configure the required columns of window files."""
        self.channels = channels

    name = "windows"
    title = "sensor windows"
    singular = "window"
    layout = "float [n, channels, time] (sensor windows)"
    suffixes = frozenset({".npy", ".csv"})
    file_limit = CSV_BYTES_LIMIT
    head_architecture = "window-head"
    trunk_modules = ("wg_common.nets.encoder.window_trunk",)
    fits_plant_trunk = True

    def matches_array(self, x: Record) -> bool:
        """Return True if an array is float ``[n, channels, time]``."""
        return x.dtype.kind == "f" and x.ndim == 3

    def check_record(self, record: Record) -> None:
        """Check that an array is a sensor window.

        Raises:
            DataError: The array is not float ``[channels, time]`` within the limits, or has a value
                that is not finite or too large.
        """
        check_window(record)

    def decode(self, data: bytes, file_name: str) -> NDArray[np.float32]:
        """Decode one sensor window from a file.

        Returns:
            Window, float32 ``[channels, time]``.

        Raises:
            DataError: The file is damaged, too large, has a wrong type or shape, or has a value
                that is not finite.
        """
        if file_name.lower().endswith(".csv"):
            window: Record = _decode_csv(data, file_name, self.channels)
        else:
            window = _decode_npy(data, file_name)
        try:
            check_window(window)
            if self.channels is not None and len(window) != len(self.channels):
                raise DataError(
                    f"{len(window)} channels, expected {len(self.channels)}:"
                    f" {', '.join(self.channels)}"
                )
        except DataError as error:
            raise DataError(f"{file_name}: {error}") from error
        return np.ascontiguousarray(window, dtype=np.float32)

    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Distort windows by a simulated sensor chain, drawn once per number of channels."""
        from wg_common.modalities import sensors

        shapes: dict[tuple[int, ...], list[int]] = {}
        for row, record in enumerate(records):
            shapes.setdefault(record.shape, []).append(row)
        chains: dict[int, sensors.SensorChain] = {}
        observations: dict[int, Record] = {}
        for (channels, _), rows in shapes.items():
            if channels not in chains:
                eye = np.eye(channels)
                chains[channels] = sensors.draw_sensor_chain(
                    rng, eye, 1.0, strength, is_direct=True
                )
            signals = np.stack([records[row] for row in rows]).astype(np.float64)
            observations.update(
                zip(rows, sensors.measure_signals(rng, signals, chains[channels]), strict=True)
            )
        return [observations[row] for row in range(len(records))]

    def example_record(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return a window of white noise with the given numbers of channels and samples."""
        return streams.stream_generator(Stream.EXPORT_WINDOW).normal(size=shape).astype(np.float32)


def check_window(window: NDArray[np.floating]) -> None:
    """Check a sensor window; raise errors as ``Windows.check_record`` does."""
    if not isinstance(window, np.ndarray) or window.ndim != 2 or window.dtype.kind != "f":
        layout = f"{window.dtype} {list(window.shape)}" if isinstance(window, np.ndarray) else "?"
        raise DataError(f"{layout}, expected float [channels, time]")
    _check_shape(*window.shape)
    if not float(np.abs(window).max()) <= MAGNITUDE_LIMIT:  # a NaN fails too
        raise DataError(f"values that are not finite, or beyond {MAGNITUDE_LIMIT:g}")


def _check_shape(channels: int, sample_count: int) -> None:
    if not (
        1 <= channels <= CHANNELS_LIMIT
        and WINDOW_SAMPLES_MINIMUM <= sample_count <= WINDOW_SAMPLES_LIMIT
    ):
        raise DataError(
            f"{channels} channels of {sample_count} samples, expected 1 to {CHANNELS_LIMIT}"
            f" channels of {WINDOW_SAMPLES_MINIMUM} to {WINDOW_SAMPLES_LIMIT} samples"
        )


def _decode_npy(data: bytes, file_name: str) -> Record:
    if len(data) > NPY_BYTES_LIMIT:
        raise DataError(f"{file_name}: {len(data)} bytes, at most {NPY_BYTES_LIMIT} are read")
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        if len(shape) in (2, 3) and (len(shape) == 3 or dtype.kind != "f"):
            raise DataError(
                f"{file_name}: {dtype} {list(shape)}, expected float [channels, time] of a sensor"
                " window; if it is a picture, save it as PNG"
            )
        if len(shape) != 2:
            raise DataError(f"{file_name}: {dtype} {list(shape)}, expected float [channels, time]")
        _check_named_shape(file_name, shape[0], shape[1])
        window: Record = np.load(io.BytesIO(data), allow_pickle=False)
    except DAMAGED_INPUT_ERRORS as error:
        raise DataError(f"{file_name}: not a .npy file of a plain array: {error}") from error
    return window


def column_names(data: bytes, file_name: str) -> tuple[str, ...] | None:
    """Read the column names of a window file; None unless every column has a unique name.

    Raises:
        DataError: The file is not text, or its first line is not CSV.
    """
    header = table_text.decode_text(data, file_name).partition("\n")[0]
    delimiter = table_text.guess_delimiter(header)
    try:
        cells = next(csv.reader([header], strict=True, delimiter=delimiter), [])
    except csv.Error as error:
        raise DataError(f"{file_name}: line 1: {error}") from error
    if not cells or any(_is_number(cell, delimiter) for cell in cells):
        return None
    names = tuple(cell.strip() for cell in cells)
    return names if all(names) and len(set(names)) == len(names) else None


def _decode_csv(data: bytes, file_name: str, channels: Sequence[str] | None) -> NDArray[np.float64]:
    text = table_text.decode_text(data, file_name)
    delimiter = table_text.guess_delimiter(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: list[list[float]] = []
    width = 0
    try:
        for number, cells in enumerate(reader, 1):
            if number == 1:
                width = len(cells)
                if width > CHANNELS_LIMIT:
                    raise DataError(f"{file_name}: {width} channels, at most {CHANNELS_LIMIT}")
                if not any(_is_number(cell, delimiter) for cell in cells):
                    _refuse_time_columns(cells, file_name)
                    if channels is not None:
                        _check_channel_names([cell.strip() for cell in cells], channels, file_name)
                    continue
                if channels is not None:
                    raise DataError(
                        f"{file_name}: no line of names; expected the columns {', '.join(channels)}"
                    )
            if len(cells) != width:
                raise DataError(f"{file_name}: line {number}: {len(cells)} cells, expected {width}")
            if len(rows) == WINDOW_SAMPLES_LIMIT:
                raise DataError(f"{file_name}: more than {WINDOW_SAMPLES_LIMIT} rows")
            rows.append([table_text.parse_number(cell, delimiter) for cell in cells])
    except (csv.Error, ValueError) as error:
        raise DataError(f"{file_name}: line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{file_name}: no rows of numbers")
    _check_named_shape(file_name, width, len(rows))
    window = np.array(rows, dtype=np.float64).T
    if width > 1 and _increases_evenly(window[0]):
        raise DataError(f"{file_name}: column 1 counts up in equal steps: {_TIME_COLUMN_ADVICE}")
    return window


_TIME_COLUMN_ADVICE = (
    "times or numbers of rows, and no channel; leave the column out, or cut one long log with"
    " 'wg-client init --window'"
)


def _refuse_time_columns(cells: Sequence[str], file_name: str) -> None:
    for column, cell in enumerate(cells, 1):
        if table_text.is_time_column(cell):
            raise DataError(f"{file_name}: column {column}, {cell!r}: {_TIME_COLUMN_ADVICE}")


def _check_channel_names(names: Sequence[str], channels: Sequence[str], file_name: str) -> None:
    """Check that a window file's columns are the configured channels, in their order."""
    for expected in channels:
        if expected not in names:
            raise DataError(f"{file_name}: no column {expected!r}; found {', '.join(names)[:200]}")
    if len(names) != len(channels):
        extra = next((cell for cell in names if cell not in channels), names[-1])
        raise DataError(f"{file_name}: column {extra[:80]!r} is none of {', '.join(channels)}")
    for column, (cell, expected) in enumerate(zip(names, channels, strict=True), 1):
        if cell != expected:
            raise DataError(
                f"{file_name}: column {column} is {cell!r}, expected {expected!r}: columns are"
                " swapped"
            )


def _increases_evenly(values: NDArray[np.float64]) -> bool:
    """Return True if a column's values increase in equal steps, but for rounding."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.diff(values)
        step = float(np.median(steps)) if len(steps) >= WINDOW_SAMPLES_MINIMUM - 1 else 0.0
        return step > 0 and bool(np.all(np.abs(steps - step) <= 1e-3 * step))


def _is_number(cell: str, delimiter: str) -> bool:
    try:
        table_text.parse_number(cell, delimiter)
    except ValueError:
        return False
    return True


def _check_named_shape(file_name: str, channels: int, sample_count: int) -> None:
    try:
        _check_shape(channels, sample_count)
    except DataError as error:
        raise DataError(f"{file_name}: {error}") from error
