"""Units of a process plant: what their instruments show, and what balances of a data sheet say.

A window of a unit has one row an instrument, in engineering units and in the order of its kind. It
is read as means, changes and spreads in parts of what the sheet states (the plain readings), and as
what the sheet's balances make of them: each estimate of a quantity, and by how far they disagree.
Instruments have errors that no sheet states, so balances do not close, and how far they do not, on
average over many windows, says which instrument is wrong: data reconciliation (Crowe, *Data
reconciliation: progress and challenges*, Journal of Process Control 6, 1996) needs no more.

A quantity is positive, and estimated as the logarithm of its share of its nominal value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

SAMPLES = 24
"""Samples of a window."""
WATER = 4180.0
"""Heat capacity of water by volume, kJ/(m3 K)."""
LARGEST_READING = 8.0
"""Magnitude to which a balance is clamped."""
LEAST_SHARE = 0.05
"""Share of its nominal value below which a flow, a duty or a level is not told."""
_LEAST_SPREAD = 0.1  # Added to a reading's spread before it is divided by it
_LEEWAY = 1.1  # Beyond what is simulated


class Channel(NamedTuple):
    """An instrument of a unit."""

    name: str
    unit: str


class Quantity(NamedTuple):
    """A positive number that a soft sensor states.

    Attributes:
        name: Name for people.
        unit: Unit of its values.
        scale: Factor on the logarithm of its share of the nominal value, for order 1.
    """

    name: str
    unit: str
    scale: float


class Limit(NamedTuple):
    """A figure of simulated units: its name with its unit, its least and its largest value."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUnit:
    """A kind of process unit, of which f figures are stated.

    Attributes:
        name: Field of the data sheet that states such a unit.
        figure_names: Fields of the statement, in the order of the figures.
        limits: Positive figures of the units that are simulated.
        limited_figures: Those figures of one unit, of its stated figures ``[f]``.
        channels: The C instruments, in the order of a window's rows.
        quantities: Q numbers that a soft sensor may state.
        condition_size: Number c of numbers from ``stated_numbers``.
        plain_count: Number of plain readings, which stand before those of balances.
        reading_count: Number R of all readings.
        stated_numbers: Turns figures ``[m, f]`` into numbers of order 1, ``[m, c]``.
        nominal: Nominal values of the quantities at stated figures, ``[m, Q]``.
        readings: Reads windows ``[m, n, C, T]`` at figures ``[m, f]`` as ``[m, n, R]``.
    """

    name: str
    figure_names: tuple[str, ...]
    limits: tuple[Limit, ...]
    limited_figures: Callable[[Tensor], tuple[Tensor, ...]]
    channels: tuple[Channel, ...]
    quantities: tuple[Quantity, ...]
    condition_size: int
    plain_count: int
    reading_count: int
    stated_numbers: Callable[[Tensor], Tensor]
    nominal: Callable[[Tensor], Tensor]
    readings: Callable[[Tensor, Tensor], Tensor]

    def figures(self, sheet: DataSheet) -> Tensor:
        """Figures ``[1, f]`` of a data sheet.

        Raises:
            ConfigError: The unit is unlike all that are simulated.
        """
        stated_figures = [float(getattr(sheet.machine, name)) for name in self.figure_names]
        figures = torch.tensor(stated_figures)
        for (name, low, high), value in zip(
            self.limits, self.limited_figures(figures), strict=True
        ):
            if not low / _LEEWAY <= float(value) <= high * _LEEWAY:
                raise ConfigError(
                    f"data sheet: {name} {float(value):.3g}, units of {low:g} to {high:g} are"
                    " known: see the unit's data sheet, or leave the statement out"
                )
        return figures[None]

    def scores(self, values: Tensor, figures: Tensor) -> Tensor:
        """Quantities ``[m, n, Q]`` in their units as numbers of order 1."""
        scales = torch.tensor([quantity.scale for quantity in self.quantities])
        return (values / self.nominal(figures)[:, None]).log() * scales

    def values(self, scores: Tensor, figures: Tensor) -> Tensor:
        """Quantities in their units of ``scores``, ``[m, n, Q]``."""
        scales = torch.tensor([quantity.scale for quantity in self.quantities])
        return self.nominal(figures)[:, None] * (scores / scales).exp()


class Summary(NamedTuple):
    """Windows in three numbers an instrument, each ``[m, n, C]``."""

    means: Tensor
    changes: Tensor
    spreads: Tensor


def summary(windows: Tensor, ranges: Tensor) -> Summary:
    """Means, changes from begin to end, and spreads about that, in parts of ranges.

    Args:
        windows: ``[m, n, C, T]``, T at least 2.
        ranges: Range of each instrument, ``[m, C]``.
    """
    x = windows / ranges[:, None, :, None]
    means, time = x.mean(dim=3), torch.linspace(-1, 1, x.shape[3])
    changes = 2 * (x * time).mean(dim=3) / time.square().mean()
    line = means[..., None] + changes[..., None] * time / 2
    return Summary(means, changes, (x - line).square().mean(dim=3).sqrt())


def log_share(values: Tensor) -> Tensor:
    """Logarithm of shares of nominal values, which ends at the least that is told."""
    return values.clamp(min=LEAST_SHARE).log()


def hours(figures: Tensor, samples: int) -> Tensor:
    """Length of windows in hours, ``[m]``; the last figure is seconds between samples."""
    return figures[:, -1] * (samples - 1) / 3600


def standardise(readings: Tensor, records: Tensor) -> Tensor:
    """Readings ``[m, n, R]`` as they stand among those of a unit's records ``[m, k, R]``."""
    spread = records.std(dim=1, correction=0, keepdim=True) + _LEAST_SPREAD
    return (readings - records.mean(dim=1, keepdim=True)) / spread
