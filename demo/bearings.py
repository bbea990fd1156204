"""Simulator of the demo's bearings, which shares no code with the simulator for training.

Each impact of a damaged bearing excites two to four modes of the housing (McFadden and Smith,
*Model for the vibration produced by a single point defect*, JSV 96, 1984). Bearings have the sizes
of common deep-groove bearings. Unlike the machines for training they have a speed that varies
within a record, impacts from a neighbouring machine, brown noise, and a sensor of eleven bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 1024  # Samples of a record
CLASSES = ("normal", "rolling element", "inner ring", "outer ring")
_SIZES = ((8, 6.7, 28.5), (9, 7.9, 39.0), (9, 9.5, 46.0), (9, 11.1, 53.5), (9, 11.9, 60.0))
"""Number of balls, their diameter and the pitch diameter in mm, of bearings 6203, 6205 to 6208."""
_SPEEDS = (980, 1180, 1470, 1770, 2950)  # rpm of motors at 50 and 60 Hz
_RATES = (10_000, 12_800, 20_000)  # Samples per second
_WANDER = 0.01  # Relative variation of the speed within a record
_BITS = 11  # Resolution of the sensor
Windows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bearing:
    """Simulated bearing.

    Attributes:
        sheet: Fields of its data sheet.
        modes: Frequency in cycles per sample, damping ratio and gain of each vibration mode of the
            housing, ``[3, modes]``.
        loudness: RMS amplitude of the vibration by each damage, ``[3]``; white noise has 0.5.
        load_zone: Depth of the variation of impacts when the damage leaves the loaded zone, 0 to 1.
        neighbour_impact_count: Mean number of impacts in a record from a neighbouring machine.
        hum: Amplitudes of the shaft's tone, its second harmonic and a gear's tone, ``[3]``.
    """

    sheet: dict[str, float]
    modes: NDArray[np.float64]
    loudness: NDArray[np.float64]
    load_zone: float
    neighbour_impact_count: float
    hum: NDArray[np.float64]


def draw_bearing(rng: np.random.Generator) -> Bearing:
    """Draw a random bearing of a catalogue size, at a random motor speed."""
    balls, ball, pitch = _SIZES[rng.integers(len(_SIZES))]
    rate = int(rng.choice(_RATES))
    count = int(rng.integers(2, 5))
    modes = rng.uniform(1200, 0.4 * rate, count) / rate, rng.uniform(0.01, 0.06, count)
    return Bearing(
        sheet={
            "shaft_speed_rpm": int(rng.choice(_SPEEDS)),
            "sampling_hz": rate,
            "rolling_elements": balls,
            "rolling_element_diameter_mm": ball,
            "pitch_diameter_mm": pitch,
            "contact_angle_deg": 0,
        },
        modes=np.stack([*modes, rng.uniform(0.3, 1, count)]),
        loudness=10 ** (rng.uniform(-6, 6) / 20 + rng.normal(0, 0.1, 3)),
        load_zone=float(rng.uniform(0.3, 0.9)),
        neighbour_impact_count=float(rng.uniform(0, 3)),
        hum=rng.uniform(0, 0.8, 3),
    )


def simulate_records(
    bearing: Bearing, labels: NDArray[np.int64], rng: np.random.Generator
) -> Windows:
    """Simulate records ``[n, 1, WINDOW]`` of classes ``[n]``, in whole steps of the sensor."""
    signals = np.stack([_simulate_record(bearing, int(label), rng) for label in labels])
    top = 2 ** (_BITS - 1) - 1
    full = 1.2 * np.abs(signals).max()
    whole: Windows = np.round(signals / full * top)[:, None].astype(np.float32)
    return whole


def _simulate_record(bearing: Bearing, label: int, rng: np.random.Generator) -> NDArray[np.float64]:
    span = 2 * WINDOW  # The first half is for ringing in
    sheet = bearing.sheet
    speed = sheet["shaft_speed_rpm"] / 60 / sheet["sampling_hz"] * (1 + rng.normal(0, 0.004))
    wander = np.cumsum(rng.normal(0, 1, span)) / np.sqrt(span)
    turns = np.cumsum(speed * (1 + _WANDER * (wander - wander.mean()))) + rng.uniform()
    noise = np.cumsum(rng.normal(0, 0.1, span)) * 0.3
    noise = noise - np.convolve(noise, np.ones(64) / 64, "same") + rng.normal(0, 0.5, span)
    force = rng.normal(0, 0.03, span)
    at = rng.integers(0, span, rng.poisson(2 * bearing.neighbour_impact_count))
    force[at] += rng.normal(0, 0.5, len(at))
    signal = noise + _scale_to_unit_rms(_ringing(bearing, force)) * 0.7
    for order, amplitude in zip((1, 2, 23), bearing.hum, strict=True):
        signal += amplitude * np.sin(2 * np.pi * (order * turns + rng.uniform()))
    if label:
        blows = _ringing(bearing, _impact_force(bearing, label, turns, rng))
        level = bearing.loudness[label - 1] * 10 ** rng.normal(0, 0.1)
        signal += level * _scale_to_unit_rms(blows)
    return signal[WINDOW:]


def _impact_force(
    bearing: Bearing, label: int, turns: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the force by impacts of a damaged element (1), inner (2) or outer ring (3).

    ``turns`` holds the shaft's angle in turns at each sample, ``[T]``, as the result the force.
    """
    sheet = bearing.sheet
    ratio = sheet["rolling_element_diameter_mm"] / sheet["pitch_diameter_mm"]
    count, cage = sheet["rolling_elements"], (1 - ratio) / 2
    per_turn = ((1 - ratio**2) / ratio, count * (1 - cage), count * cage)[label - 1]
    number = int((turns[-1] - turns[0]) * per_turn) + 2
    steps = 1 + rng.normal(0, 0.012, number)
    when = turns[0] + (np.cumsum(steps) - rng.uniform()) / per_turn
    place = np.searchsorted(turns, when)
    inside = (place > 0) & (place < len(turns))
    strength = np.exp(rng.normal(0, 0.35, number))
    carrier = {1: cage, 2: 1.0}.get(label)  # Passes of the load zone per turn of the shaft
    if carrier:
        zone = np.cos(2 * np.pi * (carrier * when + rng.uniform()))
        strength *= np.clip(1 + bearing.load_zone * (zone - 1), 0, None)
    force = np.zeros(len(turns))
    np.add.at(force, place[inside], strength[inside])
    return force


def _ringing(bearing: Bearing, force: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the housing's vibration ``[T]`` under a force ``[T]``: a sum of damped modes."""
    time = np.arange(512)
    frequency, damping, gain = bearing.modes[:, :, None]
    decay = np.exp(-2 * np.pi * damping * frequency * time)
    answer = (gain * decay * np.sin(2 * np.pi * frequency * time)).sum(axis=0)
    return np.convolve(force, answer)[: len(force)]


def _scale_to_unit_rms(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = signal / (np.sqrt(np.mean(signal**2)) + 1e-12)
    return unit
