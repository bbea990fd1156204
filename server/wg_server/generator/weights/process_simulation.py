"""Simulation of process units: their operation, and instruments with errors.

The operation of a unit varies about its nominal state, and changes at most linearly within a
window. Instruments have a constant gain and bias, a drift of the bias over the time of the records,
an error per window, and noise per sample; a random factor per unit scales the errors of all its
instruments. No data sheet declares these errors.

Not simulated: stuck or jumping instruments, dead times, nonlinear changes within a window,
controllers, reactions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wg_common.machines import exchanger, vessel
from wg_common.machines.process import (
    SMALLEST_RATIO,
    WATER_HEAT_CAPACITY,
    WINDOW_SAMPLES,
    ProcessUnit,
)
from wg_server.generator.weights.random_draws import RandomDraws


class UnitWindows(NamedTuple):
    """Windows of m units, n of each.

    Attributes:
        displayed_values: Displayed values of the C instruments, ``[m, n, C, WINDOW_SAMPLES]``.
        true_quantities: True values of the Q quantities that soft sensors estimate, in physical
            units, ``[m, n, Q]``.
    """

    displayed_values: Tensor
    true_quantities: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedUnits:
    """Batch of m simulated process units.

    Attributes:
        figures: Declared figures, ``[m, f]``.
        figure_offsets: Log ratios of true to declared values of three uncertain figures, ``[m,
            3]``.
        gain: Gain of each of the C instruments, ``[m, C]``.
        bias: Bias of each instrument relative to its range, ``[m, C]``.
        bias_drift: Change of this bias from the middle to the end of the records, ``[m, C]``.
        window_error_deviation: Standard deviation of the error per window, relative to the range,
            ``[m, C]``.
        sample_error_deviation: Standard deviation of the error per sample, relative to the range,
            ``[m, C]``.
        operation_spread: Standard deviation of the operation relative to nominal, ``[m]``.
        fouling_factor: Growth of a deposit between cleanings, relative to a typical unit, ``[m]``.
    """

    figures: Tensor
    figure_offsets: Tensor
    gain: Tensor
    bias: Tensor
    bias_drift: Tensor
    window_error_deviation: Tensor
    sample_error_deviation: Tensor
    operation_spread: Tensor
    fouling_factor: Tensor

    def __len__(self) -> int:
        return len(self.figures)


def draw_instrumented_units(draw: RandomDraws, figures: Tensor, channels: int) -> SimulatedUnits:
    """Draw what the data sheets of units leave open: instrument errors, operation and fouling.

    Args:
        draw: Source of random numbers.
        figures: Figures in the data sheets, ``[m, f]``.
        channels: Number of instruments of a unit.
    """
    count = len(figures)
    care = draw.log_uniform(0.25, 3, count, 1)  # Errors relative to typical ones
    return SimulatedUnits(
        figures=figures,
        figure_offsets=draw.normal(count, 3) * torch.tensor([0.03, 0.05, 0.01]),
        gain=1 + 0.015 * care * draw.normal(count, channels),
        bias=0.01 * care * draw.normal(count, channels),
        bias_drift=0.005 * care * draw.normal(count, channels),
        window_error_deviation=0.004 * care * draw.log_uniform(0.3, 2, count, channels),
        sample_error_deviation=0.004 * draw.log_uniform(0.3, 3, count, channels) * care.sqrt(),
        operation_spread=draw.uniform(0.05, 0.25, count),
        fouling_factor=draw.log_uniform(0.6, 1.6, count),
    )


def displayed_values(
    draw: RandomDraws,
    units: SimulatedUnits,
    true_values: Tensor,
    value_changes: Tensor,
    instrument_ranges: Tensor,
) -> Tensor:
    """Return displayed values ``[m, n, C, WINDOW_SAMPLES]`` of instruments with errors.

    Args:
        draw: Source of random numbers.
        units: The m units.
        true_values: True means in n windows, ``[m, n, C]``.
        value_changes: Changes of the true values from start to end of a window, ``[m, n, C]``.
        instrument_ranges: Range of each instrument, ``[m, C]``.
    """
    shape = true_values.shape
    times = draw.uniform(-1, 1, shape[0], shape[1], 1)
    off = (
        units.bias[:, None]
        + times * units.bias_drift[:, None]
        + units.window_error_deviation[:, None] * draw.normal(*shape)
    )
    straight = true_values[..., None] + value_changes[..., None] * torch.linspace(
        -0.5, 0.5, WINDOW_SAMPLES
    )
    errors = off[..., None] + units.sample_error_deviation[:, None, :, None] * draw.normal(
        *shape, WINDOW_SAMPLES
    )
    return units.gain[:, None, :, None] * straight + instrument_ranges[:, None, :, None] * errors


class RandomOperation:
    """Random variation of the operation of m units in ``count`` windows each."""

    def __init__(self, draw: RandomDraws, units: SimulatedUnits, count: int) -> None:
        self._draw, self._shape, self._use = (
            draw,
            (len(units), count),
            units.operation_spread[:, None],
        )

    def draw_values_about(self, centre: float | Tensor, spread: float, low: float = -1e9) -> Tensor:
        """Draw normal values about ``centre``, ``[m, count]``, bounded below by ``low``.

        The standard deviation is ``spread`` times the unit's ``operation_spread``.
        """
        moves = spread * self._use * self._draw.normal(*self._shape)
        return (centre + moves).clamp(min=low)


class ProcessSimulator(Protocol):
    """Simulator of one kind of unit and its windows; all randomness comes from one seed."""

    unit: ProcessUnit

    def draw_units(self, count: int) -> SimulatedUnits:
        """Draw ``count`` new units."""
        ...

    def simulate_windows(self, units: SimulatedUnits, count: int) -> UnitWindows:
        """Draw ``count`` windows of each unit, each at a random time and operation."""
        ...


class VesselSimulator:
    """Simulator of stirred vessels with cooling jackets; implements ``ProcessSimulator``."""

    unit = vessel.PROCESS_UNIT

    def __init__(self, seed: int) -> None:
        self._draw = RandomDraws(seed)

    def draw_units(self, count: int) -> SimulatedUnits:
        """Draw ``count`` vessels with residence times of 0.3 to 3 hours."""
        draw = self._draw
        inflow, residence = draw.log_uniform(1, 100, count), draw.log_uniform(0.3, 3, count)
        heat_capacity = draw.log_uniform(1700, 4300, count)
        feed = inflow * heat_capacity / 3600  # kW/K
        columns = [inflow, inflow * residence, draw.log_uniform(0.8, 4, count)]
        columns += [draw.uniform(40, 80, count), feed * draw.log_uniform(0.4, 2, count)]
        columns += [
            feed * draw.log_uniform(0.6, 2, count) * 3600 / WATER_HEAT_CAPACITY,
            heat_capacity,
        ]
        seconds = 3600 * residence * draw.log_uniform(0.05, 0.5, count) / (WINDOW_SAMPLES - 1)
        return draw_instrumented_units(
            draw, torch.stack([*columns, seconds], dim=1), len(self.unit.channels)
        )

    def simulate_windows(self, units: SimulatedUnits, count: int) -> UnitWindows:
        """Draw ``count`` windows of each vessel, at random times and operating states."""
        draw, operation = self._draw, RandomOperation(self._draw, units, count)
        figures, draw_about = units.figures, operation.draw_values_about
        inflow = draw_about(1, 1, 0.4).clamp(max=1.7)
        level = draw_about(1, 0.6, 0.4).clamp(max=1.5)
        accumulation, warming = draw_about(0, 0.6), draw_about(0, 12)  # Relative to the flow; in K
        hot, inlet = draw_about(figures[:, 3, None], 25), draw_about(vessel.COOLANT_TEMPERATURE, 10)
        coolant = draw_about(1, 1.2, 0.4)
        outflow = (inflow - accumulation).clamp(min=0.2)
        fouling = 0.15 * draw.normal(*inflow.shape).abs()
        conductance = figures[:, 4, None] * torch.exp(units.figure_offsets[:, 1, None] - fouling)
        feed, water = (flow[:, None] for flow in vessel.heat_capacity_flows(figures))
        exchange = 1 / (1 / conductance + 1 / (2 * water * coolant))
        available = feed * (inflow * hot - warming)
        inside = (available + exchange * inlet) / (feed * inflow + exchange)
        duty = exchange * (inside - inlet)
        valve = torch.exp(units.figure_offsets[:, 0, None])
        opening = 50 * outflow / (level.sqrt() * valve)
        nominal_flow, nominal_level = figures[:, 0, None], figures[:, 2, None]
        columns = [inflow * nominal_flow, outflow * nominal_flow, level * nominal_level, opening]
        columns += [hot, inside, coolant * figures[:, 5, None], inlet]
        true = torch.stack([*columns, inlet + duty / (water * coolant)], dim=2)
        changes = torch.zeros_like(true)
        length = (figures[:, -1] * (WINDOW_SAMPLES - 1) / 3600)[:, None]
        # The true area differs slightly from the declared one.
        share = (
            length
            * nominal_flow
            / figures[:, 1, None]
            / torch.exp(units.figure_offsets[:, 2, None])
        )
        changes[..., 2] = accumulation * share * nominal_level
        changes[..., 5] = warming * share / level
        least = (
            SMALLEST_RATIO * vessel.nominal_quantities(figures)[:, :1]
        )  # Floor for a nearly idle vessel
        truths = torch.stack([duty.clamp(min=least), inflow * nominal_flow], dim=2)
        return UnitWindows(
            displayed_values(draw, units, true, changes, vessel.instrument_ranges(figures)), truths
        )


class ExchangerSimulator:
    """Simulator of counterflow heat exchangers; implements ``ProcessSimulator``."""

    unit = exchanger.PROCESS_UNIT

    def __init__(self, seed: int) -> None:
        self._draw = RandomDraws(seed)

    def draw_units(self, count: int) -> SimulatedUnits:
        """Draw ``count`` exchangers with 0.6 to 2.5 transfer units (NTU)."""
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
        return draw_instrumented_units(draw, torch.stack(columns, dim=1), len(self.unit.channels))

    def simulate_windows(self, units: SimulatedUnits, count: int) -> UnitWindows:
        """Draw ``count`` windows of each exchanger, at random times and operating states."""
        draw, operation = self._draw, RandomOperation(self._draw, units, count)
        figures, draw_about = units.figures, operation.draw_values_about
        hot_flow, cold_flow = (draw_about(1, 1, 0.4).clamp(max=1.7) for _ in range(2))
        hot_in, cold_in = draw_about(figures[:, 4, None], 25), draw_about(figures[:, 5, None], 15)
        hot_in = torch.maximum(hot_in, cold_in + 20)
        # Fouling grows between cleanings; the windows cover all its stages.
        fouling = 0.4 * draw.uniform(0, 1, *hot_flow.shape) * units.fouling_factor[:, None]
        share = torch.sigmoid(
            10 * units.figure_offsets[:, :1]
        )  # Share of the hot film in the resistance
        power = -exchanger.FILM_POWER
        films = share * hot_flow**power + (1 - share) * cold_flow**power
        conductance = (
            figures[:, 6, None] * torch.exp(units.figure_offsets[:, 1, None] - fouling) / films
        )
        hot, cold = (flow[:, None] for flow in exchanger.heat_capacity_flows(figures))
        duty = exchanger.heat_duty(
            conductance, (hot * hot_flow, cold * cold_flow), hot_in - cold_in
        )
        drop = hot_flow**exchanger.DROP_POWER * torch.exp(3 * units.figure_offsets[:, 2, None])
        columns = [hot_flow * figures[:, 0, None], hot_in, hot_in - duty / (hot * hot_flow)]
        columns += [cold_flow * figures[:, 1, None], cold_in, cold_in + duty / (cold * cold_flow)]
        true = torch.stack([*columns, drop * figures[:, 7, None]], dim=2)
        values = displayed_values(
            draw, units, true, torch.zeros_like(true), exchanger.instrument_ranges(figures)
        )
        return UnitWindows(values, torch.stack([duty, conductance], dim=2))


PROCESS_SIMULATORS: Mapping[str, Callable[[int], ProcessSimulator]] = {
    simulator.unit.name: simulator for simulator in (VesselSimulator, ExchangerSimulator)
}
"""Simulators by the name of the kind of process unit; each is called with a seed."""
