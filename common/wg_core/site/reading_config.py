"""Rules for reading a plant's files where these are ambiguous: a part of ``client.yaml``.

All rules are public and fixed before any record is read. If a rate or a brightness were estimated
from the records, one more record could change another one.
"""

import math
from dataclasses import dataclass

from wg_core.errors import ConfigError

GREY_BIT_DEPTHS = (8, 10, 12, 14, 16)  # Bits used in an image of 16 bits per pixel
_CHINESE_AND_KOREAN_ENCODINGS = ("gb18030", "big5", "euc-kr")
TEXT_ENCODINGS = (
    "auto",
    "utf-8",
    "utf-16",
    "cp932",
    "cp1252",
    "latin-1",
    *_CHINESE_AND_KOREAN_ENCODINGS,
)
"""Encodings that a configuration may name."""
AUTO_TEXT_ENCODING = TEXT_ENCODINGS[0]
DEFAULT_TABLE_COLUMNS = ("text", "label")
CHANNELS_LIMIT = 128
RECORDS_PER_CHUNK = 64  # Decoded records in memory at a time
WINDOW_SAMPLES_MINIMUM = 8
WINDOW_SAMPLES_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorLogConfig:
    """Rule that cuts windows from long sensor logs; public and fixed, never estimated.

    Attributes:
        rate: Sampling rate, Hz; time stamps are compared with it.
        window_seconds: Length of a window.
        hop_seconds: Time from the start of a window to the start of the next.
        channels: Columns used as channels, in the order of network inputs.
        time: Column of time stamps; null: rows follow each other without gaps.
        label: Column with the label of each row, or null.
        intervals: Table of start, end and label, as a path from the data's folder, or null.
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
        if not WINDOW_SAMPLES_MINIMUM <= self.window_samples <= WINDOW_SAMPLES_LIMIT:
            raise ConfigError(
                f"data.reading.log.window_seconds: {self.window_seconds:g} s at {self.rate:g} Hz"
                f" are {self.window_samples} samples, expected {WINDOW_SAMPLES_MINIMUM} to"
                f" {WINDOW_SAMPLES_LIMIT}"
            )
        if self.hop_samples < 1:
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
    def window_samples(self) -> int:
        """Number of samples in a window."""
        return round(self.window_seconds * self.rate)

    @property
    def hop_samples(self) -> int:
        """Number of samples from the start of a window to the start of the next."""
        return round(self.hop_seconds * self.rate)

    @property
    def windows_overlap(self) -> bool:
        """True if consecutive windows overlap in time."""
        return self.hop_samples < self.window_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingConfig:
    """Rules for reading files that are ambiguous by themselves.

    Attributes:
        bits: Number of a grey pixel's 16 bits that the camera uses.
        encoding: Encoding of tables: ``auto``, or a name of ``TEXT_ENCODINGS``.
        channels: Names of a window file's columns, in the order of network inputs; null: not
            compared.
        log: Rule that cuts windows from long sensor logs; null: each file is one record.
        columns: Names of a table's columns with a record's text and its label.
    """

    bits: int = 16
    encoding: str = AUTO_TEXT_ENCODING
    channels: tuple[str, ...] | None = None
    log: SensorLogConfig | None = None
    columns: tuple[str, str] = DEFAULT_TABLE_COLUMNS

    def __post_init__(self) -> None:
        if self.bits not in GREY_BIT_DEPTHS:
            raise ConfigError(
                f"data.reading.bits: {self.bits}, expected one of {list(GREY_BIT_DEPTHS)}"
            )
        if self.encoding not in TEXT_ENCODINGS:
            raise ConfigError(
                f"data.reading.encoding: {self.encoding!r}, expected one of"
                f" {', '.join(TEXT_ENCODINGS)}"
            )

    @property
    def text_column(self) -> str | None:
        """Name of the text column; None if it is the default, ``text``."""
        return self.columns[0] if self.columns[0] != DEFAULT_TABLE_COLUMNS[0] else None

    @property
    def label_column(self) -> str | None:
        """Name of the label column; None if it is the default, ``label``."""
        return self.columns[1] if self.columns[1] != DEFAULT_TABLE_COLUMNS[1] else None

    def check_unit_column(self, unit_column: str | None) -> None:
        """Check that no moment of a log is in two privacy units: named units, or single windows.

        Raises:
            ConfigError: Windows overlap, and no column names a unit.
        """
        if unit_column is None and self.log is not None and self.log.windows_overlap:
            raise ConfigError(
                f"data.reading.log: hop_seconds {self.log.hop_seconds:g} is less than"
                f" window_seconds {self.log.window_seconds:g}: one moment is in several windows,"
                " and without data.unit_column one window is protected. Make the hop as long as the"
                " window, or name a unit: data.unit_column 'file' or 'interval', or a column"
            )
