"""Loads on the mains: wave shapes of current, and how it settles after switching on.

A load is harmonics, a rectifier that draws pulses near the crest, a phase cut, and an inrush that
decays; motors add a slip tone. Loads differ in strength by orders of magnitude.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from wg_server.zoo.procedural_windows.machine import Floats, Ints, jitter

_ODD = np.array([1.0, 3.0, 5.0, 7.0, 9.0, 2.0])


@dataclass(frozen=True, slots=True, eq=False)
class Mains:
    """A set of loads behind one meter.

    Attributes:
        labels: Names of the classes.
        cycles: Cycles of the mains a window of nominal length.
        nominal: That length, samples.
        size: Strength of each class, ``[K]``.
        harmonics: Amplitudes ``[K, 6]`` and phases ``[K, 6]`` of five odd harmonics and the second.
        phases: ``[K, 6]``.
        pulse: Share of rectifier pulses, ``[K]``.
        narrow: Their sharpness, ``[K]``.
        cut: Share of the half wave that is cut away, ``[K]``.
        inrush: Height of the inrush ``[K]``.
        settle: Its decay, in windows, ``[K]``.
        slip: Depth of the slip tone, ``[K]``.
        aligned: Whether windows start at the same phase.
        hash: Level of the noise.
    """

    labels: tuple[str, ...]
    cycles: float
    nominal: int
    size: Floats
    harmonics: Floats
    phases: Floats
    pulse: Floats
    narrow: Floats
    cut: Floats
    inrush: Floats
    settle: Floats
    slip: Floats
    aligned: bool
    hash: float

    @property
    def sources(self) -> int:
        """One current."""
        return 1

    def shifted(self, rng: np.random.Generator, strength: float) -> Mains:
        """Other makes of the same loads."""
        return dataclasses.replace(
            self,
            size=jitter(rng, self.size, 0.25 * strength),
            harmonics=jitter(rng, self.harmonics, 0.2 * strength),
            phases=self.phases + 0.2 * strength * rng.normal(size=self.phases.shape),
            pulse=jitter(rng, self.pulse, 0.2 * strength),
            narrow=jitter(rng, self.narrow, 0.2 * strength),
            inrush=jitter(rng, self.inrush, 0.3 * strength),
            settle=jitter(rng, self.settle, 0.2 * strength),
        )

    def windows(self, rng: np.random.Generator, labels: Ints, length: int, step: float) -> Floats:
        """See ``Machine``."""
        n = len(labels)
        begin = 0.05 * rng.normal(size=(n, 1)) if self.aligned else 2 * np.pi * rng.random((n, 1))
        turn = 2 * np.pi * self.cycles / self.nominal * step * np.arange(length) + begin  # [n, T]
        make = jitter(rng, self.harmonics[labels], 0.15)
        phase = self.phases[labels] + 0.1 * rng.normal(size=make.shape)
        wave = np.einsum(
            "nh,nht->nt", make, np.sin(turn[:, None] * _ODD[:, None] + phase[..., None])
        )
        crest = np.sin(turn)
        draws = np.sign(crest) * np.abs(crest) ** self.narrow[labels][:, None]
        wave += jitter(rng, self.pulse[labels], 0.15)[:, None] * draws
        position = np.mod(turn, np.pi) / np.pi
        gone = np.clip(self.cut[labels] + 0.04 * rng.normal(size=n), 0, 0.9) * (
            self.cut[labels] > 0
        )
        wave *= position > gone[:, None]
        time = np.arange(length) * step / self.nominal
        surge = jitter(rng, self.inrush[labels], 0.3)[:, None]
        wave *= 1 + surge * np.exp(-time / self.settle[labels][:, None])
        wave *= 1 + self.slip[labels][:, None] * np.sin(0.13 * turn + rng.random((n, 1)))
        wave *= jitter(rng, self.size[labels], 0.2)[:, None]
        wave += self.hash * rng.normal(size=wave.shape)
        return np.asarray(wave[:, None])


def draw(rng: np.random.Generator) -> Mains:
    """A set of loads."""
    k = int(rng.integers(3, 12))
    harmonics = rng.uniform(0, 1, (k, 6)) * np.array([1, 0.3, 0.2, 0.15, 0.1, 0.1])
    harmonics *= rng.random((k, 6)) < np.array([1, 0.6, 0.6, 0.5, 0.5, 0.3])
    nominal = int(rng.choice([128, 200, 256, 400, 512]))
    return Mains(
        labels=tuple(f"load-{row}" for row in range(k)),
        cycles=float(np.exp(rng.uniform(np.log(1.0), np.log(16.0)))),
        nominal=nominal,
        size=10 ** rng.uniform(-0.7, 0.9, k),
        harmonics=harmonics,
        phases=rng.uniform(-1.2, 1.2, (k, 6)),
        pulse=rng.uniform(0, 2, k) * (rng.random(k) < 0.5),
        narrow=rng.uniform(3, 25, k),
        cut=rng.uniform(0.15, 0.7, k) * (rng.random(k) < 0.25),
        inrush=np.exp(rng.normal(0, 1, k)) * (rng.random(k) < 0.5),
        settle=np.exp(rng.uniform(np.log(0.05), np.log(0.8), k)),
        slip=rng.uniform(0, 0.2, k) * (rng.random(k) < 0.4),
        aligned=bool(rng.random() < 0.6),
        hash=float(10 ** rng.uniform(-2.5, -0.8)),
    )
