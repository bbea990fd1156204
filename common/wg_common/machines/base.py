"""A kind of machine: which figures a sheet states, and where its lines stand in a spectrum.

Networks for machines read envelope spectra (``wg_common.nets.spectrum_lines``), in steps of half a
cycle a window of ``WINDOW`` samples. A kind says at which places of that axis a machine's lines
stand, by closed formulas of its stated figures. That is all that plant and server must know of it
alike; what a machine of the kind sounds like is in the server's simulator.
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

WINDOW = 1024  # Samples of a piece of a record
HALF_BINS = 384  # Length of an envelope spectrum, in steps of half a cycle a piece

_WIDTHS = (1.0, 4.0)  # Half bins
BUMP_WIDTHS = len(_WIDTHS)
"""Number of templates at each place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKind:
    """A kind of machine, of which f figures are stated.

    Attributes:
        name: Field of the data sheet that states such a machine.
        conditions: Names of its conditions, the sound one first.
        words: Words of class names for each condition, in lower case.
        condition_size: Number c of numbers from ``stated_numbers``.
        template_count: Number T of templates.
        figures: Reads the figures ``[1, f]`` of a data sheet; raises ``ConfigError`` where the
            machine is unlike all that are simulated.
        stated_numbers: Turns figures ``[m, f]`` into numbers of order 1, ``[m, c]``.
        templates: Places bumps over half bins at the stated lines, ``[m, T, HALF_BINS]``.
    """

    name: str
    conditions: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]
    condition_size: int
    template_count: int
    figures: Callable[[DataSheet], Tensor]
    stated_numbers: Callable[[Tensor], Tensor]
    templates: Callable[[Tensor], Tensor]


def line_bumps(places: Tensor, tolerance: float) -> Tensor:
    """Narrow and wide bumps over half bins, ``[m, n * BUMP_WIDTHS, HALF_BINS]``.

    Args:
        places: Half bins of n lines, ``[m, n]``.
        tolerance: Part of its frequency by which a line may be off.
    """
    width = (torch.tensor(_WIDTHS) ** 2 + (tolerance * places[..., None]) ** 2).sqrt()
    bins = torch.arange(HALF_BINS)
    distance = (bins - places[..., None, None]) / width[..., None]
    bumps = torch.exp(-0.5 * distance.square()) / width[..., None]
    return torch.where(bumps > 1e-4, bumps, 0).flatten(1, 2)


class Range(NamedTuple):
    """A figure of simulated machines, for people.

    Attributes:
        name: What it is, with its unit.
        low: Least value.
        high: Largest value.
        remedy: What to do about another value.
    """

    name: Text
    low: float
    high: float
    remedy: Text


def check_simulated(ranges: Sequence[Range], values: Sequence[float]) -> None:
    """Refuse a machine unlike all that are simulated.

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


def stated_machine(sheet: DataSheet, kind: type[M]) -> M:
    """Return the machine that a sheet states.

    Raises:
        ConfigError: It is of another kind.
    """
    if not isinstance(sheet.machine, kind):
        raise ConfigError(f"data sheet: it states {sheet.kind}, expected {kind.__name__}")
    return sheet.machine
