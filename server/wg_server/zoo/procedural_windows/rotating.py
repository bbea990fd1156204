"""Simple models of rotating machines: vibration signals of bearings, gears, shafts and pumps.

A bearing fault causes impacts at a multiple of the shaft's rate, with a little slip; they excite
resonances of the housing, and shaft or cage modulate them (Randall and Antoni 2011, MSSP 25(2)).
Gears cause a tone at the tooth mesh frequency, with side bands; shafts cause harmonics of their
frequency; cavitation causes bursts of noise.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from wg_common.modalities.sensors import apply_response, coloured_noise
from wg_server.zoo.procedural_windows.machine import Floats, Ints, log_normal_jitter

FAULT_TYPES = (
    "outer",
    "inner",
    "ball",
    "cage",
    "unbalance",
    "misaligned",
    "loose",
    "wear",
    "tooth",
    "cavitation",
    "rub",
)
_HARMONIC_COUNT = 8  # Number of harmonics of the shaft frequency


@dataclass(frozen=True, slots=True, eq=False)
class RotatingMachineModel:
    """Model of a rotating machine with K classes: a shaft with bearings, and possibly gears.

    Attributes:
        labels: Names of the classes.
        shaft: Shaft frequency in cycles per sample.
        mesh: Number of teeth: mesh frequency over shaft frequency.
        ratio: Impact rate over shaft frequency for each class; 0: no impacts, ``[K]``.
        strike: Amplitude of impacts, ``[K]``.
        sway: Frequency over shaft frequency at which impacts are modulated, ``[K]``.
        depth: Depth of this modulation, ``[K]``.
        harmonics: Amplitudes of the shaft's harmonics, ``[K, 8]``.
        tone: Amplitude of the tone at the mesh frequency, ``[K]``.
        bands: Depth of the modulation of this tone by the shaft, ``[K]``.
        bursts: Amplitude of bursts of noise, ``[K]``.
        resonance: Frequencies of three resonances in cycles per sample, ``[3]``.
        damping: Damping ratio of each resonance, ``[3]``.
        share: Factor by which each class excites each resonance, ``[K, 3]``.
        background: Exponent and amplitude of the machine's coloured noise.
        swing: Standard deviation of the log speed between windows.
        spread: Standard deviation of the log severity between windows.
    """

    labels: tuple[str, ...]
    shaft: float
    mesh: float
    ratio: Floats
    strike: Floats
    sway: Floats
    depth: Floats
    harmonics: Floats
    tone: Floats
    bands: Floats
    bursts: Floats
    resonance: Floats
    damping: Floats
    share: Floats
    background: tuple[float, float]
    swing: float
    spread: float

    @property
    def source_count(self) -> int:
        """Number of signals: two, near the fault and far from it."""
        return 2

    def at_another_site(self, rng: np.random.Generator, strength: float) -> RotatingMachineModel:
        """Return the machine of another site, with other speed, resonances and severities."""
        return dataclasses.replace(
            self,
            shaft=float(self.shaft * np.exp(0.15 * strength * rng.normal())),
            strike=log_normal_jitter(rng, self.strike, 0.35 * strength),
            harmonics=log_normal_jitter(rng, self.harmonics, 0.3 * strength),
            tone=log_normal_jitter(rng, self.tone, 0.3 * strength),
            bursts=log_normal_jitter(rng, self.bursts, 0.3 * strength),
            resonance=np.clip(log_normal_jitter(rng, self.resonance, 0.12 * strength), 0.02, 0.45),
            damping=log_normal_jitter(rng, self.damping, 0.2 * strength),
            share=log_normal_jitter(rng, self.share, 0.3 * strength),
        )

    def simulate_windows(
        self, rng: np.random.Generator, labels: Ints, length: int, step: float
    ) -> Floats:
        """Simulate windows near a fault and far from it, float64 ``[n, 2, T]``.

        Args:
            rng: Random generator of the differences between windows.
            labels: Class of each window, ``[n]``.
            length: Number of samples T of a window.
            step: Time between samples, relative to the nominal one.
        """
        n = len(labels)
        rate = self.shaft * step * np.exp(self.swing * rng.normal(size=n))  # [n]
        severity = np.exp(self.spread * rng.normal(size=n))
        turn = 2 * np.pi * (rate[:, None] * np.arange(length) + rng.random((n, 1)))  # [n, T]
        phases = 2 * np.pi * rng.random((n, _HARMONIC_COUNT, 1))
        shape = np.sin(turn[:, None] * np.arange(1, _HARMONIC_COUNT + 1)[:, None] + phases)
        steady = np.einsum("nh,nht->nt", self.harmonics[labels] * severity[:, None], shape)
        swing = 1 + self.bands[labels][:, None] * np.cos(turn)
        gear = self.tone[labels][:, None] * swing * np.sin(self.mesh * turn)
        gear += 0.4 * self.tone[labels][:, None] * swing * np.sin(2 * self.mesh * turn + 1)
        strikes = self._draw_impulses(rng, labels, rate, severity, turn)
        burst = np.maximum(coloured_noise(rng, (n, length), 1.2), 0) * rng.normal(size=(n, length))
        hiss = self.bursts[labels][:, None] * severity[:, None] * burst
        colour, level = self.background
        ground = level * coloured_noise(rng, (n, length), colour)
        rung = self._apply_resonances(labels, strikes + 0.5 * hiss, step)
        near = steady + gear + rung + 0.5 * hiss + ground
        far = (
            0.7 * steady
            + 0.5 * gear
            + 0.3 * rung
            + level * coloured_noise(rng, (n, length), colour)
        )
        return np.stack([near, far], axis=1)

    def _draw_impulses(
        self, rng: np.random.Generator, labels: Ints, rate: Floats, severity: Floats, turn: Floats
    ) -> Floats:
        """Draw impacts ``[n, T]`` with slip and modulation, at shaft phases ``turn`` ``[n, T]``."""
        n, length = turn.shape
        cycles = self.ratio[labels] * rate  # impacts per sample
        strikes = int(np.ceil(min(0.5, float(cycles.max(initial=0.0))) * length)) + 2
        gap = 1 / np.maximum(cycles, 1e-9)[:, None]
        times = (
            np.arange(strikes) + rng.random((n, 1)) + 0.02 * rng.normal(size=(n, strikes))
        ) * gap
        force = log_normal_jitter(rng, np.ones((n, strikes)), 0.15)
        inside = (times >= 0) & (times < length - 1) & (cycles > 0)[:, None]
        impulses = np.zeros((n, length))
        rows, _ = np.nonzero(inside)
        np.add.at(impulses, (rows, times[inside].astype(np.int64)), force[inside])
        sway = 1 + self.depth[labels][:, None] * np.cos(self.sway[labels][:, None] * turn)
        return impulses * sway * (self.strike[labels] * severity)[:, None]

    def _apply_resonances(self, labels: Ints, signal: Floats, step: float) -> Floats:
        """Filter signals ``[n, T]`` by the housing's resonances."""
        length = signal.shape[-1]
        line = np.fft.rfftfreq(length) / step
        resonance = self.resonance[:, None]  # [3, 1]
        response = 1 / (1 - (line / resonance) ** 2 + 2j * self.damping[:, None] * line / resonance)
        gain = np.sqrt(2 * self.damping[:, None] * resonance) * 4
        return apply_response(signal, self.share[labels] @ (response * gain * (line / resonance)))


