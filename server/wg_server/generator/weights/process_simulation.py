"""Simulated process units: operation, instruments with errors, and faults.

A unit moves about its nominal operation, and each window is one quiet stretch of it. All of a
unit's instruments have errors of one make and care: a gain and a bias for good, a drift over the
time of the records, an error of the hour, and noise of the sample. No sheet states them.

Not simulated: instruments that stick or jump, dead times, changes within a window that are not
straight, controllers, reactions.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wg_common.machines import exchanger, vessel
from wg_common.machines.process import LEAST_SHARE, WATER, ProcessUnit
from wg_server.generator.weights.drawing import Drawing

SAMPLES = 24
"""Samples of a window."""
_DAMAGES = 3  # Conditions that are not sound


class Windows(NamedTuple):
    """Windows of m units, n of each.

    Attributes:
        values: Values that instruments show, ``[m, n, C, SAMPLES]``.
        truths: True quantities in their units, ``[m, n, Q]``.
    """

    values: Tensor
    truths: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Some simulated units, m of them.

    Attributes:
        figures: Stated figures, ``[m, f]``.
        offsets: Logarithms of true figures over stated ones, of those that may be off, ``[m, 3]``.
        hidden: Numbers of order 1 that the sheet leaves open, ``[m, h]``.
        gain: Factor of each instrument, ``[m, C]``.
        bias: Error of each in parts of its range, ``[m, C]``.
        drift: Change of that over the time of the records, ``[m, C]``.
        wander: Spread of its error from window to window, ``[m, C]``.
        noise: Spread of its error from sample to sample, ``[m, C]``.
        use: By how much operation moves, ``[m]``.
        severity: Size of each damage, ``[m, 3]``.
        tolerance: Care of the instruments: errors in multiples of usual ones, ``[m]``.
    """

    figures: Tensor
    offsets: Tensor
    hidden: Tensor
    gain: Tensor
    bias: Tensor
    drift: Tensor
    wander: Tensor
    noise: Tensor
    use: Tensor
    severity: Tensor
    tolerance: Tensor

    def __len__(self) -> int:
        return len(self.figures)


class ProcessWorkshop(Protocol):
    """Draws units of one kind, and windows; all that is random comes from one seed.

    Attributes:
        unit: The kind of the units.
        hidden_size: Number h of hidden figures of a unit.
    """

    unit: ProcessUnit
    hidden_size: int

    def units(self, count: int) -> Units:
        """Draw new units."""
        ...

    def windows(self, units: Units, conditions: Tensor) -> Windows:
        """Draw a window of each of n conditions ``[n]``, at random times, of drawn units."""
        ...


def _units(draw: Drawing, figures: Tensor, unit: ProcessUnit) -> Units:
    """Units of stated figures, with instruments of one care each."""
    count, channels = len(figures), len(unit.channels)
    tolerance = draw.log_uniform(0.25, 3, count)
    care = tolerance[:, None]
    offsets = draw.normal(count, 3) * torch.tensor([0.03, 0.05, 0.01])
    gain = 0.015 * care * draw.normal(count, channels)
    bias = 0.01 * care * draw.normal(count, channels)
    drift = 0.005 * care * draw.normal(count, channels)
    noise = 0.004 * draw.log_uniform(0.3, 3, count, channels) * care.sqrt()
    wander = 0.004 * care * draw.log_uniform(0.3, 2, count, channels)
    use, severity = draw.uniform(0.05, 0.25, count), draw.log_uniform(0.6, 1.6, count, _DAMAGES)
    numbers = [20 * offsets, 40 * gain, 60 * bias, noise.log() + 5, wander.log() + 5]
    numbers += [2 * severity.log(), care.log(), 10 * use[:, None] - 1.5]
    return Units(
        figures=figures,
        offsets=offsets,
        hidden=torch.cat(numbers, dim=1),
        gain=1 + gain,
        bias=bias,
        drift=drift,
        wander=wander,
        noise=noise,
        use=use,
        severity=severity,
        tolerance=tolerance,
    )


