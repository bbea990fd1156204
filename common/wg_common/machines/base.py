"""Kinds of rotating machine: figures declared on a data sheet, and the spectral lines they give.

Networks for machines read envelope spectra (``wg_common.nets.spectrum_lines``), in steps of half a
cycle per window of ``WINDOW_SAMPLES`` samples (half bins). A kind computes the positions of a
machine's lines on this axis from its declared figures, by closed formulas that plant and server
share. Only the server simulates signals of such machines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from wg_common.language import Text, text
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

M = TypeVar("M")

WINDOW_SAMPLES = 1024  # Samples in a window of a record
HALF_BIN_COUNT = 384  # Length of an envelope spectrum, in steps of half a cycle per window

_BUMP_WIDTHS_HALF_BINS = (1.0, 4.0)  # Standard deviations of the bumps at each line, in half bins
BUMPS_PER_LINE = len(_BUMP_WIDTHS_HALF_BINS)
"""Number of bumps at each line."""
_LINE_TOLERANCE = 0.004  # Relative uncertainty of a line's frequency, since motors run slow or fast


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKind:
    """Kind of rotating machine, whose data sheet declares f figures.

    Attributes:
        name: Field of the data sheet that declares such a machine.
        words_by_condition: By condition, the words that indicate it in a class name; the healthy
            condition first.
        figure_feature_count: Length c of the vectors from ``figure_features``.
        template_count: Number T of templates, each a spectrum with one bump at a line.
        read_figures: Function that reads the figures ``[1, f]`` from a data sheet; raises
            ``ConfigError`` if the machine lies outside the simulated ranges.
        figure_features: Function from figures ``[m, f]`` to scaled features of order 1, ``[m, c]``.
        line_templates: Function from figures ``[m, f]`` to templates, ``[m, T, HALF_BIN_COUNT]``.
    """

    name: str
    words_by_condition: Mapping[str, tuple[str, ...]]
    figure_feature_count: int
    template_count: int
    read_figures: Callable[[DataSheet], Tensor]
    figure_features: Callable[[Tensor], Tensor]
    line_templates: Callable[[Tensor], Tensor]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the machine kind's conditions, the healthy one first."""
        return tuple(self.words_by_condition)


def line_bumps(lines: Tensor, tolerance: float = _LINE_TOLERANCE) -> Tensor:
    """Return spectra with one bump each, ``[m, n * BUMPS_PER_LINE, HALF_BIN_COUNT]``.

    Each spectral line has a narrow and a wide bump.

    Args:
        lines: Positions of n lines, ``[m, n]``, half bins.
        tolerance: Relative uncertainty of a line's frequency.
    """
    width = (torch.tensor(_BUMP_WIDTHS_HALF_BINS) ** 2 + (tolerance * lines[..., None]) ** 2).sqrt()
    bins = torch.arange(HALF_BIN_COUNT)
    distance = (bins - lines[..., None, None]) / width[..., None]
    bumps = torch.exp(-0.5 * distance.square()) / width[..., None]
    return torch.where(bumps > 1e-4, bumps, 0).flatten(1, 2)


class FigureRange(NamedTuple):
    """Range of a figure over the machines that the server simulates for training.

    Attributes:
        name: Name of the figure, with its unit.
        low: Smallest value.
        high: Largest value.
        remedy: Advice to the user about a value outside the range.
    """

    name: Text
    low: float
    high: float
    remedy: Text


def check_figures_simulated(ranges: Sequence[FigureRange], values: Sequence[float]) -> None:
    """Check that a machine's figures lie within the simulated ranges.

    Args:
        ranges: Ranges of figures.
        values: Figures of the machine, in the same order.

    Raises:
        ConfigError: A value is out of its range.
    """
    for (name, low, high, remedy), value in zip(ranges, values, strict=True):
        if not low <= value <= high:
            raise ConfigError(
                text(
                    "data sheet: {value:.3g} {name}, machines of {low:g} to {high:g} are known:"
                    " {remedy}",
                    value=value,
                    name=name,
                    low=low,
                    high=high,
                    remedy=remedy,
                )
            )


def declared_machine(sheet: DataSheet, machine_type: type[M]) -> M:
    """Return the machine that a data sheet declares.

    Raises:
        ConfigError: The data sheet declares another kind of machine.
    """
    if not isinstance(sheet.machine, machine_type):
        raise ConfigError(f"data sheet: it states {sheet.kind}, expected {machine_type.__name__}")
    return sheet.machine
