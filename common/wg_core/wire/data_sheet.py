"""Data sheet: a plant's public statement about the machine that its records come from.

Data sheets exist for rolling bearings, gear pairs, induction motors, stirred vessels and heat
exchangers, the only machines for which networks are generated from a data sheet. One sheet
describes one machine. Each field has its range beside it, and its unit in its name. A sheet does
not depend on records. It costs no privacy, is recorded on the ledger, and is visible to every
reader of the ledger or of a statistics file. Real numbers are encoded as decimal text with a
canonical spelling; in YAML they may be bare numbers.

Not guaranteed: that a sheet is true (a wrong sheet gives worse weights, which the plant's model
selection then rejects), or that networks can be generated for the machine (``wg_common.machines``
knows the simulated range).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Annotated, get_type_hints

from msgspec import UNSET, UnsetType

from wg_core import number_parsers
from wg_core.errors import DecodeError

VERSION = 1


@dataclass(frozen=True, slots=True)
class _Range:
    """Smallest and largest allowed value of a data sheet's number, as decimal texts."""

    low: str
    high: str

    def check_number(self, name: str, value: Decimal | int) -> Decimal | int:
        """Return a number in its canonical spelling; ``DecodeError`` if it is out of range."""
        number = number_parsers.check_decimal_range(value, self.low, self.high, input_name=name)
        return value if isinstance(value, int) else number