def _instrument_values(
    draw: Drawing, units: Units, true: Tensor, changes: Tensor, ranges: Tensor
) -> Tensor:
    """Instruments' values of true ones and their changes in a window, both ``[m, n, C]``."""
    shape = true.shape
    times = draw.uniform(-1, 1, shape[0], shape[1], 1)
    off = (
        units.bias[:, None]
        + times * units.drift[:, None]
        + units.wander[:, None] * draw.normal(*shape)
    )
    straight = true[..., None] + changes[..., None] * torch.linspace(-0.5, 0.5, SAMPLES)
    errors = off[..., None] + units.noise[:, None, :, None] * draw.normal(*shape, SAMPLES)
    return units.gain[:, None, :, None] * straight + ranges[:, None, :, None] * errors


def _hidden_size(unit: ProcessUnit) -> int:
    return 3 + 4 * len(unit.channels) + _DAMAGES + 2


class _Operation:
    """Draws operation of units in n windows, and how bad their damages are there."""

    def __init__(self, draw: Drawing, units: Units, conditions: Tensor) -> None:
        self._draw, self._shape = draw, (len(units), len(conditions))
        self._use, self._conditions = units.use[:, None], conditions
        self._severity = units.severity[:, None] * (0.35 * draw.normal(*self._shape, 1)).exp()

    def about(self, centre: float | Tensor, spread: float, low: float = -1e9) -> Tensor:
        """Values about a centre, ``[m, n]``, at least so large."""
        moves = spread * self._use * self._draw.normal(*self._shape)
        return (centre + moves).clamp(min=low)

    def damage_size(self, condition: int, size: float) -> Tensor:
        """Size of a damage, 0 in windows of other conditions, ``[m, n]``."""
        severity = size * self._severity[..., condition - 1]
        return severity * (self._conditions == condition)


class Vessels:
    """Stirred vessels with cooling jackets: a ``ProcessWorkshop``."""

    unit = vessel.UNIT
    hidden_size = _hidden_size(vessel.UNIT)

    def __init__(self, seed: int) -> None:
        self._draw = Drawing(seed)

    def units(self, count: int) -> Units:
        """Draw vessels with residence times of .3 to 3 hours."""
        draw = self._draw
        inflow, residence = draw.log_uniform(1, 100, count), draw.log_uniform(0.3, 3, count)
        heat_capacity = draw.log_uniform(1700, 4300, count)
        feed = inflow * heat_capacity / 3600  # kW/K
        columns = [inflow, inflow * residence, draw.log_uniform(0.8, 4, count)]
        columns += [draw.uniform(40, 80, count), feed * draw.log_uniform(0.4, 2, count)]
        columns += [feed * draw.log_uniform(0.6, 2, count) * 3600 / WATER, heat_capacity]
        seconds = 3600 * residence * draw.log_uniform(0.05, 0.5, count) / (SAMPLES - 1)
        return _units(draw, torch.stack([*columns, seconds], dim=1), self.unit)

    def windows(self, units: Units, conditions: Tensor) -> Windows:
        """See ``ProcessWorkshop``."""
        draw, operation = self._draw, _Operation(self._draw, units, conditions)
        figures, about = units.figures, operation.about
        inflow = about(1, 1, 0.4).clamp(max=1.7)
        level = about(1, 0.6, 0.4).clamp(max=1.5)
        accumulation, warming = about(0, 0.6), about(0, 12)  # Share of the flow; K of it
        hot, inlet = about(figures[:, 3, None], 25), about(vessel.COOLANT, 10)
        coolant = about(1, 1.2, 0.4)
        outflow = (inflow - operation.damage_size(1, 0.05) - accumulation).clamp(min=0.2)
        fouling = 0.15 * draw.normal(*inflow.shape).abs() + operation.damage_size(2, 0.22)
        conductance = figures[:, 4, None] * torch.exp(units.offsets[:, 1, None] - fouling)
        feed, water = (flow[:, None] for flow in vessel.capacity_flows(figures))
        exchange = 1 / (1 / conductance + 1 / (2 * water * coolant))
        available = feed * (inflow * hot - warming)
        inside = (available + exchange * inlet) / (feed * inflow + exchange)
        duty = exchange * (inside - inlet)
        valve = torch.exp(units.offsets[:, 0, None] - operation.damage_size(3, 0.10))
        opening = 50 * outflow / (level.sqrt() * valve)
        nominal_flow, nominal_level = figures[:, 0, None], figures[:, 2, None]
        true = torch.stack(
            [
                inflow * nominal_flow,
                outflow * nominal_flow,
                level * nominal_level,
                opening,
                hot,
                inside,
                coolant * figures[:, 5, None],
                inlet,
                inlet + duty / (water * coolant),
            ],
            dim=2,
        )
        changes = torch.zeros_like(true)
        length = (figures[:, -1] * (SAMPLES - 1) / 3600)[:, None]
        # The true area is a little beside the stated one.
        share = length * nominal_flow / figures[:, 1, None] / torch.exp(units.offsets[:, 2, None])
        changes[..., 2] = accumulation * share * nominal_level
        changes[..., 5] = warming * share / level
        least = LEAST_SHARE * vessel.nominal(figures)[:, :1]  # A vessel that is all but idle
        truths = torch.stack([duty.clamp(min=least), inflow * nominal_flow], dim=2)
        return Windows(
            _instrument_values(draw, units, true, changes, vessel.ranges(figures)), truths
        )


