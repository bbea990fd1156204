"""Counterflow heat exchanger: its figures, and its balances of heat and pressure.

``C`` are heat capacity flows, ``T`` and ``t`` temperatures of hot and cold fluid, and ``D`` is the
logarithmic mean of the temperature differences at both ends (Kays and London, *Compact Heat
Exchangers*, McGraw-Hill, 1984, chapter 2)::

    duty = C_hot (T_in - T_out) = C_cold (t_out - t_in) = U A D

``U A`` falls as the exchanger fouls, and each film's conductance grows as its flow to the power
0.8. The hot side's pressure drop grows as its flow to the power 1.8, and serves as a second, less
accurate flow meter. The mean is Chen's approximation, which has no singularity (*Comments on
improvements on a replacement for the logarithmic mean*, Chemical Engineering Science 42, 1987).
"""

from dataclasses import fields

import torch
from torch import Tensor

from wg_common.machines.process import (
    INSTRUMENT_HEADROOM,
    LARGEST_READING,
    Channel,
    FigureLimit,
    ProcessUnit,
    Quantity,
    log_ratio,
    summarise_windows,
)
from wg_core.wire.data_sheet import HeatExchanger

FIGURE_NAMES = tuple(field.name for field in fields(HeatExchanger))
"""Declared figures in order: nominal values of a clean unit, and seconds between samples."""
CHANNELS = (
    Channel("hot flow", "m3/h"),
    Channel("hot inlet temperature", "°C"),
    Channel("hot outlet temperature", "°C"),
    Channel("cold flow", "m3/h"),
    Channel("cold inlet temperature", "°C"),
    Channel("cold outlet temperature", "°C"),
    Channel("hot pressure drop", "kPa"),
)
FILM_POWER, DROP_POWER = 0.8, 1.8
_PRESSURE_DROP_HEADROOM = 3.0
_HOT_RANGE, _COLD_RANGE = 150.0, 120.0


