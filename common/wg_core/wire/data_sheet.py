"""The data sheet: what a plant states in public of the machine that its sensor is at.

Of rolling bearings alone: of nothing else do generated networks depend on what is stated. The
fields are the table: each has its bounds beside it, and its unit in its name. A sheet is no
measurement of records. It costs no privacy, stands on the ledger, and whoever reads the ledger or a
statistics file reads it. Real numbers travel as decimal text, each in one spelling, and may be bare
numbers in YAML.

Not guaranteed: that a sheet is true. A wrong one brings worse weights, which the plant's own
labels then refuse.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Annotated, get_type_hints

from wg_core import numbers
from wg_core.errors import DecodeError

VERSION = 1


@dataclass(frozen=True, slots=True)
class _Range:
    """Least and largest value of a number, as decimal texts."""

    low: str
    high: str

    def checked(self, name: str, value: Decimal | int) -> Decimal | int:
        """A number within the range, in its one spelling; ``DecodeError`` if it is not."""
        number = numbers.within(value, self.low, self.high, subject=name)
        return value if isinstance(value, int) else number


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatingMachine:
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
        for name, bounds in _BOUNDS.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, bounds.checked(name, value))
        # Neighbours on the pitch circle would overlap.
        room = float(self.pitch_diameter_mm) * math.sin(math.pi / self.rolling_elements)
        if float(self.rolling_element_diameter_mm) > room:
            raise DecodeError(
                f"rolling_element_diameter_mm: {self.rolling_element_diameter_mm}, but"
                f" {self.rolling_elements} of them fit on a pitch diameter of"
                f" {self.pitch_diameter_mm} only up to {room:.4g}; see the bearing's catalogue page"
            )


_BOUNDS: dict[str, _Range] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(RotatingMachine, include_extras=True).items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """Public statements about the source of a plant's records."""

    version: int = VERSION
    rotating_machine: RotatingMachine

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise DecodeError(
                f"data sheet: version {self.version}, this program reads {VERSION}: update the"
                " older program"
            )

    @property
    def kind(self) -> str:
        """Name of the machine's kind, which is the name of its field."""
        names = (field.name for field in fields(self))
        return next(name for name in names if is_dataclass(getattr(self, name)))

    def lines(self) -> Iterator[tuple[str, str]]:
        """What it states as names and values, for people."""
        for field in fields(self.rotating_machine):
            if (value := getattr(self.rotating_machine, field.name)) is not None:
                yield field.name, str(value)