class Exchangers:
    """Heat exchangers in counterflow: a ``ProcessWorkshop``."""

    unit = exchanger.UNIT
    hidden_size = _hidden_size(exchanger.UNIT)

    def __init__(self, seed: int) -> None:
        self._draw = Drawing(seed)

    def units(self, count: int) -> Units:
        """Draw exchangers of .6 to 2.5 transfer units."""
        draw = self._draw
        hot_flow = draw.log_uniform(1, 100, count)
        hot_capacity = draw.log_uniform(1700, 4300, count)
        cold_capacity = draw.log_uniform(3500, 4300, count)
        hot = hot_flow * hot_capacity / 3600
        cold = hot * draw.log_uniform(0.5, 2, count)
        columns = [hot_flow, cold * 3600 / cold_capacity, hot_capacity, cold_capacity]
        columns += [draw.uniform(65, 120, count), draw.uniform(10, 30, count)]
        columns += [torch.minimum(hot, cold) * draw.log_uniform(0.6, 2.5, count)]
        columns += [draw.log_uniform(10, 100, count), draw.log_uniform(1, 300, count)]
        return _units(draw, torch.stack(columns, dim=1), self.unit)

    def windows(self, units: Units, conditions: Tensor) -> Windows:
        """See ``ProcessWorkshop``."""
        draw, operation = self._draw, _Operation(self._draw, units, conditions)
        figures, about = units.figures, operation.about
        hot_flow, cold_flow = (about(1, 1, 0.4).clamp(max=1.7) for _ in range(2))
        hot_in, cold_in = about(figures[:, 4, None], 25), about(figures[:, 5, None], 15)
        hot_in = torch.maximum(hot_in, cold_in + 20)
        # Fouling grows between cleanings; windows are of all its stages.
        fouling = 0.4 * draw.uniform(0, 1, *hot_flow.shape) * units.severity[:, :1]
        fouling = fouling + operation.damage_size(1, 0.3)
        passing = hot_flow * (1 - operation.damage_size(2, 0.12).clamp(max=0.5))
        share = torch.sigmoid(10 * units.offsets[:, :1])  # Of the hot film in the resistance
        power = -exchanger.FILM_POWER
        films = share * passing**power + (1 - share) * cold_flow**power
        conductance = figures[:, 6, None] * torch.exp(units.offsets[:, 1, None] - fouling) / films
        hot, cold = (flow[:, None] for flow in exchanger.capacity_flows(figures))
        duty = exchanger.duty(conductance, (hot * passing, cold * cold_flow), hot_in - cold_in)
        plugging = operation.damage_size(3, 0.25)
        drop = passing**exchanger.DROP_POWER * torch.exp(3 * units.offsets[:, 2, None] + plugging)
        true = torch.stack(
            [
                hot_flow * figures[:, 0, None],
                hot_in,
                hot_in - duty / (hot * hot_flow),
                cold_flow * figures[:, 1, None],
                cold_in,
                cold_in + duty / (cold * cold_flow),
                drop * figures[:, 7, None],
            ],
            dim=2,
        )
        values = _instrument_values(
            draw, units, true, torch.zeros_like(true), exchanger.ranges(figures)
        )
        return Windows(values, torch.stack([duty, conductance], dim=2))


PROCESS_SIMULATORS = {shop.unit.name: shop for shop in (Vessels, Exchangers)}
"""Workshops by the name of their unit, each built from a seed."""
