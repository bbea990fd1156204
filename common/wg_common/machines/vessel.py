"""Stirred vessel with a cooling jacket: its figures, and its balances of mass and heat.

Its contents are well mixed, so the outflow has their temperature. ``C`` are heat capacity flows,
``V`` is the volume, ``F`` are flows; the coolant is water (Luyben, *Process Modeling, Simulation
and Control for Chemical Engineers*, McGraw-Hill, 1990, section 3.6)::

    dV/dt = F_in - F_out
    duty  = C_in (T_in - T) - c V dT/dt = C_jacket (t_out - t_in) = U A (T - (t_in + t_out) / 2)

The flow through the outlet valve is its opening times the square root of the level above it.
"""

from dataclasses import fields

import torch
from torch import Tensor

from wg_common.machines.process import (
    INSTRUMENT_HEADROOM,
    LARGEST_READING,
    WATER_HEAT_CAPACITY,
    WINDOW_SAMPLES,
    Channel,
    FigureLimit,
    ProcessUnit,
    Quantity,
    log_ratio,
    summarise_windows,
    window_hours,
)
from wg_core.wire.data_sheet import StirredVessel

FIGURE_NAMES = tuple(field.name for field in fields(StirredVessel))
"""Declared figures in order: nominal values, and seconds between samples."""
CHANNELS = (
    Channel("inflow", "m3/h"),
    Channel("outflow", "m3/h"),
    Channel("level", "m"),
    Channel("valve opening", "%"),
    Channel("feed temperature", "°C"),
    Channel("temperature of the contents", "°C"),
    Channel("coolant flow", "m3/h"),
    Channel("coolant inlet temperature", "°C"),
    Channel("coolant outlet temperature", "°C"),
)
COOLANT_TEMPERATURE = 18.0
"""Temperature of the coolant at nominal operation, °C."""
_INSTRUMENT_RANGES = (
    120.0,
    120.0,
    60.0,
    100.0,
)  # Ranges of thermometers: feed, contents, coolant in and out


