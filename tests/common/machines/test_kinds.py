"""What sheets of each kind state: lines by hand, sizes, and refusals with a remedy that works."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import torch
from tests.bearings import BEARING, GEARS, MOTOR

from wg_common.machines import gearbox, motor, registry
from wg_common.machines.base import HALF_BIN_COUNT, MachineKind
from wg_core.errors import ConfigError
from wg_core.wire import data_sheet
from wg_core.wire.data_sheet import DataSheet, Machine

MACHINES: dict[str, Machine] = {
    "rotating_machine": BEARING,
    "gearbox": GEARS,
    "induction_motor": MOTOR,
}


def sheet_of(machine: Machine) -> DataSheet:
    """A sheet that states a machine."""
    name = next(name for name, stated in MACHINES.items() if type(stated) is type(machine))
    return DataSheet(**{name: machine})  # type: ignore[arg-type]


def test_each_machine_of_a_sheet_has_its_kind() -> None:
    assert tuple(registry.MACHINE_KINDS) == tuple(MACHINES)
    assert tuple(registry.READABLE_KINDS) == data_sheet.MACHINE_KINDS


@pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: type(machine).__name__)
def test_numbers_and_templates_have_the_stated_sizes(machine: Machine) -> None:
    kind = registry.declared_machine_kind(sheet_of(machine))
    figures = kind.read_figures(sheet_of(machine))
    numbers, templates = kind.figure_features(figures), kind.line_templates(figures)
    assert numbers.shape == (1, kind.figure_feature_count) and numbers.abs().max() < 5
    assert templates.shape == (1, kind.template_count, HALF_BIN_COUNT)


@pytest.mark.parametrize("kind", registry.MACHINE_KINDS.values(), ids=list(registry.MACHINE_KINDS))
def test_a_sheet_of_another_kind_is_refused(kind: MachineKind) -> None:
    other = GEARS if kind is not gearbox.MACHINE_KIND else MOTOR
    with pytest.raises(ConfigError, match="it states"):
        kind.read_figures(sheet_of(other))


def test_lines_of_gears_are_turns_and_meshing_teeth() -> None:
    lines = gearbox.line_frequencies(gearbox.read_figures(sheet_of(GEARS)))[0].tolist()
    turns = 1480 / 60 * 1024 / 4096
    assert lines == pytest.approx([turns, turns * 21 / 58, turns * 21])


def test_lines_of_a_motor_are_supply_shaft_and_twice_the_slip() -> None:
    # 4 poles at 50 Hz: 1,500 turns a minute; 48 fewer are a slip of 3.2 %.
    lines = motor.line_frequencies(motor.read_figures(sheet_of(MOTOR)))[0] / (1024 / 500)
    assert lines.tolist() == pytest.approx([50, 1452 / 60, 2 * 0.032 * 50], rel=1e-5)


def test_templates_stand_at_the_lines() -> None:
    for kind, module, machine, place, line in (
        (gearbox.MACHINE_KIND, gearbox, GEARS, 0, 0),
        (gearbox.MACHINE_KIND, gearbox, GEARS, 8, 1),
        (motor.MACHINE_KIND, motor, MOTOR, 0, 2),
        (motor.MACHINE_KIND, motor, MOTOR, 4, 1),
    ):
        figures = kind.read_figures(sheet_of(machine))
        at = 2 * float(module.line_frequencies(figures)[0, line])  # Half bins
        peak = kind.line_templates(figures)[0, 2 * place].argmax()
        assert abs(float(peak) - at) <= 0.5


@pytest.mark.parametrize(
    ("machine", "changed", "remedy", "mended"),
    [
        (GEARS, {"sampling_hz": 51200}, "half the rate", {"sampling_hz": 4096}),
        (GEARS, {"pinion_speed_rpm": 30}, "half the rate", {"sampling_hz": 80}),
        (GEARS, {"gear_teeth": 210}, "the two gears that mesh", {"gear_teeth": 58}),
        (MOTOR, {"sampling_hz": 10000}, "resample the current to 6.2 to", {"sampling_hz": 400}),
        (MOTOR, {"shaft_speed_rpm": 1497}, "at a higher load", {"shaft_speed_rpm": 1470}),
        (MOTOR, {"supply_hz": 400, "shaft_speed_rpm": 11800}, "leave the sheet out", None),
        (BEARING, {"shaft_speed_rpm": 60}, "half the rate", {"sampling_hz": 500}),
    ],
)
def test_a_machine_unlike_all_that_are_simulated_is_refused_and_the_remedy_works(
    machine: Machine, changed: dict[str, Any], remedy: str, mended: dict[str, Any] | None
) -> None:
    def of(values: dict[str, Any]) -> DataSheet:
        kinds = {name: type(getattr(machine, name)) for name in values}
        return sheet_of(replace(machine, **{name: kinds[name](values[name]) for name in values}))

    kind = registry.declared_machine_kind(sheet_of(machine))
    with pytest.raises(ConfigError, match=remedy):
        kind.read_figures(of(changed))
    if mended is not None:
        assert torch.isfinite(kind.read_figures(of({**changed, **mended}))).all()


def test_a_load_that_is_not_stated_is_a_usual_one() -> None:
    for machine, usual in ((GEARS, 50), (MOTOR, 75)):
        kind = registry.declared_machine_kind(sheet_of(machine))
        stated = sheet_of(replace(machine, load_percent=Decimal(usual)))
        assert torch.equal(kind.read_figures(sheet_of(machine)), kind.read_figures(stated))
