"""Gear pair on parallel shafts: its declared figures and its spectral lines.

Teeth mesh at the rate of a shaft times its number of teeth. Differences between teeth modulate the
mesh at the rate of their shaft, which gives side bands beside the mesh and its harmonics (Randall,
*A new method of modeling gear faults*, ASME Journal of Mechanical Design 104, 1982). In the
envelope of a band they are lines at the rates of the shafts. A damaged tooth changes amplitude and
phase of the mesh for a short part of each turn, so many harmonics of its shaft rise (McFadden,
*Detecting fatigue cracks in gears by amplitude and phase demodulation of
the meshing vibration*, ASME Journal of Vibration and Acoustics 108, 1986). Worn teeth raise the
harmonics of the mesh (Randall, *Vibration-based Condition Monitoring*, Wiley, 2011, section 2.2.2).
"""

import torch
from torch import Tensor

from wg_common.language import text
from wg_common.machines import condition_words
from wg_common.machines.base import (
    BUMPS_PER_LINE,
    WINDOW_SAMPLES,
    FigureRange,
    MachineKind,
    check_figures_simulated,
    declared_machine,
    line_bumps,
)
from wg_core.wire.data_sheet import DataSheet, Gearbox

_HARMONICS = 8  # Number of harmonics of each shaft
_TEMPLATE_LINES = 2 * _HARMONICS + 7
_WORDS_BY_CONDITION = {
    "normal": condition_words.HEALTHY_WORDS,
    "pinion tooth": (
        "pinion tooth",
        "Ritzelzahn",
        "小歯車",
        "pinion",
        "Ritzel",
        "ピニオン",
        "小ギヤ",
        "小ギア",
    ),
    "gear tooth": (
        "gear tooth",
        "Radzahn",
        "大歯車",
        "gear",
        "wheel",
        "Rad",
        "Großrad",
        "大ギヤ",
        "大ギア",
    ),
    "wear": ("wear", "Verschleiß", "摩耗", "worn", "abrasion", "Abnutzung", "abgenutzt"),
}
_SAMPLING_ADVICE = text("resample the records: half the rate has twice as many in 1,024 samples")
_FIGURE_RANGES = (
    FigureRange(
        text("teeth of the gear for one of the pinion"),
        1.0,
        8.0,
        text("state the two gears that mesh, not the ratio of the whole gearbox"),
    ),
    FigureRange(text("turns of the pinion in 1,024 samples"), 2.0, 34.0, _SAMPLING_ADVICE),
    FigureRange(text("turns of the gear in 1,024 samples"), 1.8, 30.0, _SAMPLING_ADVICE),
    FigureRange(text("meshing teeth in 1,024 samples"), 28.0, 430.0, _SAMPLING_ADVICE),
)
"""Ranges of the simulated machines, slightly widened."""


def read_figures(sheet: DataSheet) -> Tensor:
    """Read a gear pair's figures ``[1, 5]`` from a data sheet; a missing load counts as 50 %.

    Raises:
        ConfigError: The machine lies outside the simulated ranges.
    """
    machine = declared_machine(sheet, Gearbox)
    load = 50.0 if machine.load_percent is None else float(machine.load_percent)
    values = [float(machine.pinion_speed_rpm), float(machine.sampling_hz)]
    values += [float(machine.pinion_teeth), float(machine.gear_teeth), min(load / 100, 1.0)]
    exact = torch.tensor([values], dtype=torch.float64)
    actual = (values[3] / values[2], *line_frequencies(exact)[0].tolist())
    check_figures_simulated(_FIGURE_RANGES, actual)
    return exact.float()


def line_frequencies(figures: Tensor) -> Tensor:
    """Return the rates of pinion, gear and tooth mesh in cycles per window, ``[m, 3]``."""
    speed, rate, pinion_teeth, gear_teeth, _ = figures.unbind(dim=1)
    turns = speed / 60 * WINDOW_SAMPLES / rate
    mesh = turns * pinion_teeth
    return torch.stack([turns, mesh / gear_teeth, mesh], dim=1)


def figure_features(figures: Tensor) -> Tensor:
    """Compute scaled network inputs ``[m, 8]`` from the declared figures of gear pairs.

    The inputs are log frequencies of both shafts and of the mesh, the latter also squared; log
    sampling rate; log number of the pinion's teeth; log gear ratio; and load.
    """
    pinion, gear, mesh = line_frequencies(figures).log().unbind(dim=1)
    _, rate, pinion_teeth, gear_teeth, load = figures.unbind(dim=1)
    numbers = [2 * (pinion - 2.2), 2 * (gear - 1.3), 2 * (mesh - 5), (mesh - 5) ** 2 - 0.5]
    numbers += [(rate / 5e3).log() * 2, 2 * (pinion_teeth.log() - 3)]
    return torch.stack(
        [*numbers, 2 * (gear_teeth / pinion_teeth).log() - 1.6, 3 * load - 1.5], dim=1
    )


def line_templates(figures: Tensor) -> Tensor:
    """Return templates of gear pairs, ``[m, T, HALF_BIN_COUNT]``, for figures ``[m, 5]``.

    Their bumps are at harmonics of shafts and mesh, and at side lines.
    """
    pinion, gear, mesh = line_frequencies(figures).unbind(dim=1)
    orders = range(1, _HARMONICS + 1)
    places = [order * shaft for shaft in (pinion, gear) for order in orders]
    places += [mesh, mesh - pinion, mesh + pinion, mesh - gear, mesh + gear, 2 * mesh, 3 * mesh]
    return line_bumps(2 * torch.stack(places, dim=1))


MACHINE_KIND = MachineKind(
    name="gearbox",
    words_by_condition=_WORDS_BY_CONDITION,
    figure_feature_count=8,
    template_count=_TEMPLATE_LINES * BUMPS_PER_LINE,
    read_figures=read_figures,
    figure_features=figure_features,
    line_templates=line_templates,
)
