"""Simulator of the demo's heat exchangers, which shares no code with the simulator for training.

Water cools a hot fluid in counterflow. Unlike in training, heat is lost to the room, flows
oscillate within a record, deposits grow until they are washed off, and instruments have eleven bits
and uniformly distributed errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES, SECONDS = 24, 60
"""Rows of a record in a log, and seconds between them."""
CHANNELS = (
    "hot flow",
    "hot inlet temperature",
    "hot outlet temperature",
    "cold flow",
    "cold inlet temperature",
    "cold outlet temperature",
    "hot pressure drop",
)
_WATER = 4180.0  # kJ/(m3 K)
_FLOW, _THERMOMETER, _DROP = 0.04, 1.5, 0.03
"""Largest constant error of flow (share), temperature (K) and pressure drop (share)."""
_BITS = 11
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Exchanger:
    """Simulated heat exchanger with instruments.

    Attributes:
        sheet: Fields of its data sheet.
        factors: Constant factor by which each instrument is wrong, ``[7]``.
        offsets: Constant offset of each instrument, in the instrument's unit, ``[7]``.
        noise: Standard deviation of the errors per record and per sample, relative to the nominal
            value, ``[2]``.
        heat_loss_share: Share of the heat that is lost to the room.
        fouling: Fall of the logarithm of the heat conductance, by deposits, between two washings.
    """

    sheet: dict[str, float]
    factors: Floats
    offsets: Floats
    noise: Floats
    heat_loss_share: float
    fouling: float

    @property
    def nominal(self) -> Floats:
        """Values in the middle of the instruments' ranges, ``[7]``."""
        keys = ("hot_flow_m3_per_h", "cold_flow_m3_per_h", "hot_pressure_drop_kpa")
        hot_flow, cold_flow, drop = (self.sheet[key] for key in keys)
        return np.array([hot_flow, 80, 60, cold_flow, 20, 40, drop])


def draw_exchanger(rng: np.random.Generator) -> Exchanger:
    """Draw a random exchanger of oil, lye or water, with uncalibrated instruments."""
    hot_flow, capacity = float(rng.choice((5, 10, 20, 40))), float(rng.choice((2000, 3400, 4180)))
    cold_flow = round(hot_flow * capacity / _WATER * rng.uniform(0.7, 1.6), 1)
    least = min(hot_flow * capacity, cold_flow * _WATER) / 3600
    flow, temperature = rng.uniform(-_FLOW, _FLOW, 2), rng.uniform(-_THERMOMETER, _THERMOMETER, 4)
    factors, offsets = np.ones(len(CHANNELS)), np.zeros(len(CHANNELS))
    factors[[0, 3]] += flow
    factors[6] += rng.uniform(-_DROP, _DROP)
    offsets[[1, 2, 4, 5]] = temperature
    return Exchanger(
        sheet={
            "hot_flow_m3_per_h": hot_flow,
            "cold_flow_m3_per_h": cold_flow,
            "hot_heat_capacity_kj_per_m3_k": capacity,
            "cold_heat_capacity_kj_per_m3_k": _WATER,
            "hot_inlet_c": int(rng.integers(70, 110)),
            "cold_inlet_c": int(rng.integers(12, 26)),
            "conductance_kw_per_k": round(least * rng.uniform(0.8, 2), 2),
            "hot_pressure_drop_kpa": int(rng.integers(20, 60)),
            "sample_seconds": SECONDS,
        },
        factors=factors,
        offsets=offsets,
        noise=rng.uniform(0.001, 0.008, 2),
        heat_loss_share=float(rng.uniform(0, 0.02)),
        fouling=float(rng.uniform(0.2, 0.5)),
    )


def simulate_records(
    exchanger: Exchanger, count: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Simulate ``count`` records ``[n, 7, SAMPLES]``, and true heat duties in kW, ``[n]``."""
    sheet, shape = exchanger.sheet, (count, SAMPLES)
    time = np.linspace(0, 1, SAMPLES)
    swing = 0.02 * np.sin(2 * np.pi * (time + rng.uniform(0, 1, (2, count, 1))))
    hot_flow, cold_flow = np.clip(rng.normal(1, 0.15, (2, count, 1)), 0.5, 1.6) + swing
    hot = hot_flow * sheet["hot_flow_m3_per_h"]
    cold = cold_flow * sheet["cold_flow_m3_per_h"]
    hot_in = np.broadcast_to(rng.normal(sheet["hot_inlet_c"], 4, (count, 1)), shape)
    cold_in = np.broadcast_to(rng.normal(sheet["cold_inlet_c"], 2.5, (count, 1)), shape)
    deposit = np.exp(-exchanger.fouling * rng.uniform(0, 1, (count, 1)))
    films = 0.5 * hot_flow**-0.8 + 0.5 * cold_flow**-0.8
    conductance = sheet["conductance_kw_per_k"] * deposit / films
    hot_rate = hot * sheet["hot_heat_capacity_kj_per_m3_k"] / 3600
    cold_rate = cold * _WATER / 3600
    duty = _duty_per_kelvin(conductance, hot_rate, cold_rate) * (hot_in - cold_in)
    hot_out = hot_in - duty * (1 + exchanger.heat_loss_share) / hot_rate
    drop = sheet["hot_pressure_drop_kpa"] * hot_flow**1.8
    true = np.stack([hot, hot_in, hot_out, cold, cold_in, cold_in + duty / cold_rate, drop], axis=1)
    shown = true * exchanger.factors[:, None] + exchanger.offsets[:, None]
    scale = exchanger.nominal[:, None]
    of_record, of_sample = exchanger.noise
    shown += scale * of_record * rng.normal(size=(*true.shape[:2], 1))
    shown += scale * of_sample * rng.normal(size=true.shape)
    step = 4 * scale / 2**_BITS
    return np.round(shown / step) * step, duty.mean(axis=1)


def duty_by_balances(exchanger: Exchanger, values: Floats) -> Floats:
    """Estimate heat duty in kW, ``[n]``, from records: the mean of both fluids' heat balances."""
    hot, hot_in, hot_out, cold, cold_in, cold_out, _ = values.mean(axis=2).T
    from_hot = hot * exchanger.sheet["hot_heat_capacity_kj_per_m3_k"] * (hot_in - hot_out)
    mean: Floats = (from_hot + cold * _WATER * (cold_out - cold_in)) / 2 / 3600
    return mean


def _duty_per_kelvin(conductance: Floats, hot: Floats, cold: Floats) -> Floats:
    """Return the heat duty in kW per K between the inlet temperatures of a counterflow exchanger.

    All arguments are in kW/K: the conductance, and the heat capacity flow of each fluid.
    """
    least, most = np.minimum(hot, cold), np.maximum(hot, cold)
    ratio = np.minimum(least / most, 0.999)
    fall = np.exp(-conductance / least * (1 - ratio))
    out: Floats = least * (1 - fall) / (1 - ratio * fall)
    return out