def draw_rotating_machine(rng: np.random.Generator) -> RotatingMachineModel:
    """Draw a kind of rotating machine and its classes: faults, or faults at several severities."""
    count = int(rng.integers(2, 6))
    types = [str(t) for t in rng.permutation(FAULT_TYPES)[:count]]
    is_graded = rng.random() < 0.45
    levels = np.geomspace(0.5, 2.0, int(rng.integers(2, 4))) if is_graded else np.ones(1)
    names = [f"{t}-{i}" if is_graded else t for t in types for i in range(len(levels))]
    kinds = [t for t in types for _ in levels]
    power = [float(v) for _ in types for v in levels]
    if rng.random() < 0.85:
        names, kinds, power = ["normal", *names], ["normal", *kinds], [0.0, *power]
    k = len(names)
    outer = rng.uniform(2.5, 9)
    rates = {"outer": outer, "inner": outer * rng.uniform(1.25, 1.7), "cage": rng.uniform(0.3, 0.5)}
    rates |= {"ball": rng.uniform(1.8, 4.5), "tooth": 1.0, "rub": 1.0}
    force = rng.uniform(1.0, 8.0) * np.array(power)
    harmonics = np.tile(
        rng.uniform(0, 0.5, _HARMONIC_COUNT) / np.arange(1, _HARMONIC_COUNT + 1), (k, 1)
    )
    tone = np.full(k, rng.choice([0.0, rng.uniform(0.1, 1.0)]))
    bands, bursts, ratio, strike = np.full(k, 0.1), np.zeros(k), np.zeros(k), np.zeros(k)
    sway, depth = np.ones(k), np.zeros(k)
    for row, kind in enumerate(kinds):
        if kind in rates:
            ratio[row], strike[row] = rates[kind], force[row]
            sway[row] = {"ball": 0.4, "cage": 0.4}.get(kind, 1.0)
            depth[row] = 0.15 if kind in ("outer", "tooth") else rng.uniform(0.4, 0.9)
        if kind in ("unbalance", "misaligned", "loose", "rub"):
            extra = {"unbalance": [1.0], "misaligned": [0.3, 1.0, 0.4], "rub": [0.3, 0.3, 0.3]}
            added_amplitudes = np.array(extra.get(kind, 0.6 * np.ones(_HARMONIC_COUNT)))
            harmonics[row, : len(added_amplitudes)] += 0.6 * power[row] * added_amplitudes
        if kind == "wear":
            tone[row], bands[row] = tone[row] + 0.5 * power[row], 0.8
        if kind == "cavitation":
            bursts[row] = force[row]
    share = rng.uniform(0.1, 1, (k, 3)) * 0.5 + rng.uniform(0.1, 1, 3) * 0.5
    return RotatingMachineModel(
        labels=tuple(names),
        shaft=float(np.exp(rng.uniform(np.log(0.0015), np.log(0.03)))),
        mesh=float(rng.integers(9, 30)),
        ratio=ratio,
        strike=strike,
        sway=sway,
        depth=depth,
        harmonics=harmonics,
        tone=tone,
        bands=bands,
        bursts=bursts,
        resonance=np.sort(np.exp(rng.uniform(np.log(0.04), np.log(0.42), 3))),
        damping=rng.uniform(0.02, 0.12, 3),
        share=share,
        background=(float(rng.uniform(0, 1.2)), float(rng.uniform(0.1, 1.0))),
        swing=float(rng.uniform(0.002, 0.05)),
        spread=float(rng.uniform(0.05, 0.35)),
    )
