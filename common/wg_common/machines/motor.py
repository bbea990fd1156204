"""Induction motors by the current of one phase: declared figures and spectral lines.

A fault modulates the current, which gives side bands beside the supply's line; in the envelope of a
band around the supply they are lines at the modulation itself. Broken rotor bars: twice the slip
frequency, side bands at ``(1 ± 2ks) f`` (Thomson and Fenger, *Current signature analysis to detect
induction motor faults*, IEEE Industry Applications Magazine 7, 2001). Eccentricity, static and
dynamic together: the shaft's rate, ``f ± k f_r`` (Nandi, Toliyat and Li, *Condition monitoring and
fault diagnosis of electrical motors*, IEEE Transactions on Energy Conversion 20, 2005). Shorted
stator turns: ``f (n (1 - s) / p ± k)``, which includes the third harmonic of the supply (Benbouzid,
*A review of induction motors signature analysis as a medium for faults detection*, IEEE
Transactions on Industrial Electronics 47, 2000).

A window must last several periods of twice the slip frequency, so currents are recorded, or
resampled, at a few hundred samples per second.
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
from wg_core.wire.data_sheet import DataSheet, InductionMotor

USUAL_LOAD = 0.75
"""Load, as a share of the rated torque, if the data sheet declares none."""
_TEMPLATE_LINES = 16
_WORDS_BY_CONDITION = {
    "normal": condition_words.HEALTHY_WORDS,
    "broken rotor bar": (
        "broken rotor bar",
        "Läuferstabbruch",
        "回転子バー",
        "bar",
        "bars",
        "brb",
        "rotor bar",
        "rotor cage",
        "rotor fault",
        "rotor damage",
        "Rotorstab",
        "Läuferstab",
        "Stabbruch",
        "Käfig",
        "ローターバー",
        "ロータバー",
        "バー折損",
        "バー切れ",
    ),
    "eccentricity": (
        "eccentricity",
        "Exzentrizität",
        "偏心",
        "eccentric",
        "air gap",
        "airgap",
        "exzentrisch",
        "Luftspalt",
        "エアギャップ",
    ),
    "stator turns": (
        "stator turns",
        "Windungsschluss",
        "巻線",
        "stator",
        "winding",
        "turn",
        "turns",
        "inter turn",
        "interturn",
        "itsc",
        "short",
        "shorted",
        "Wicklung",
        "Ständer",
        "固定子",
        "層間短絡",
        "レアショート",
        "ステータ",
    ),
}
_FIGURE_RANGES = (
    FigureRange(
        text("Hz of supply"),
        45.0,
        66.0,
        text("motors at a converter are not simulated; leave the sheet out"),
    ),
    FigureRange(text("poles"), 2.0, 12.0, text("see the nameplate, or leave the sheet out")),
    FigureRange(
        text("periods of the supply in 1,024 samples"),
        46.0,
        165.0,
        text("resample the current to 6.2 to 22 times the frequency of the supply"),
    ),
    FigureRange(
        text("periods of twice the slip frequency in 1,024 samples"),
        2.2,
        30.0,
        text("resample the current to a lower rate, or record it at a higher load"),
    ),
)
"""Ranges of the simulated machines, slightly widened."""


def read_figures(sheet: DataSheet) -> Tensor:
    """Read a motor's figures ``[1, 5]`` from a data sheet; a missing load is ``USUAL_LOAD``.

    The figures are supply and sampling in Hz, pairs of poles, slip, and load.

    Raises:
        ConfigError: The machine lies outside the simulated ranges.
    """
    machine = declared_machine(sheet, InductionMotor)
    load = USUAL_LOAD if machine.load_percent is None else float(machine.load_percent) / 100
    slip = 1 - float(machine.shaft_speed_rpm) / machine.synchronous_rpm
    values = [float(machine.supply_hz), float(machine.sampling_hz), machine.poles / 2, slip]
    exact = torch.tensor([[*values, min(load, 1.2)]], dtype=torch.float64)
    supply, _, pole_slip = line_frequencies(exact)[0].tolist()
    actual = (values[0], float(machine.poles), supply, pole_slip)
    check_figures_simulated(_FIGURE_RANGES, actual)
    return exact.float()


def line_frequencies(figures: Tensor) -> Tensor:
    """Return frequencies ``[m, 3]``, cycles per window: supply, shaft, twice the slip frequency."""
    supply, rate, pairs, slip, _ = figures.unbind(dim=1)
    turns = supply / pairs * (1 - slip)
    return torch.stack([supply, turns, 2 * slip * supply], dim=1) * (WINDOW_SAMPLES / rate)[:, None]


def figure_features(figures: Tensor) -> Tensor:
    """Return scaled features ``[m, 8]`` of motors' figures ``[m, 5]``, for a network.

    They describe the logarithms of the lines, pairs of poles, slip, and load.
    """
    supply, shaft, slip = line_frequencies(figures).log().unbind(dim=1)
    _, _, pairs, relative_slip, load = figures.unbind(dim=1)
    numbers = [2 * (supply - 4.8), shaft - 4, slip - 1.5, (slip - 1.5) ** 2 - 1]
    numbers += [2 * (pairs.log() - 0.7), relative_slip.log() + 3.8, 3 * (load - 0.7)]
    return torch.stack([*numbers, (supply - 4.8) * (shaft - 4)], dim=1)


def line_templates(figures: Tensor) -> Tensor:
    """Return templates of motors, ``[m, T, HALF_BIN_COUNT]``, for figures ``[m, 5]``.

    Their bumps are at the frequencies that modulate the supply, their sums and their multiples.
    """
    supply, shaft, slip = line_frequencies(figures).unbind(dim=1)
    places = [slip, 2 * slip, 3 * slip, shaft - slip, shaft, shaft + slip, 2 * shaft, 3 * shaft]
    places += [2 * supply, 2 * supply - shaft, 2 * supply + shaft, 2 * supply - slip]
    places += [supply, supply - shaft, supply + shaft, 4 * supply]
    return line_bumps(2 * torch.stack(places, dim=1))


MACHINE_KIND = MachineKind(
    name="induction_motor",
    words_by_condition=_WORDS_BY_CONDITION,
    figure_feature_count=8,
    template_count=_TEMPLATE_LINES * BUMPS_PER_LINE,
    read_figures=read_figures,
    figure_features=figure_features,
    line_templates=line_templates,
)