def heat_capacity_flows(figures: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nominal heat capacity flows of hot and cold fluid, kW/K, ``[m]`` each."""
    return figures[:, 0] * figures[:, 2] / 3600, figures[:, 1] * figures[:, 3] / 3600


def effectiveness(transfer_units: Tensor, capacity_ratio: Tensor) -> Tensor:
    """Return the ratio of a counterflow exchanger's duty to its largest possible duty.

    Reference: Kays and London, equation 2-13.

    Args:
        transfer_units: Number of transfer units: conductance over the smaller capacity flow.
        capacity_ratio: Ratio of the smaller to the larger capacity flow, at most 1.
    """
    even = (1 - capacity_ratio).abs() < 1e-3
    fall = torch.exp(-transfer_units * (1 - capacity_ratio.where(~even, 0.5)))
    share = (1 - fall) / (1 - capacity_ratio.where(~even, 0.5) * fall)
    return torch.where(even, transfer_units / (1 + transfer_units), share)


def heat_duty(
    conductance: Tensor, capacity_flows: tuple[Tensor, Tensor], inlet_difference: Tensor
) -> Tensor:
    """Return the duty, in kW, of a counterflow heat exchanger.

    Args:
        conductance: Conductance in kW/K.
        capacity_flows: Heat capacity flows of both fluids in kW/K.
        inlet_difference: Temperature difference of the inlets in K.
    """
    low, high = torch.minimum(*capacity_flows), torch.maximum(*capacity_flows)
    return effectiveness(conductance / low, low / high) * low * inlet_difference


def nominal_quantities(figures: Tensor) -> Tensor:
    """Return a heat exchanger's nominal duty in kW and conductance in kW/K, ``[m, 2]``."""
    span = figures[:, 4] - figures[:, 5]
    return torch.stack(
        [heat_duty(figures[:, 6], heat_capacity_flows(figures), span), figures[:, 6]], dim=1
    )


def instrument_ranges(figures: Tensor) -> Tensor:
    """Return the upper ends ``[m, 7]`` of the ranges of heat exchangers' instruments."""
    hot, cold = (INSTRUMENT_HEADROOM * figures[:, place] for place in (0, 1))
    hot_range, cold_range = torch.full_like(hot, _HOT_RANGE), torch.full_like(hot, _COLD_RANGE)
    drop = _PRESSURE_DROP_HEADROOM * figures[:, 7]
    columns = [hot, hot_range, hot_range, cold, cold_range, cold_range, drop]
    return torch.stack(columns, dim=1)


def figure_features(figures: Tensor) -> Tensor:
    """Return scaled features ``[m, 9]`` of a heat exchanger's declared figures."""
    hot, cold = heat_capacity_flows(figures)
    least = torch.minimum(hot, cold)
    numbers = [figures[:, 0].log() - 2.3, 2 * (cold / hot).log()]
    numbers += [3 * (figures[:, 2] / 3000).log(), 3 * (figures[:, 3] / 4000).log()]
    numbers += [(figures[:, 4] - 90) / 17, (figures[:, 5] - 20) / 6]
    numbers += [2 * (figures[:, 6] / least).log() - 0.4, figures[:, 7].log() - 3.5]
    numbers.append(figures[:, 8].log() - 3)
    return torch.stack(numbers, dim=1)


def unit_readings(windows: Tensor, figures: Tensor) -> Tensor:
    """Return the readings ``[m, n, R]`` of windows ``[m, n, C, T]`` of m heat exchangers.

    First come plain readings (each instrument's mean, change and spread), then balance readings
    (quantities from several balances, and their differences); see ``machines.process``.
    """
    means, changes, spreads = summarise_windows(windows, instrument_ranges(figures))
    hot, hot_in, hot_out, cold, cold_in, cold_out, drop = means.unbind(dim=2)
    by_hot, by_cold = (log_ratio(INSTRUMENT_HEADROOM * flow) for flow in (hot, cold))
    by_drop = log_ratio(_PRESSURE_DROP_HEADROOM * drop) / DROP_POWER
    hot_in, hot_out, cold_in, cold_out = (
        hot_in * _HOT_RANGE,
        hot_out * _HOT_RANGE,
        cold_in * _COLD_RANGE,
        cold_out * _COLD_RANGE,
    )
    warm_end, cold_end = (hot_in - cold_out).clamp(min=0.5), (hot_out - cold_in).clamp(min=0.5)
    chen = (warm_end * cold_end * (warm_end + cold_end) / 2) ** (1 / 3)
    differences = [hot_in - hot_out, cold_out - cold_in, warm_end, cold_end]
    plain = [4 * (means - 0.5), 20 * changes, (spreads + 1e-3).log() + 5]
    plain.append(torch.stack([by_hot, by_cold, by_drop, *(x / 15 - 1 for x in differences)], 2))

    heat, conductance = nominal_quantities(figures)[:, :, None].unbind(dim=1)
    hot_capacity, cold_capacity = (flow[:, None] for flow in heat_capacity_flows(figures))
    from_hot = log_ratio(hot_capacity * INSTRUMENT_HEADROOM * hot * (hot_in - hot_out) / heat)
    from_cold = log_ratio(cold_capacity * INSTRUMENT_HEADROOM * cold * (cold_out - cold_in) / heat)
    film = log_ratio(chen * conductance / heat)
    balances = [5 * from_hot, 5 * from_cold, 5 * (from_hot - film), 5 * (from_cold - film)]
    balances += [8 * (from_hot - from_cold), 8 * (by_hot - by_drop)]
    by_balance = torch.stack(balances, dim=2).clamp(-LARGEST_READING, LARGEST_READING)
    return torch.cat([*plain, by_balance], dim=2)


_FIGURE_LIMITS = (
    FigureLimit("hot flow, m3/h", 1, 100),
    FigureLimit("heat capacity of the hot fluid, kJ/(m3 K)", 1700, 4300),
    FigureLimit("heat capacity of the cold fluid, kJ/(m3 K)", 3500, 4300),
    FigureLimit("cold over hot heat capacity flow", 0.5, 2),
    FigureLimit("hot inlet, °C", 65, 120),
    FigureLimit("cold inlet, °C", 10, 30),
    FigureLimit("conductance over the lesser heat capacity flow", 0.6, 2.5),
    FigureLimit("hot pressure drop, kPa", 10, 100),
    FigureLimit("seconds from sample to sample", 1, 300),
)


def _limited_figures(figures: Tensor) -> tuple[Tensor, ...]:
    hot, cold = (flow[0] for flow in heat_capacity_flows(figures[None]))
    transfer = figures[6] / torch.minimum(hot, cold)
    return (figures[0], figures[2], figures[3], cold / hot, *figures[4:6], transfer, *figures[7:])


PROCESS_UNIT = ProcessUnit(
    name="heat_exchanger",
    figure_names=FIGURE_NAMES,
    figure_limits=_FIGURE_LIMITS,
    limited_figures=_limited_figures,
    channels=CHANNELS,
    quantities=(Quantity("heat duty", "kW", 5.0), Quantity("conductance", "kW/K", 5.0)),
    figure_feature_count=len(FIGURE_NAMES),
    reading_count=34,
    figure_features=figure_features,
    nominal_quantities=nominal_quantities,
    unit_readings=unit_readings,
)
