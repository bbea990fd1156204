"""Transients and profiles: windows whose classes differ in the course of one curve.

Valve strokes and relays (second-order answers with a delay), and smooth profiles with bumps, such
as a day's load. The curve may shift, stretch and bend in time; noise is added.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from wg_common.modalities.sensors import coloured
from wg_server.zoo.procedural_windows.machine import Floats, Ints, jitter

_GRID = 256
_BUMPS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """A set of curves.

    Attributes:
        labels: Names of the classes.
        curves: Templates on a grid over the window and half of it on either side, ``[K, C, 256]``.
        shift: Spread of a curve's place, in windows.
        bend: Spread of the bend in time.
        lift: Spread of its height, nepers.
        noise: Level and colour of the noise.
    """

    labels: tuple[str, ...]
    curves: Floats
    shift: float
    bend: float
    lift: float
    noise: tuple[float, float]

    @property
    def sources(self) -> int:
        """Curves that belong together."""
        return int(self.curves.shape[1])

    def shifted(self, rng: np.random.Generator, strength: float) -> Curves:
        """The same curves, bent."""
        _, c, grid = self.curves.shape
        bent = np.cumsum(coloured(rng, (1, c, grid), 2.0), axis=-1)
        bent *= 0.15 * strength / (np.abs(bent).max() + 1e-9)
        return dataclasses.replace(self, curves=self.curves + bent)

    def windows(self, rng: np.random.Generator, labels: Ints, length: int, step: float) -> Floats:
        """See ``Machine``."""
        n, sources, grid = len(labels), self.curves.shape[1], self.curves.shape[2]
        time = np.linspace(0, 1, length)
        warped = 0.5 + (time - 0.5) * step * np.exp(self.bend * rng.normal(size=(n, 1)))
        warped += self.bend * rng.normal(size=(n, 1)) * np.sin(np.pi * time)
        warped += self.shift * rng.normal(size=(n, 1))
        place = np.clip((warped + 0.5) / 2, 0, 1) * (grid - 1.001)
        lower = place.astype(np.int64)
        share = (place - lower)[:, None]
        chosen = self.curves[labels]  # [n, C, G]
        rows = np.arange(n)[:, None, None], np.arange(sources)[None, :, None]
        signal = (1 - share) * chosen[(*rows, lower[:, None])] + share * chosen[
            (*rows, lower[:, None] + 1)
        ]
        signal = signal * jitter(rng, np.ones((n, 1, 1)), self.lift)
        level, colour = self.noise
        return np.asarray(signal + level * coloured(rng, (n, sources, length), colour))


def draw(rng: np.random.Generator) -> Curves:
    """A set of curves: strokes, or profiles that share most of their course."""
    k, c = int(rng.integers(2, 8)), int(rng.choice([1, 1, 1, 2, 3]))
    time = np.linspace(-0.5, 1.5, _GRID)
    if rng.random() < 0.4:
        curves = np.stack([[_stroke(rng, time) for _ in range(c)] for _ in range(k)])
        name = "stroke"
    else:
        base = np.stack([_profile(rng, time) for _ in range(c)])
        profiles = np.stack([[_profile(rng, time) for _ in range(c)] for _ in range(k)])
        curves = base + rng.uniform(0.2, 1.0) * profiles
        name = "profile"
    return Curves(
        labels=tuple(f"{name}-{row}" for row in range(k)),
        curves=curves,
        shift=float(rng.choice([0.005, 0.03, 0.1])),
        bend=float(rng.uniform(0.01, 0.12)),
        lift=float(rng.uniform(0.02, 0.3)),
        noise=(float(10 ** rng.uniform(-2.2, -0.4)), float(rng.uniform(0, 1.5))),
    )


def _stroke(rng: np.random.Generator, time: Floats) -> Floats:
    """One or two second-order answers to a step."""
    curve = np.zeros_like(time)
    for _ in range(int(rng.integers(1, 3))):
        since = np.maximum(time - rng.uniform(0.0, 0.7), 0)
        damping, rate = rng.uniform(0.1, 1.2), rng.uniform(6, 60)
        ring = np.cos(rate * np.sqrt(max(1 - damping**2, 0.01)) * since)
        curve += (
            rng.choice([-1, 1]) * rng.uniform(0.4, 1) * (1 - np.exp(-damping * rate * since) * ring)
        )
    return curve


def _profile(rng: np.random.Generator, time: Floats) -> Floats:
    """Bumps, a trend and a slow wave."""
    curve = rng.normal() * 0.3 * time + 0.4 * rng.normal() * np.sin(
        2 * np.pi * (rng.uniform(0.4, 2) * time + rng.random())
    )
    for _ in range(int(rng.integers(1, _BUMPS))):
        width = np.exp(rng.uniform(np.log(0.02), np.log(0.25)))
        curve += rng.normal() * np.exp(-0.5 * ((time - rng.uniform(0, 1)) / width) ** 2)
    return np.asarray(curve)
