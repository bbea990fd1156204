"""Units of a process plant: readings of their instruments, and balances from the data sheet.

A window of a unit has one row per instrument, in engineering units, in the order that the kind of
unit declares. *Plain readings* are means, changes and spreads relative to the instruments' ranges.
*Balance readings* are estimates of a quantity from several balances, and their differences.
Instruments have undeclared errors, so the balances do not close; the average residual over many
windows shows which instrument is wrong, as in data reconciliation (Crowe, *Data reconciliation:
progress and challenges*, Journal of Process Control 6, 1996).

A quantity is positive, and estimated as the logarithm of its ratio to its nominal value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

WINDOW_SAMPLES = 24
"""Number of samples in a window."""
WATER_HEAT_CAPACITY = 4180.0
"""Heat capacity of water by volume, kJ/(m3 K)."""
LARGEST_READING = 8.0
"""Magnitude to which a balance reading is clamped."""
INSTRUMENT_HEADROOM = 1.8
"""Ratio of the upper end of an instrument's range to its nominal value, but for thermometers."""
SMALLEST_RATIO = 0.05
"""Smallest ratio to the nominal value at which a flow, a duty or a level is resolved."""
_LEAST_SPREAD = 0.1  # Term added to a reading's spread before division
_RANGE_FACTOR = 1.1  # Factor by which figures may lie outside the simulated range


class Channel(NamedTuple):
    """Instrument of a process unit: its name and the unit of its values."""

    name: str
    measurement_unit: str


class Quantity(NamedTuple):
    """Positive quantity of a process unit that a soft sensor estimates.

    Attributes:
        name: Name for display.
        measurement_unit: Unit of its values.
        log_ratio_factor: Factor that brings the logarithm of its ratio to the nominal value to
            order 1.
    """

    name: str
    measurement_unit: str
    log_ratio_factor: float


class LogScale(NamedTuple):
    """Conversion between values of quantities and scores: scaled log ratios to nominal values.

    Attributes:
        nominal: Nominal values.
        factor: ``Quantity.log_ratio_factor`` of each quantity.
    """

    nominal: Tensor
    factor: Tensor

    def score(self, values: Tensor) -> Tensor:
        """Convert positive values of quantities to scores of the same shape."""
        return (values / self.nominal).log() * self.factor

    def value(self, scores: Tensor) -> Tensor:
        """Convert scores to values of quantities, of the same shape."""
        return self.nominal * (scores / self.factor).exp()


class FigureLimit(NamedTuple):
    """Smallest and largest value of a figure over the units that the server simulates."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUnit:
    """Kind of process unit, whose data sheet declares f figures.

    Attributes:
        name: Field of the data sheet that declares such a unit.
        figure_names: Fields of the declaration, in the order of the figures.
        figure_limits: Ranges, over the simulated units, of declared or derived figures, all
            positive.
        limited_figures: Function from declared figures ``[f]`` to those that ``figure_limits``
            bounds.
        channels: The C instruments, in the order of a window's rows.
        quantities: The Q quantities that a soft sensor may estimate.
        figure_feature_count: Length c of the vectors from ``figure_features``.
        reading_count: Number R of readings: the plain ones, then the balance readings.
        figure_features: Function from figures ``[m, f]`` to scaled features of order 1, ``[m, c]``.
        nominal_quantities: Function from figures to nominal values of the quantities, ``[m, Q]``.
        unit_readings: Function from windows ``[m, n, C, T]`` and figures to readings ``[m, n, R]``.
    """

    name: str
    figure_names: tuple[str, ...]
    figure_limits: tuple[FigureLimit, ...]
    limited_figures: Callable[[Tensor], tuple[Tensor, ...]]
    channels: tuple[Channel, ...]
    quantities: tuple[Quantity, ...]
    figure_feature_count: int
    reading_count: int
    figure_features: Callable[[Tensor], Tensor]
    nominal_quantities: Callable[[Tensor], Tensor]
    unit_readings: Callable[[Tensor, Tensor], Tensor]

    def read_figures(self, sheet: DataSheet) -> Tensor:
        """Read a process unit's figures ``[1, f]`` from a data sheet.

        Raises:
            ConfigError: The unit lies outside the simulated ranges.
        """
        stated_figures = [float(getattr(sheet.machine, name)) for name in self.figure_names]
        figures = torch.tensor(stated_figures)
        for (name, low, high), value in zip(
            self.figure_limits, self.limited_figures(figures), strict=True
        ):
            if not low / _RANGE_FACTOR <= float(value) <= high * _RANGE_FACTOR:
                raise ConfigError(
                    f"data sheet: {name} {float(value):.3g}, units of {low:g} to {high:g} are"
                    " known: see the unit's data sheet, or leave the statement out"
                )
        return figures[None]

    def quantity_scale(self, figures: Tensor) -> LogScale:
        """Return the scale of m units' quantities, for values and scores ``[m, n, Q]``."""
        factors = torch.tensor([quantity.log_ratio_factor for quantity in self.quantities])
        return LogScale(self.nominal_quantities(figures)[:, None], factors)


class WindowSummary(NamedTuple):
    """Means, linear changes and residual spreads of windows, by instrument, each ``[m, n, C]``."""

    means: Tensor
    changes: Tensor
    spreads: Tensor


def summarise_windows(windows: Tensor, ranges: Tensor) -> WindowSummary:
    """Summarise each instrument's window by mean, linear change and residual spread.

    Args:
        windows: Windows ``[m, n, C, T]`` of m units, T at least 2.
        ranges: Range of each instrument, ``[m, C]``, by which its values are divided first.
    """
    x = windows / ranges[:, None, :, None]
    means, time = x.mean(dim=3), torch.linspace(-1, 1, x.shape[3])
    changes = 2 * (x * time).mean(dim=3) / time.square().mean()
    line = means[..., None] + changes[..., None] * time / 2
    return WindowSummary(means, changes, (x - line).square().mean(dim=3).sqrt())


def log_ratio(ratios: Tensor) -> Tensor:
    """Return the logarithm of each ratio; ratios below ``SMALLEST_RATIO`` count as this value."""
    return ratios.clamp(min=SMALLEST_RATIO).log()


def window_hours(figures: Tensor, sample_count: int) -> Tensor:
    """Return the length of windows in hours, ``[m]``, from their units' figures."""
    return figures[:, -1] * (sample_count - 1) / 3600


def standardise_readings(readings: Tensor, record_readings: Tensor) -> Tensor:
    """Standardise readings ``[m, n, R]`` of m units by mean and spread of k records of each.

    ``record_readings`` are the readings of these records, ``[m, k, R]``.
    """
    spread = record_readings.std(dim=1, correction=0, keepdim=True) + _LEAST_SPREAD
    return (readings - record_readings.mean(dim=1, keepdim=True)) / spread
