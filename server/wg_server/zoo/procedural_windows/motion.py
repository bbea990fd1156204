"""Periodic and aperiodic motion on a few axes: actuators, arms, conveyors, wearables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from wg_common.modalities.sensors import coloured
from wg_server.zoo.procedural_windows.machine import Floats, Ints, jitter

_HARMONICS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Mover:
    """Something that moves in several ways.

    Attributes:
        labels: Names of the classes.
        rate: Cycles a sample, ``[K]``.
        shape: Amplitude of each harmonic on each axis, ``[K, A, 4]``.
        phases: ``[K, A, 4]``.
        rest: Mean of each axis (gravity, a bias), ``[K, A]``.
        shake: Strength of what is not periodic, ``[K]``.
        colour: Its colour, ``[K]``.
        burst: Share of the window in which there is motion, ``[K]``.
        swing: Spread of the rate between windows.
    """

    labels: tuple[str, ...]
    rate: Floats
    shape: Floats
    phases: Floats
    rest: Floats
    shake: Floats
    colour: Floats
    burst: Floats
    swing: float

    @property
    def sources(self) -> int:
        """Number of axes A."""
        return int(self.rest.shape[1])

    def shifted(self, rng: np.random.Generator, strength: float) -> Mover:
        """Another mover, who does the same otherwise."""
        return dataclasses.replace(
            self,
            rate=jitter(rng, self.rate, 0.12 * strength),
            shape=jitter(rng, self.shape, 0.25 * strength),
            phases=self.phases + 0.3 * strength * rng.normal(size=self.phases.shape),
            rest=self.rest + 0.15 * strength * rng.normal(size=self.rest.shape),
            shake=jitter(rng, self.shake, 0.2 * strength),
        )

    def windows(self, rng: np.random.Generator, labels: Ints, length: int, step: float) -> Floats:
        """See ``Machine``."""
        n, axes = len(labels), self.sources
        rate = jitter(rng, self.rate[labels], self.swing) * step
        turn = 2 * np.pi * (rate[:, None] * np.arange(length) + rng.random((n, 1)))
        high = np.arange(1, _HARMONICS + 1)
        wave = np.sin(
            turn[:, None, None] * high[:, None] + self.phases[labels][..., None]
        )  # [n, A, 4, T]
        signal = np.einsum("nah,naht->nat", jitter(rng, self.shape[labels], 0.2), wave)
        for index in np.unique(labels):
            rows = labels == index
            rough = coloured(rng, (int(rows.sum()), axes, length), float(self.colour[index]))
            signal[rows] += self.shake[index] * rough
        centre = rng.random((n, 1))
        distance = np.abs(np.arange(length) / length - centre) / np.maximum(
            self.burst[labels][:, None], 0.05
        )
        signal *= np.exp(-(np.minimum(distance, 9.0) ** 4))[:, None]
        signal += self.rest[labels][..., None] + 0.05 * rng.normal(size=(n, axes, 1))
        return np.asarray(signal)


def draw(rng: np.random.Generator) -> Mover:
    """A mover and its ways to move; one of them may be rest."""
    axes, k = int(rng.integers(1, 7)), int(rng.integers(2, 8))
    fall = 1 / np.arange(1, _HARMONICS + 1) ** rng.uniform(0.5, 2)
    shape = rng.exponential(1, (k, axes, _HARMONICS)) * fall * rng.exponential(1, (k, 1, 1))
    names = [f"motion-{row}" for row in range(k)]
    if rng.random() < 0.5:
        shape[0] *= 0.02
        names[0] = "rest"
    turned = 0.3 if rng.random() < 0.5 else 0.0
    return Mover(
        labels=tuple(names),
        rate=np.exp(rng.uniform(np.log(0.008), np.log(0.12), k)),
        shape=shape,
        phases=rng.uniform(0, 2 * np.pi, (k, axes, _HARMONICS)),
        rest=np.tile(rng.normal(size=axes), (k, 1)) + turned * rng.normal(size=(k, axes)),
        shake=rng.exponential(0.4, k) + 0.02,
        colour=rng.uniform(0, 2, k),
        burst=np.where(rng.random(k) < 0.3, rng.uniform(0.15, 0.5, k), 3.0),
        swing=float(rng.uniform(0.01, 0.1)),
    )