@dataclass(frozen=True, slots=True)
class _Machine:
    """Base class of the machines on data sheets: checks ranges and consistency of the fields."""

    def __post_init__(self) -> None:
        for name, bounds in _FIELD_RANGES[type(self)].items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, bounds.check_number(name, value))
        self._check_consistency()

    def _check_consistency(self) -> None:
        """Raise ``DecodeError`` if fields contradict each other; the base class has no rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatingMachine(_Machine):
    """Rolling bearing on a shaft, with an accelerometer at the bearing.

    Attributes:
        rolling_elements: Number of balls or rollers.
        rolling_element_diameter_mm: Diameter of one ball or roller.
        pitch_diameter_mm: Diameter of the circle through the centres of the rolling elements.
        contact_angle_deg: Angle between the line of contact and the plane of the bearing.
        load_percent: Load relative to the nominal load; None: not stated.
    """

    shaft_speed_rpm: Annotated[Decimal, _Range("0.1", "1000000")]
    sampling_hz: Annotated[Decimal, _Range("1", "10000000")]
    rolling_elements: Annotated[int, _Range("3", "1000")]
    rolling_element_diameter_mm: Annotated[Decimal, _Range("0.01", "1000")]
    pitch_diameter_mm: Annotated[Decimal, _Range("0.1", "10000")]
    contact_angle_deg: Annotated[Decimal, _Range("0", "89")]
    load_percent: Annotated[Decimal | None, _Range("0", "1000")] = None

    def _check_consistency(self) -> None:
        # Neighbouring elements on the pitch circle would overlap.
        room = float(self.pitch_diameter_mm) * math.sin(math.pi / self.rolling_elements)
        if float(self.rolling_element_diameter_mm) > room:
            raise DecodeError(
                f"rolling_element_diameter_mm: {self.rolling_element_diameter_mm}, but"
                f" {self.rolling_elements} of them fit on a pitch diameter of"
                f" {self.pitch_diameter_mm} only up to {room:.4g}; see the bearing's catalogue page"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gearbox(_Machine):
    """Gear pair on parallel shafts, with an accelerometer on the housing.

    Attributes:
        pinion_speed_rpm: Speed of the pinion's shaft, which is the faster one.
        gear_teeth: Number of teeth of the gear, at least that of the pinion.
        load_percent: Torque relative to the nominal torque; None: not stated.
    """

    pinion_speed_rpm: Annotated[Decimal, _Range("0.1", "1000000")]
    sampling_hz: Annotated[Decimal, _Range("1", "10000000")]
    pinion_teeth: Annotated[int, _Range("3", "1000")]
    gear_teeth: Annotated[int, _Range("3", "10000")]
    load_percent: Annotated[Decimal | None, _Range("0", "1000")] = None

    def _check_consistency(self) -> None:
        if self.pinion_teeth > self.gear_teeth:
            raise DecodeError(
                f"pinion_teeth: {self.pinion_teeth}, but gear_teeth: {self.gear_teeth}; the pinion"
                " is the one with fewer teeth: exchange them, and state the speed of its shaft"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InductionMotor(_Machine):
    """Three-phase induction motor on the mains, with the measured current of one phase.

    Attributes:
        poles: Number of poles, twice the number of pole pairs.
        shaft_speed_rpm: Speed of the shaft at the load of the records, as measured by a tachometer;
            at full load the speed on the nameplate.
        sampling_hz: Sampling rate of the current.
        load_percent: Torque relative to the rated torque; None: not stated.
    """

    supply_hz: Annotated[Decimal, _Range("1", "1000")]
    poles: Annotated[int, _Range("2", "100")]
    shaft_speed_rpm: Annotated[Decimal, _Range("0.1", "60000")]
    sampling_hz: Annotated[Decimal, _Range("1", "10000000")]
    load_percent: Annotated[Decimal | None, _Range("0", "1000")] = None

    @property
    def synchronous_rpm(self) -> float:
        """Speed of the rotating field, revolutions per minute."""
        return 120 * float(self.supply_hz) / self.poles

    def _check_consistency(self) -> None:
        if self.poles % 2:
            raise DecodeError(f"poles: {self.poles}, expected an even number: twice the pole pairs")
        slip = 1 - float(self.shaft_speed_rpm) / self.synchronous_rpm
        if not 0 < slip <= _LARGEST_SLIP:
            raise DecodeError(
                f"shaft_speed_rpm: {self.shaft_speed_rpm}, but {self.poles} poles at"
                f" {self.supply_hz} Hz turn at {(1 - _LARGEST_SLIP) * self.synchronous_rpm:.0f} to"
                f" just below {self.synchronous_rpm:.0f}; see the nameplate, and count poles, not"
                " pairs of poles"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StirredVessel(_Machine):
    """Stirred vessel with a cooling jacket, at nominal operation, with its instruments.

    Attributes:
        inflow_m3_per_h: Flow of the feed.
        volume_m3: Volume of the contents.
        level_m: Level of the contents.
        feed_temperature_c: Temperature of the feed.
        conductance_kw_per_k: Conductance of the jacket, U times A.
        coolant_flow_m3_per_h: Flow of water through the jacket.
        heat_capacity_kj_per_m3_k: Volumetric heat capacity of the feed.
        sample_seconds: Sampling interval of the log.
    """

    inflow_m3_per_h: Annotated[Decimal, _Range("0.001", "100000")]
    volume_m3: Annotated[Decimal, _Range("0.001", "100000")]
    level_m: Annotated[Decimal, _Range("0.01", "100")]
    feed_temperature_c: Annotated[Decimal, _Range("0", "500")]
    conductance_kw_per_k: Annotated[Decimal, _Range("0.0001", "1000000")]
    coolant_flow_m3_per_h: Annotated[Decimal, _Range("0.001", "100000")]
    heat_capacity_kj_per_m3_k: Annotated[Decimal, _Range("100", "10000")]
    sample_seconds: Annotated[Decimal, _Range("0.001", "100000")]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatExchanger(_Machine):
    """Counterflow heat exchanger, clean and at nominal operation, with its instruments.

    Attributes:
        hot_heat_capacity_kj_per_m3_k: Volumetric heat capacity of the hot fluid.
        cold_heat_capacity_kj_per_m3_k: Volumetric heat capacity of the cold fluid.
        conductance_kw_per_k: Conductance, U times A.
        sample_seconds: Sampling interval of the log.
    """

    hot_flow_m3_per_h: Annotated[Decimal, _Range("0.001", "100000")]
    cold_flow_m3_per_h: Annotated[Decimal, _Range("0.001", "100000")]
    hot_heat_capacity_kj_per_m3_k: Annotated[Decimal, _Range("100", "10000")]
    cold_heat_capacity_kj_per_m3_k: Annotated[Decimal, _Range("100", "10000")]
    hot_inlet_c: Annotated[Decimal, _Range("0", "500")]
    cold_inlet_c: Annotated[Decimal, _Range("0", "500")]
    conductance_kw_per_k: Annotated[Decimal, _Range("0.0001", "1000000")]
    hot_pressure_drop_kpa: Annotated[Decimal, _Range("0.001", "100000")]
    sample_seconds: Annotated[Decimal, _Range("0.001", "100000")]

    def _check_consistency(self) -> None:
        if self.hot_inlet_c <= self.cold_inlet_c:
            raise DecodeError(
                f"hot_inlet_c: {self.hot_inlet_c}, but cold_inlet_c: {self.cold_inlet_c}; exchange"
                " the fluids"
            )


_LARGEST_SLIP = 0.2  # Above the pull-out slip of usual motors, IEC 60034-12

_FIELD_RANGES: dict[type[_Machine], dict[str, _Range]] = {
    kind: {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(kind, include_extras=True).items()
    }
    for kind in (RotatingMachine, Gearbox, InductionMotor, StirredVessel, HeatExchanger)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """Data sheet: public statement about one machine; exactly one field beside version is set.

    Unset fields are absent from the encoding, so that a sheet keeps its encoding when further kinds
    of machine are added.
    """

    version: int = VERSION
    rotating_machine: RotatingMachine | UnsetType = UNSET
    gearbox: Gearbox | UnsetType = UNSET
    induction_motor: InductionMotor | UnsetType = UNSET
    stirred_vessel: StirredVessel | UnsetType = UNSET
    heat_exchanger: HeatExchanger | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise DecodeError(
                f"data sheet: version {self.version}, this program reads {VERSION}: update the"
                " older program"
            )
        if len(self._stated_machines()) != 1:
            names = ", ".join(self._stated_machines()) or "none"
            raise DecodeError(
                f"data sheet: machines stated: {names}; expected exactly one of"
                f" {', '.join(MACHINE_KINDS)}"
            )

    def _stated_machines(self) -> dict[str, "Machine"]:
        values = {name: getattr(self, name) for name in MACHINE_KINDS}
        return {name: value for name, value in values.items() if value is not UNSET}

    @property
    def kind(self) -> str:
        """Kind of the stated machine, which is its field's name, such as ``gearbox``."""
        return next(iter(self._stated_machines()))

    @property
    def machine(self) -> "Machine":
        """Machine that the data sheet states."""
        return self._stated_machines()[self.kind]

    def stated_fields(self) -> Iterator[tuple[str, str]]:
        """Yield name and value, as text, of each field that is stated for the machine."""
        for field in fields(self.machine):
            if (value := getattr(self.machine, field.name)) is not None:
                yield field.name, str(value)


Machine = RotatingMachine | Gearbox | InductionMotor | StirredVessel | HeatExchanger
MACHINE_KINDS: tuple[str, ...] = tuple(
    field.name for field in fields(DataSheet) if field.name != "version"
)
