"""Rolling element bearings: spectral lines from shaft speed and geometry.

Each passage of an element over a damaged place is an impact, at a rate that follows from the shaft
speed and the bearing's geometry (Randall and Antoni, *Rolling element bearing diagnostics*, MSSP
25, 2011). Shaft rotation modulates the line of a damaged inner ring, and cage rotation the line of
a damaged element, which gives side lines at those distances.
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
from wg_core.wire.data_sheet import DataSheet, RotatingMachine

_WORDS_BY_CONDITION = {
    "normal": condition_words.HEALTHY_WORDS,
    "rolling element": (
        "rolling element",
        "Wälzkörper",
        "転動体",
        "ball",
        "balls",
        "b",
        "bsf",
        "roller",
        "rollers",
        "rolling",
        "element",
        "Kugel",
        "Rolle",
        "Rollkörper",
        "玉",
        "ころ",
        "ボール",
        "ローラ",
    ),
    "inner ring": (
        "inner ring",
        "Innenring",
        "内輪",
        "inner",
        "innen",
        "ir",
        "irf",
        "bpfi",
        "インナー",
    ),
    "outer ring": (
        "outer ring",
        "Außenring",
        "外輪",
        "outer",
        "außen",
        "or",
        "orf",
        "bpfo",
        "アウター",
    ),
}
_GEOMETRY_ADVICE = text("see the bearing's catalogue page, or leave the sheet out")
_SAMPLING_ADVICE = text("resample the records: half the rate has twice as many in 1,024 samples")
_FIGURE_RANGES = (
    FigureRange(text("turns of the shaft in 1,024 samples"), 0.4, 10.0, _SAMPLING_ADVICE),
    FigureRange(text("rolling elements"), 5.0, 26.0, _GEOMETRY_ADVICE),
    FigureRange(text("rolling element over pitch diameter"), 0.08, 0.42, _GEOMETRY_ADVICE),
    FigureRange(text("contact angle in degrees"), 0.0, 45.0, _GEOMETRY_ADVICE),
)
"""Ranges of the simulated machines, slightly widened."""
_HARMONICS = 3
_TEMPLATE_LINES = 10  # Number of lines and side lines with templates, each with its harmonics


def read_figures(sheet: DataSheet) -> Tensor:
    """Read a bearing's figures ``[1, 7]`` from a data sheet; a missing load counts as 50 %.

    Raises:
        ConfigError: The machine lies outside the simulated ranges.
    """
    machine = declared_machine(sheet, RotatingMachine)
    load = 50.0 if machine.load_percent is None else float(machine.load_percent)
    values = [
        float(machine.shaft_speed_rpm),
        float(machine.sampling_hz),
        float(machine.rolling_elements),
        float(machine.rolling_element_diameter_mm),
        float(machine.pitch_diameter_mm),
        float(machine.contact_angle_deg),
        min(load / 100, 1.0),
    ]
    exact = torch.tensor([values], dtype=torch.float64)
    turns = float(line_frequencies(exact)[0, 0])
    actual = (turns, values[2], values[3] / values[4], values[5])
    check_figures_simulated(_FIGURE_RANGES, actual)
    return exact.float()


def line_frequencies(figures: Tensor) -> Tensor:
    """Return a bearing's spectral lines ``[m, 5]`` in cycles per window for figures ``[m, 7]``.

    The lines are those of shaft, cage, rolling element, inner ring and outer ring. A damaged
    element strikes both rings in each of its rotations, so its line is at twice its spin.
    """
    speed, rate, count, element, pitch, angle, _ = figures.unbind(dim=1)
    turns = speed / 60 * WINDOW_SAMPLES / rate
    ratio = element / pitch
    slant = ratio * torch.cos(torch.deg2rad(angle))
    cage = (1 - slant) / 2
    orders = [torch.ones_like(cage), cage, (1 - slant**2) / ratio]
    orders += [count / 2 * (1 + slant), count / 2 * (1 - slant)]
    return turns[:, None] * torch.stack(orders, dim=1)


def figure_features(figures: Tensor) -> Tensor:
    """Return scaled features ``[m, 10]`` of bearings' figures ``[m, 7]``, for a network.

    They describe the logarithms of the lines, sampling rate, rolling elements, and load.
    """
    log_lines = line_frequencies(figures).log()
    _, rate, count, element, pitch, _, load = figures.unbind(dim=1)
    plain_numbers = [
        (rate / 13e3).log() * 2,
        count / 4 - 3,
        (element / pitch - 0.22) * 12,
        3 * load - 1.5,
    ]
    return torch.cat(
        [log_lines - 2, torch.stack(plain_numbers, dim=1), log_lines[:, :1] ** 2 - 1], dim=1
    )


def line_templates(figures: Tensor) -> Tensor:
    """Return templates of bearings, ``[m, T, HALF_BIN_COUNT]``, for figures ``[m, 7]``.

    Their bumps are at the lines, their side lines, and harmonics of both.
    """
    shaft, cage, element, inner, outer = line_frequencies(figures).unbind(dim=1)
    places = [shaft, cage, element, inner, outer, element / 2]
    places += [element - cage, element + cage, inner - shaft, inner + shaft]
    half_bins = 2 * torch.stack(places, dim=1)  # [m, places]
    # Side lines accompany every harmonic of their line.
    mains = torch.stack([*places[:6], element, element, inner, inner], dim=1)
    order = torch.arange(_HARMONICS, dtype=half_bins.dtype)
    at = half_bins[..., None] + 2 * mains[..., None] * order  # [m, places, harmonics]
    return line_bumps(at.flatten(1))


MACHINE_KIND = MachineKind(
    name="rotating_machine",
    words_by_condition=_WORDS_BY_CONDITION,
    figure_feature_count=10,
    template_count=_TEMPLATE_LINES * _HARMONICS * BUMPS_PER_LINE,
    read_figures=read_figures,
    figure_features=figure_features,
    line_templates=line_templates,
)
