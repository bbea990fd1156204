"""The data sheet: what a plant states in public of the machine, sensors, camera or texts it has.

One record for each kind of source, and its fields are the table: each has its bounds beside it, and
its unit in its name. A sheet is no measurement of records. It costs no privacy, stands on the
ledger, and whoever reads the ledger or a statistics file reads it. Real numbers travel as decimal
text, each in one spelling, and may be bare numbers in YAML.

Not guaranteed: that a sheet is true. A wrong one brings worse weights, which the plant's own
labels then refuse.
"""

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Annotated, Literal, get_type_hints

from wg_core import numbers
from wg_core.errors import DecodeError

VERSION = 1
CHANNELS_LIMIT = 128  # Most channels of a data sheet

Light = Literal[
    "ambient", "bright-field", "dark-field", "backlight", "infrared", "ultraviolet", "x-ray"
]


@dataclass(frozen=True, slots=True)
class _Range:
    """Least and largest value of a number, as decimal texts."""

    low: str
    high: str

    def checked(self, name: str, value: Decimal | int) -> Decimal | int:
        """A number within the range, in its one spelling; ``DecodeError`` if it is not."""
        number = numbers.within(value, self.low, self.high, subject=name)
        return value if isinstance(value, int) else number


@dataclass(frozen=True, slots=True)
class _Word:
    """A text that can be printed, of a pattern; ``wanted`` is its description."""

    pattern: re.Pattern[str]
    wanted: str

    def checked(self, name: str, value: str) -> str:
        """A text of the pattern.

        Raises:
            DecodeError: It is not.
        """
        if not self.pattern.fullmatch(value) or not value.isprintable():
            raise DecodeError(f"{name}: {value[:40]!r}, expected {self.wanted}")
        return value


_WORD = _Word(
    re.compile(r"\S(?:.{0,98}\S)?"),
    "1 to 100 printable characters without white space at either end",
)
_LANGUAGE = _Word(
    re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}"), "a tag of a language, such as 'en'"
)


@functools.cache
def _bounds(kind: type) -> dict[str, _Range | _Word]:
    """Bounds of a record's fields, by name."""
    return {
        name: bounds
        for name, hint in get_type_hints(kind, include_extras=True).items()
        for bounds in getattr(hint, "__metadata__", ())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """Fields that are checked against their bounds."""

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, bounds in _bounds(kind).items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, bounds.checked(name, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatingMachine(_Statements):
    """A rolling bearing on a shaft, and the accelerometer at it.

    Attributes:
        shaft_speed_rpm: Turns of the shaft a minute.
        sampling_hz: Samples a second.
        rolling_elements: Number of balls or rollers.
        rolling_element_diameter_mm: Of one of them.
        pitch_diameter_mm: Of the circle on which their centres run.
        contact_angle_deg: Between the line of contact and the plane of the bearing.
        load_percent: Of the nominal load; None: not stated.
    """

    shaft_speed_rpm: Annotated[Decimal, _Range("0.1", "1000000")]
    sampling_hz: Annotated[Decimal, _Range("1", "10000000")]
    rolling_elements: Annotated[int, _Range("3", "1000")]
    rolling_element_diameter_mm: Annotated[Decimal, _Range("0.01", "1000")]
    pitch_diameter_mm: Annotated[Decimal, _Range("0.1", "10000")]
    contact_angle_deg: Annotated[Decimal, _Range("0", "89")]
    load_percent: Annotated[Decimal | None, _Range("0", "1000")] = None

    def __post_init__(self) -> None:
        _Statements.__post_init__(self)
        # Neighbours on the pitch circle would overlap.
        room = float(self.pitch_diameter_mm) * math.sin(math.pi / self.rolling_elements)
        if float(self.rolling_element_diameter_mm) > room:
            raise DecodeError(
                f"rolling_element_diameter_mm: {self.rolling_element_diameter_mm}, but"
                f" {self.rolling_elements} of them fit on a pitch diameter of"
                f" {self.pitch_diameter_mm} only up to {room:.4g}; see the bearing's catalogue page"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(_Statements):
    """One channel of process sensors.

    Attributes:
        name: What is measured.
        unit: Its unit, as printed on the instrument; ``1`` where it has none.
        low: Lower end of the instrument's range, in that unit.
        high: Upper end.
    """

    name: Annotated[str, _WORD]
    unit: Annotated[str, _WORD]
    low: Annotated[Decimal, _Range("-1e12", "1e12")]
    high: Annotated[Decimal, _Range("-1e12", "1e12")]

    def __post_init__(self) -> None:
        _Statements.__post_init__(self)
        if not self.low < self.high:
            raise DecodeError(f"channel {self.name!r}: low {self.low} is not below {self.high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSensors(_Statements):
    """Instruments of a process.

    Attributes:
        sampling_hz: Samples of each channel a second.
        channels: In the order of the channels of a record.
    """

    sampling_hz: Annotated[Decimal, _Range("0.000001", "10000000")]
    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        _Statements.__post_init__(self)
        count = len(self.channels)
        if not 1 <= count <= CHANNELS_LIMIT:
            raise DecodeError(f"channels: {count}, expected 1 to {CHANNELS_LIMIT}")
        if len({channel.name for channel in self.channels}) != count:
            raise DecodeError("channels: two have one name; give each its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera(_Statements):
    """How images are taken.

    Attributes:
        millimetres_per_pixel: On the part's surface.
        light: Kind of light.
        colour: Whether records are in colour; else in grey.
    """

    millimetres_per_pixel: Annotated[Decimal, _Range("0.0000001", "10000")]
    light: Light
    colour: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes(_Statements):
    """What texts are.

    Attributes:
        language: Tag of the language (BCP 47), such as ``en`` or ``pt-BR``.
        sort: Sort of note, such as ``maintenance report``.
    """

    language: Annotated[str, _LANGUAGE]
    sort: Annotated[str, _WORD]


Statements = RotatingMachine | ProcessSensors | Camera | Notes


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """Public statements about the source of a plant's records: of one kind of source."""

    version: int = VERSION
    rotating_machine: RotatingMachine | None = None
    process_sensors: ProcessSensors | None = None
    camera: Camera | None = None
    notes: Notes | None = None

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise DecodeError(
                f"data sheet: version {self.version}, this program reads {VERSION}: update the"
                " older program"
            )
        stated = [name for name in KINDS if getattr(self, name) is not None]
        if len(stated) != 1:
            raise DecodeError(
                f"data sheet: states {', '.join(stated) or 'nothing'}, expected one of"
                f" {', '.join(KINDS)}"
            )

    @property
    def kind(self) -> str:
        """Which kind of source it is of; one of ``KINDS``."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def statements(self) -> Statements:
        """What it states."""
        record: Statements = getattr(self, self.kind)
        return record

    def lines(self) -> Iterator[tuple[str, str]]:
        """What it states as names and values, for people."""
        yield from _lines(self.statements, "")


KINDS = ("rotating_machine", "process_sensors", "camera", "notes")
"""Kinds of sources, as fields of a sheet."""


def _lines(record: _Statements, prefix: str) -> Iterator[tuple[str, str]]:
    for attribute in fields(record):
        value = getattr(record, attribute.name)
        if isinstance(value, tuple):
            for number, part in enumerate(value):
                yield from _lines(part, f"{prefix}{attribute.name}.{number}.")
        elif value is not None:
            yield prefix + attribute.name, str(value)
