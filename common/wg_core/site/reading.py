"""How a plant's files are read where they do not say it themselves: a part of ``client.yaml``.

All of it is public and fixed before a record is looked at. A rate that were estimated from the
records, or a brightness, would let one record more change what another one is.
"""

import math
from dataclasses import dataclass

from wg_core.errors import ConfigError

BITS = (8, 10, 12, 14, 16)  # Bits that an image of 16 bits per pixel may hold
ENCODINGS = ("auto", "utf-8", "utf-16", "cp932", "cp1252", "latin-1", "gb18030", "big5", "euc-kr")
"""Names that a configuration may give."""
AUTO = ENCODINGS[0]
COLUMNS = ("text", "label")
CHANNELS_LIMIT = 128
MIN_TIME = 8
TIME_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Rule that cuts windows from long sensor logs; public and fixed, never estimated.

    Attributes:
        rate: Samples a second, Hz. Time stamps are compared with it.
        window_seconds: Length of a window.
        hop_seconds: From the start of a window to the start of the next.
        channels: Columns that are channels, in the order that networks see.
        time: Column of time stamps, or null: rows follow each other without a gap.
        label: Column with the label of each row, or null.
        intervals: Table of start, end and label, or null; a path, from the data's folder.
    """

    rate: float
    window_seconds: float
    hop_seconds: float
    channels: tuple[str, ...]
    time: str | None = None
    label: str | None = None
    intervals: str | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("rate", self.rate, 1e-6, 1e9),
            ("window_seconds", self.window_seconds, 1e-9, 1e9),
            ("hop_seconds", self.hop_seconds, 1e-9, 1e9),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"data.reading.log.{name}: {value}, expected {low:g} to {high:g}")
        if not MIN_TIME <= self.window <= TIME_LIMIT:
            raise ConfigError(
                f"data.reading.log.window_seconds: {self.window_seconds:g} s at {self.rate:g} Hz"
                f" are {self.window} samples, expected {MIN_TIME} to {TIME_LIMIT}"
            )
        if self.hop < 1:
            raise ConfigError(
                f"data.reading.log.hop_seconds: {self.hop_seconds:g} s, expected one sample or more"
            )
        if not 1 <= len(self.channels) <= CHANNELS_LIMIT or len(set(self.channels)) != len(
            self.channels
        ):
            raise ConfigError(
                f"data.reading.log.channels: {len(self.channels)} names, expected 1 to"
                f" {CHANNELS_LIMIT}, each once"
            )
        if self.label is not None and self.intervals is not None:
            raise ConfigError("data.reading.log: label and intervals: one of the two, found both")

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.window_seconds * self.rate)

    @property
    def hop(self) -> int:
        """Samples from the start of a window to the start of the next."""
        return round(self.hop_seconds * self.rate)

    @property
    def overlaps(self) -> bool:
        """True if one moment can be in several windows."""
        return self.hop < self.window


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    """Settings for files that do not say themselves how they are read.

    Attributes:
        bits: How many of a grey pixel's 16 bits the camera fills: 10, 12 or 14, else 16.
        encoding: Encoding of tables: ``auto``, or a name of ``ENCODINGS``.
        channels: Names of a window file's columns, in the order that networks see; null: not
            compared.
        log: How windows are cut from long sensor logs; null: each file is one record.
        columns: Names of the columns of a table that have a record's text, and its label.
    """

    bits: int = 16
    encoding: str = AUTO
    channels: tuple[str, ...] | None = None
    log: LogConfig | None = None
    columns: tuple[str, str] = COLUMNS

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ConfigError(f"data.reading.bits: {self.bits}, expected one of {list(BITS)}")
        if self.encoding not in ENCODINGS:
            raise ConfigError(
                f"data.reading.encoding: {self.encoding!r}, expected one of {', '.join(ENCODINGS)}"
            )

    @property
    def text(self) -> str | None:
        """Name of the column of texts, where it is not the usual one."""
        return self.columns[0] if self.columns[0] != COLUMNS[0] else None

    @property
    def label(self) -> str | None:
        """Name of the column of labels, where it is not the usual one."""
        return self.columns[1] if self.columns[1] != COLUMNS[1] else None

    def check_record(self, unit_column: str | None) -> None:
        """Check that what is protected, a unit or one window, holds whatever happened in it.

        Raises:
            ConfigError: Windows overlap, so that a moment would be in several units.
        """
        if unit_column is None and self.log is not None and self.log.overlaps:
            raise ConfigError(
                f"data.reading.log: hop_seconds {self.log.hop_seconds:g} is less than"
                f" window_seconds {self.log.window_seconds:g}: one moment is in several windows,"
                " and without data.unit_column one window is protected. Make the hop as long as the"
                " window, or name a unit: data.unit_column 'file' or 'interval', or a column"
            )
