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
        shaft_frequency: Shaft frequency in cycles per sample.
        tooth_count: Number of teeth: mesh frequency over shaft frequency.
        impact_ratios: Impact rate over shaft frequency for each class; 0: no impacts, ``[K]``.
        impact_strengths: Amplitude of impacts, ``[K]``.
        modulation_ratios: Frequency over shaft frequency at which impacts are modulated, ``[K]``.
        modulation_depths: Depth of this modulation, ``[K]``.
        harmonic_amplitudes: Amplitudes of the shaft's harmonics, ``[K, 8]``.
        mesh_amplitudes: Amplitude of the tone at the mesh frequency, ``[K]``.
        side_band_depths: Depth of the modulation of this tone by the shaft, ``[K]``.
        burst_strengths: Amplitude of bursts of noise, ``[K]``.
        resonance_frequencies: Frequencies of three resonances in cycles per sample, ``[3]``.
        resonance_dampings: Damping ratio of each resonance, ``[3]``.
        resonance_shares: Factor by which each class excites each resonance, ``[K, 3]``.
        noise_colour_and_level: Exponent and amplitude of the machine's coloured noise.
        speed_spread: Standard deviation of the log speed between windows.
        log_severity_deviation: Standard deviation of the log severity between windows.
    """

    labels: tuple[str, ...]
    shaft_frequency: float
    tooth_count: float
    impact_ratios: Floats
    impact_strengths: Floats
    modulation_ratios: Floats
    modulation_depths: Floats
    harmonic_amplitudes: Floats
    mesh_amplitudes: Floats
    side_band_depths: Floats
    burst_strengths: Floats
    resonance_frequencies: Floats
    resonance_dampings: Floats
    resonance_shares: Floats
    noise_colour_and_level: tuple[float, float]
    speed_spread: float
    log_severity_deviation: float

    @property
    def signal_count(self) -> int:
        """Number of signals: two, near the fault and far from it."""
        return 2

    def vary_for_site(self, rng: np.random.Generator, strength: float) -> RotatingMachineModel:
        """Return another site's machine; its speed, resonances and so on differ by ``strength``."""
        return dataclasses.replace(
            self,
            shaft_frequency=float(self.shaft_frequency * np.exp(0.15 * strength * rng.normal())),
            impact_strengths=log_normal_jitter(rng, self.impact_strengths, 0.35 * strength),
            harmonic_amplitudes=log_normal_jitter(rng, self.harmonic_amplitudes, 0.3 * strength),
            mesh_amplitudes=log_normal_jitter(rng, self.mesh_amplitudes, 0.3 * strength),
            burst_strengths=log_normal_jitter(rng, self.burst_strengths, 0.3 * strength),
            resonance_frequencies=np.clip(
                log_normal_jitter(rng, self.resonance_frequencies, 0.12 * strength), 0.02, 0.45
            ),
            resonance_dampings=log_normal_jitter(rng, self.resonance_dampings, 0.2 * strength),
            resonance_shares=log_normal_jitter(rng, self.resonance_shares, 0.3 * strength),
        )

    def simulate_windows(
        self, rng: np.random.Generator, labels: Ints, sample_count: int, relative_interval: float
    ) -> Floats:
        """Simulate windows near a fault and far from it, float64 ``[n, 2, T]``.

        Args:
            rng: Random generator of the differences between windows.
            labels: Class of each window, ``[n]``.
            sample_count: Number of samples T of a window.
            relative_interval: Time between samples, relative to the nominal one.
        """
        n = len(labels)
        rate = (
            self.shaft_frequency
            * relative_interval
            * np.exp(self.speed_spread * rng.normal(size=n))
        )  # [n]
        severity = np.exp(self.log_severity_deviation * rng.normal(size=n))
        turn = 2 * np.pi * (rate[:, None] * np.arange(sample_count) + rng.random((n, 1)))  # [n, T]
        phases = 2 * np.pi * rng.random((n, _HARMONIC_COUNT, 1))
        shape = np.sin(turn[:, None] * np.arange(1, _HARMONIC_COUNT + 1)[:, None] + phases)
        steady = np.einsum(
            "nh,nht->nt", self.harmonic_amplitudes[labels] * severity[:, None], shape
        )
        swing = 1 + self.side_band_depths[labels][:, None] * np.cos(turn)
        gear = self.mesh_amplitudes[labels][:, None] * swing * np.sin(self.tooth_count * turn)
        gear += (
            0.4
            * self.mesh_amplitudes[labels][:, None]
            * swing
            * np.sin(2 * self.tooth_count * turn + 1)
        )
        strikes = self._draw_impulses(rng, labels, rate, severity, turn)
        burst = np.maximum(coloured_noise(rng, (n, sample_count), 1.2), 0) * rng.normal(
            size=(n, sample_count)
        )
        hiss = self.burst_strengths[labels][:, None] * severity[:, None] * burst
        colour, level = self.noise_colour_and_level
        ground = level * coloured_noise(rng, (n, sample_count), colour)
        rung = self._apply_resonances(labels, strikes + 0.5 * hiss, relative_interval)
        near = steady + gear + rung + 0.5 * hiss + ground
        far = (
            0.7 * steady
            + 0.5 * gear
            + 0.3 * rung
            + level * coloured_noise(rng, (n, sample_count), colour)
        )
        return np.stack([near, far], axis=1)

    def _draw_impulses(
        self,
        rng: np.random.Generator,
        labels: Ints,
        shaft_rates: Floats,
        severity: Floats,
        shaft_phase: Floats,
    ) -> Floats:
        """Draw impacts with slip and modulation, ``[n, T]``; phases, ``[n, T]``, are in radians."""
        n, length = shaft_phase.shape
        cycles = self.impact_ratios[labels] * shaft_rates  # impacts per sample
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
        sway = 1 + self.modulation_depths[labels][:, None] * np.cos(
            self.modulation_ratios[labels][:, None] * shaft_phase
        )
        return impulses * sway * (self.impact_strengths[labels] * severity)[:, None]

    def _apply_resonances(self, labels: Ints, signal: Floats, relative_interval: float) -> Floats:
        """Filter signals ``[n, T]`` by the housing's resonances."""
        length = signal.shape[-1]
        line = np.fft.rfftfreq(length) / relative_interval
        resonance = self.resonance_frequencies[:, None]  # [3, 1]
        response = 1 / (
            1 - (line / resonance) ** 2 + 2j * self.resonance_dampings[:, None] * line / resonance
        )
        gain = np.sqrt(2 * self.resonance_dampings[:, None] * resonance) * 4
        return apply_response(
            signal, self.resonance_shares[labels] @ (response * gain * (line / resonance))
        )


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
        shaft_frequency=float(np.exp(rng.uniform(np.log(0.0015), np.log(0.03)))),
        tooth_count=float(rng.integers(9, 30)),
        impact_ratios=ratio,
        impact_strengths=strike,
        modulation_ratios=sway,
        modulation_depths=depth,
        harmonic_amplitudes=harmonics,
        mesh_amplitudes=tone,
        side_band_depths=bands,
        burst_strengths=bursts,
        resonance_frequencies=np.sort(np.exp(rng.uniform(np.log(0.04), np.log(0.42), 3))),
        resonance_dampings=rng.uniform(0.02, 0.12, 3),
        resonance_shares=share,
        noise_colour_and_level=(float(rng.uniform(0, 1.2)), float(rng.uniform(0.1, 1.0))),
        speed_spread=float(rng.uniform(0.002, 0.05)),
        log_severity_deviation=float(rng.uniform(0.05, 0.35)),
    )
