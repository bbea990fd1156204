"""Plants with a machine: simulated ones, and the real bearing of ``cwru_de``, with data sheets."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common.machines import bearing, gearbox, motor
from wg_core.wire.data_sheet import DataSheet, Gearbox, InductionMotor, RotatingMachine
from wg_server.generator.weights.simulators import SIMULATORS

CONDITIONS = ("normal", "ball", "inner", "outer")
OWN, TESTS = 20, 60  # Windows of a condition
FURTHER_SOUND = 520  # Further sound ones where most are
RECORDING_WINDOWS, LOUDNESS_SPREAD = (
    4,
    4.0,
)  # Windows of a simulated one; spread of its damage's loudness, dB
SIZES = (7, 14, 21)
EVEN, MOSTLY_SOUND_REAL, NO_SOUND = "real, even", "real, mostly healthy", "real, no healthy window"
MIXTURES = (EVEN, MOSTLY_SOUND_REAL, NO_SOUND)
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MachinePlant:
    """Plant with a machine, its data sheet and windows ``[n, 1, T]``.

    Attributes:
        names: Class names.
        sheet: Data sheet of the machine.
        own: Windows and labels of the plant.
        units: Recording of each own window.
        test: Test windows and labels.
        other_sheet: Data sheet of another machine.
    """

    names: tuple[str, ...]
    sheet: DataSheet
    own: tuple[NDArray[np.float32], Ints]
    units: tuple[str, ...]
    test: tuple[NDArray[np.float32], Ints]
    other_sheet: DataSheet


def sheet_from_figures(*figures: Decimal) -> DataSheet:
    """Build the data sheet of a bearing from its fields, in their order."""
    names = [field.name for field in dataclasses.fields(RotatingMachine)]
    values = dict(zip(names, figures, strict=True))
    machine = RotatingMachine(**values | {"rolling_elements": int(figures[2])})  # type: ignore[arg-type]
    return DataSheet(rotating_machine=machine)


def simulate_plant(kind: str, number: int, seed: int, further_sound: int = 0) -> MachinePlant:
    """Simulate a plant with an unseen machine; each recording of a bearing has a random loudness.

    Args:
        kind: Kind of the machine.
        number: Number of the machine.
        seed: Seed of all machines.
        further_sound: Number of windows of the sound machine beyond ``OWN``, which are never
            labelled.
    """
    simulator = SIMULATORS[kind](1000 * seed + number)
    names = simulator.kind.conditions
    machine = simulator.draw_machines(1)
    draws = torch.Generator().manual_seed(number)
    recordings = []
    for _ in range((OWN + TESTS) // RECORDING_WINDOWS):
        recorded = machine
        if kind == bearing.MACHINE_KIND.name:
            loudness = LOUDNESS_SPREAD * torch.randn(machine.severity_db.shape, generator=draws)
            recorded = dataclasses.replace(machine, severity_db=machine.severity_db + loudness)
        recordings.append(simulator.simulate_windows(recorded, RECORDING_WINDOWS)[0])
    windows = torch.cat(recordings, dim=1).numpy()
    own, test = (
        (part.reshape(-1, 1, part.shape[-1]), np.repeat(np.arange(len(names)), part.shape[1]))
        for part in (windows[:, :OWN], windows[:, OWN:])
    )
    units = tuple(f"{label} {row % OWN // RECORDING_WINDOWS}" for row, label in enumerate(own[1]))
    mixed = np.random.default_rng(number).permutation(len(units))
    sound = own[0][:0]
    if further_sound:
        sound = simulator.simulate_windows(machine, further_sound)[0, 0, :, None].numpy()
    return MachinePlant(
        names=names,
        sheet=SHEETS[kind](machine.figures[0].tolist()),
        own=(
            np.concatenate([own[0][mixed], sound]),
            np.concatenate([own[1][mixed], np.zeros(further_sound, dtype=np.int64)]),
        ),
        units=(*(units[row] for row in mixed), *(f"sound {n}" for n in range(further_sound))),
        test=test,
        other_sheet=SHEETS[kind](simulator.draw_machines(1).figures[0].tolist()),
    )


def _exact(value: float) -> Decimal:
    return Decimal(f"{value:.6g}")


def _bearing_sheet(figures: list[float]) -> DataSheet:
    *others, load = figures
    return sheet_from_figures(*map(_exact, (*others, 100 * load)))


def _gearbox_sheet(figures: list[float]) -> DataSheet:
    speed, rate, pinion_teeth, gear_teeth, load = figures
    machine = Gearbox(
        pinion_speed_rpm=_exact(speed),
        sampling_hz=_exact(rate),
        pinion_teeth=round(pinion_teeth),
        gear_teeth=round(gear_teeth),
        load_percent=_exact(100 * load),
    )
    return DataSheet(gearbox=machine)


def _motor_sheet(figures: list[float]) -> DataSheet:
    supply, rate, pairs, slip, load = figures
    machine = InductionMotor(
        supply_hz=_exact(supply),
        poles=round(2 * pairs),
        shaft_speed_rpm=_exact(60 * supply / pairs * (1 - slip)),
        sampling_hz=_exact(rate),
        load_percent=_exact(100 * load),
    )
    return DataSheet(induction_motor=machine)


SHEETS: dict[str, Callable[[list[float]], DataSheet]] = {
    bearing.MACHINE_KIND.name: _bearing_sheet,
    gearbox.MACHINE_KIND.name: _gearbox_sheet,
    motor.MACHINE_KIND.name: _motor_sheet,
}


def real_plants(path: Path, seed: int, mixture: str, labelled: int) -> Iterator[MachinePlant]:
    """Yield plants with the bearing of ``cwru_de`` (SKF 6205), by load and held-out size of damage.

    One recording is of a sound machine: its first half belongs to each plant, its second to the
    tests.

    Args:
        path: File of the data set.
        seed: Seed of the windows that a plant has.
        mixture: One of ``MIXTURES``.
        labelled: Number of labelled windows of each damage.
    """
    with np.load(path) as archive:
        data = {name: archive[name] for name in archive.files}
    kinds, rng = data["y_type"], np.random.default_rng(seed)
    sound = np.flatnonzero(kinds == 0)
    early, late = np.array_split(sound, 2)
    for load, speed in enumerate((1797, 1772, 1750, 1730)):
        for size in SIZES:
            at_load = (kinds > 0) & (data["load_hp"] == load)
            mixed = rng.permutation(np.flatnonzero(at_load & (data["size_mil"] != size)))
            of_damage = max(labelled, 1) if mixture == MOSTLY_SOUND_REAL else OWN
            parts = [mixed[kinds[mixed] == kind][:of_damage] for kind in range(1, len(CONDITIONS))]
            own_sound = {NO_SOUND: 0, EVEN: OWN}.get(mixture, len(early))
            chosen = np.concatenate([rng.permutation(early)[:own_sound], *parts])
            tests = np.concatenate([np.flatnonzero(at_load & (data["size_mil"] == size)), late])
            windows = data["x"].astype(np.float32)
            figures = speed, 12000, 9, "7.94", "39.04", 0, 50
            yield MachinePlant(
                names=CONDITIONS,
                sheet=sheet_from_figures(*(Decimal(value) for value in figures)),
                own=(windows[chosen], kinds[chosen].astype(np.int64)),
                units=tuple(str(group) for group in data["group"][chosen]),
                test=(windows[tests], kinds[tests].astype(np.int64)),
                other_sheet=_another_bearing(int(rng.integers(1 << 31))),
            )


def _another_bearing(seed: int) -> DataSheet:
    return _bearing_sheet(
        SIMULATORS[bearing.MACHINE_KIND.name](seed).draw_machines(1).figures[0].tolist()
    )
