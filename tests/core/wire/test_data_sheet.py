"""The data sheet: strict, bounded, in one spelling, from the wire and from YAML."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bearings import BEARING, GEARS, MOTOR

from wg_core import yaml_settings
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet, RotatingMachine

_REST = (
    "shaft_speed_rpm: 1, sampling_hz: 1, rolling_element_diameter_mm: 1, pitch_diameter_mm: 9,"
    " contact_angle_deg: 0"
)
SHEETS = (
    DataSheet(rotating_machine=BEARING),
    DataSheet(rotating_machine=dataclasses.replace(BEARING, load_percent=Decimal(75))),
    DataSheet(gearbox=dataclasses.replace(GEARS, load_percent=Decimal("62.5"))),
    DataSheet(induction_motor=MOTOR),
)


@pytest.mark.parametrize("sheet", SHEETS)
def test_decoding_inverts_encoding_on_the_wire_and_in_yaml(sheet: DataSheet) -> None:
    data = canonical.encode(sheet)
    assert canonical.decode(DataSheet, data, input_name="sheet") == sheet
    document = json.dumps(msgspec.to_builtins(sheet)).encode()
    assert yaml_settings.parse_yaml(document, DataSheet, "sheet") == sheet
    stated = {name: str(getattr(sheet.machine, name)) for name, _ in sheet.stated_fields()}
    assert stated and dict(sheet.stated_fields()) == stated
    assert getattr(sheet, sheet.kind) is sheet.machine


def test_a_bearing_is_encoded_alike_whatever_kinds_there_are() -> None:
    assert set(json.loads(canonical.encode(SHEETS[0]))) == {"version", "rotating_machine"}


def test_a_sheet_states_exactly_one_machine() -> None:
    for machines in ({}, {"rotating_machine": BEARING, "gearbox": GEARS}):
        with pytest.raises(DecodeError, match="exactly one of rotating_machine, gearbox, induc"):
            DataSheet(**machines)  # type: ignore[arg-type]


@given(
    speed=st.decimals("0.1", "1000000", allow_nan=False, places=4),
    angle=st.floats(0, 89),
    load=st.none() | st.integers(0, 1000),
)
def test_each_number_has_one_spelling(speed: Decimal, angle: float, load: int | None) -> None:
    sheet = DataSheet(
        rotating_machine=dataclasses.replace(
            BEARING,
            shaft_speed_rpm=speed,
            contact_angle_deg=Decimal(repr(round(angle, 6))),
            load_percent=None if load is None else Decimal(load),
        )
    )
    data = canonical.encode(sheet)
    again = canonical.decode(DataSheet, data, input_name="sheet")
    assert canonical.encode(again) == data
    assert isinstance(again.machine, RotatingMachine) and again.machine.shaft_speed_rpm == speed


def test_bare_numbers_of_yaml_are_read_as_they_are_written() -> None:
    text = b"""
rotating_machine:
  shaft_speed_rpm: 1772.50
  sampling_hz: 12000
  rolling_elements: 9
  rolling_element_diameter_mm: 7.94
  pitch_diameter_mm: "39.040"
  contact_angle_deg: 0.0
"""
    sheet = yaml_settings.parse_yaml(text, DataSheet, "sheet.yaml")
    assert sheet.machine == dataclasses.replace(BEARING, shaft_speed_rpm=Decimal("1772.5"))


_SPEEDS: tuple[Any, ...] = (
    "0",
    "-1",
    "NaN",
    "sNaN",
    "Infinity",
    "1e9",
    "1e999999999",
    "1e99999999999999999999",
    "1_772",
    " 1772",
    "1772.0",
    "1.772e3",
    "9" * 100_000,
    1772,
    1772.5,
    True,
    None,
    [],
)


@pytest.mark.parametrize(
    "changed",
    [{"shaft_speed_rpm": value} for value in _SPEEDS]
    + [
        {"contact_angle_deg": "1e-999999"},
        {"contact_angle_deg": "0." + "1" * 18},
        {"contact_angle_deg": "90"},
        {"rolling_elements": 2},
        {"rolling_elements": 9.5},
        {"rolling_elements": "9"},
        {"rolling_elements": 10**30},
        {"rolling_elements": 20},  # Too many for the pitch circle
        {"rolling_element_diameter_mm": "39.04"},
        {"load_kw": "3"},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_hostile_machines_are_refused(changed: dict[str, Any]) -> None:
    document = canonical.to_builtins(SHEETS[0])
    document["rotating_machine"] |= changed
    with pytest.raises(DecodeError) as error:
        canonical.decode(DataSheet, json.dumps(document).encode(), input_name="sheet")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("sheet", "changed", "remedy"),
    [
        (SHEETS[2], {"gear_teeth": 20}, "exchange them"),
        (SHEETS[2], {"pinion_teeth": 2}, "pinion_teeth: 2, expected 3 to 1000"),
        (SHEETS[2], {"gear_teeth": "58"}, "gear_teeth"),
        (SHEETS[2], {"pinion_speed_rpm": None}, "pinion_speed_rpm"),
        (SHEETS[3], {"poles": 3}, "twice the pole pairs"),
        (SHEETS[3], {"poles": 2}, "count poles, not pairs of poles"),
        (SHEETS[3], {"shaft_speed_rpm": "1500"}, "1200 to just below 1500"),
        (SHEETS[3], {"shaft_speed_rpm": "1510"}, "nameplate"),
        (SHEETS[3], {"supply_hz": "0"}, "supply_hz: 0, expected 1 to 1000"),
    ],
)
def test_numbers_that_cannot_stand_together_are_refused_with_a_remedy(
    sheet: DataSheet, changed: dict[str, Any], remedy: str
) -> None:
    document = canonical.to_builtins(sheet)
    document[sheet.kind] |= changed
    with pytest.raises(DecodeError, match=remedy):
        canonical.decode(DataSheet, json.dumps(document).encode(), input_name="sheet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"version: 2\nrotating_machine: {{{_REST}, rolling_elements: 9}}", "update the older"),
        ("version: 1", "rotating_machine"),
        ("speed: 1", "rotating_machine"),
        (f"rotating_machine: {{{_REST}, rolling_elements: 0x{'f' * 4000}}}", "rolling_elements"),
    ],
)
def test_a_wrong_sheet_of_yaml_is_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        yaml_settings.parse_yaml(text.encode(), DataSheet, "sheet.yaml")