def heat_capacity_flows(figures: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nominal heat capacity flows of feed and coolant, kW/K, ``[m]`` each."""
    return figures[:, 0] * figures[:, 6] / 3600, figures[:, 5] * WATER_HEAT_CAPACITY / 3600


def nominal_quantities(figures: Tensor) -> Tensor:
    """Return a stirred vessel's nominal duty in kW and inflow in m3/h, ``[m, 2]``."""
    feed, coolant = heat_capacity_flows(figures)
    exchange = 1 / (1 / figures[:, 4] + 1 / (2 * coolant))
    duty = (figures[:, 3] - COOLANT_TEMPERATURE) / (1 / feed + 1 / exchange)
    return torch.stack([duty, figures[:, 0]], dim=1)


def instrument_ranges(figures: Tensor) -> Tensor:
    """Return the upper ends ``[m, 9]`` of the ranges of stirred vessels' instruments."""
    inflow, level, coolant = (INSTRUMENT_HEADROOM * figures[:, place] for place in (0, 2, 5))
    percent, *thermometers = (
        torch.full_like(inflow, value) for value in (100.0, *_INSTRUMENT_RANGES)
    )
    columns = [inflow, inflow, level, percent, *thermometers[:2], coolant, *thermometers[2:]]
    return torch.stack(columns, dim=1)


def figure_features(figures: Tensor) -> Tensor:
    """Return scaled features ``[m, 8]`` of a stirred vessel's declared figures."""
    inflow, volume, level, hot, conductance, _, heat_capacity, seconds = figures.unbind(dim=1)
    feed, coolant = heat_capacity_flows(figures)
    residence = volume / inflow  # Hours
    numbers = [inflow.log() - 2.3, residence.log(), level.log() - 0.6, (hot - 60) / 12]
    numbers += [2 * (conductance / feed).log(), 2 * (coolant / feed).log()]
    numbers += [3 * (heat_capacity / 3000).log(), (seconds / 3600 / residence).log() + 5]
    return torch.stack(numbers, dim=1)


def unit_readings(windows: Tensor, figures: Tensor) -> Tensor:
    """Return the readings ``[m, n, R]`` of windows ``[m, n, C, T]`` of m stirred vessels.

    First come plain readings (each instrument's mean, change and spread), then balance readings
    (quantities from several balances, and their differences); see ``machines.process``.
    """
    means, changes, spreads = summarise_windows(windows, instrument_ranges(figures))
    inflow, outflow, level, opening, hot, inside, coolant, inlet, outlet = means.unbind(dim=2)
    logs = [log_ratio(INSTRUMENT_HEADROOM * value) for value in (inflow, outflow, level, coolant)]
    plain = [4 * (means - 0.5), 20 * changes[..., [2, 5]], (spreads + 1e-3).log() + 5]
    hot, inside, inlet, outlet = 120 * hot, 120 * inside, 60 * inlet, 100 * outlet
    differences = [hot - inside, inside - inlet, outlet - inlet]
    plain.append(
        torch.stack([*logs, log_ratio(2 * opening), *(x / 15 - 1 for x in differences)], 2)
    )

    feed, water = (flow[:, None] for flow in heat_capacity_flows(figures))
    residence = (figures[:, 1] / figures[:, 0] / window_hours(figures, windows.shape[3]))[:, None]
    accumulation = changes[..., 2] * INSTRUMENT_HEADROOM * residence  # Share of the nominal flow
    warming = (
        changes[..., 5] * 120 * residence * INSTRUMENT_HEADROOM * level
    )  # K of the nominal flow
    duty = nominal_quantities(figures)[:, :1]
    by_feed = feed * (INSTRUMENT_HEADROOM * inflow * (hot - inside) - warming) / duty
    by_coolant = water * INSTRUMENT_HEADROOM * coolant * (outlet - inlet) / duty
    by_jacket = figures[:, 4, None] * (inside - (inlet + outlet) / 2) / duty
    duties = [log_ratio(value) for value in (by_feed, by_coolant, by_jacket)]
    by_valve = log_ratio(2 * opening) + logs[2] / 2
    balances = [5 * value for value in duties]
    balances += [
        20 * INSTRUMENT_HEADROOM * (inflow - outflow) - 20 * accumulation,
        8 * (by_valve - logs[1]),
    ]
    balances += [8 * (duties[0] - duties[2]), 8 * (duties[1] - duties[2])]
    balances.append(8 * (duties[0] - duties[1]))
    by_balance = torch.stack(balances, dim=2).clamp(-LARGEST_READING, LARGEST_READING)
    return torch.cat([*plain, by_balance], dim=2)


_FIGURE_LIMITS = (
    FigureLimit("inflow, m3/h", 1, 100),
    FigureLimit("residence time, h", 0.3, 3),
    FigureLimit("level, m", 0.8, 4),
    FigureLimit("feed temperature, °C", 40, 80),
    FigureLimit("conductance over the heat capacity flow of the feed", 0.4, 2),
    FigureLimit("heat capacity flow of coolant over that of the feed", 0.6, 2),
    FigureLimit("heat capacity, kJ/(m3 K)", 1700, 4300),
    FigureLimit("length of a window over the residence time", 0.05, 0.5),
)


def _limited_figures(figures: Tensor) -> tuple[Tensor, ...]:
    feed, coolant = (flow[0] for flow in heat_capacity_flows(figures[None]))
    residence = figures[1] / figures[0]
    transfer, window = figures[4] / feed, window_hours(figures[None], WINDOW_SAMPLES)[0] / residence
    return (
        *(figures[0], residence, figures[2], figures[3]),
        *(transfer, coolant / feed, figures[6], window),
    )


PROCESS_UNIT = ProcessUnit(
    name="stirred_vessel",
    figure_names=FIGURE_NAMES,
    figure_limits=_FIGURE_LIMITS,
    limited_figures=_limited_figures,
    channels=CHANNELS,
    quantities=(Quantity("heat duty", "kW", 5.0), Quantity("inflow", "m3/h", 8.0)),
    figure_feature_count=len(FIGURE_NAMES),
    reading_count=36,
    figure_features=figure_features,
    nominal_quantities=nominal_quantities,
    unit_readings=unit_readings,
)
