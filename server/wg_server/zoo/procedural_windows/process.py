"""Simple models of processes and control loops, with faults that affect some of many variables.

Variables follow a few common causes, which vary slowly, and noise of their own. A class affects
some of them: by a step, a ramp, an oscillation, noise, a sensor or valve that sticks, impulses, or
a level that represents a stage of wear. The disturbance begins before the window or within it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from wg_common.modalities.sensors import coloured_noise
from wg_server.zoo.procedural_windows.machine import Floats, Ints, log_normal_jitter

FAULT_EFFECTS = ("step", "ramp", "oscillation", "noise", "stuck", "impulses")
_COMMON_CAUSE_COUNT = 3  # Number of common causes


@dataclass(frozen=True, slots=True, eq=False)
class ProcessModel:
    """Simulated process or control loop, with the faults that are its classes.

    Attributes:
        labels: Names of the classes.
        resting_values: Resting value of each variable, ``[V]``.
        variable_spreads: Spread of each variable, ``[V]``.
        cause_loadings: Weight of each common cause in each variable, ``[V, 3]``.
        noise_exponents: Exponents of the coloured noise of common causes, and of the variables' own
            noise.
        effect_strengths: Strength of each of ``FAULT_EFFECTS`` by class and variable, ``[K, 6,
            V]``.
        oscillation_rates: Frequency of each class's oscillation in cycles per sample, ``[K]``.
        present_from_start_share: Share of windows in which the disturbance is present from the
            start.
        log_strength_deviation: Standard deviation of the log strength between windows.
        resting_value_spread: Spread of the resting values between windows, in units of
            ``variable_spreads``.
    """

    labels: tuple[str, ...]
    resting_values: Floats
    variable_spreads: Floats
    cause_loadings: Floats
    noise_exponents: tuple[float, float]
    effect_strengths: Floats
    oscillation_rates: Floats
    present_from_start_share: float
    log_strength_deviation: float
    resting_value_spread: float

    @property
    def signal_count(self) -> int:
        """Number V of the process's variables."""
        return len(self.resting_values)

    def vary_for_site(self, rng: np.random.Generator, strength: float) -> ProcessModel:
        """Return another site's process; its values differ by ``strength``, 0 to 1."""
        v = len(self.resting_values)
        return dataclasses.replace(
            self,
            resting_values=self.resting_values
            + 0.5 * strength * self.variable_spreads * rng.normal(size=v),
            variable_spreads=log_normal_jitter(rng, self.variable_spreads, 0.15 * strength),
            cause_loadings=self.cause_loadings
            + 0.2 * strength * rng.normal(size=self.cause_loadings.shape),
            effect_strengths=log_normal_jitter(rng, self.effect_strengths, 0.25 * strength),
            oscillation_rates=log_normal_jitter(rng, self.oscillation_rates, 0.15 * strength),
        )

    def simulate_windows(
        self, rng: np.random.Generator, labels: Ints, sample_count: int, relative_interval: float
    ) -> Floats:
        """Simulate windows of all variables, float64 ``[n, V, T]``.

        Args:
            rng: Random generator of the differences between windows.
            labels: Class of each window, ``[n]``.
            sample_count: Number of samples T of a window.
            relative_interval: Time between samples, relative to the nominal one.
        """
        n, v = len(labels), len(self.resting_values)
        causes = coloured_noise(
            rng, (n, _COMMON_CAUSE_COUNT, sample_count), self.noise_exponents[0]
        )
        signal = np.einsum("vf,nft->nvt", self.cause_loadings, causes)
        signal += 0.5 * coloured_noise(rng, (n, v, sample_count), self.noise_exponents[1])
        signal += self.resting_value_spread * rng.normal(size=(n, v, 1))
        force = self.effect_strengths[labels] * log_normal_jitter(
            rng, np.ones((n, 1, 1)), self.log_strength_deviation
        )  # [n, 6, V]
        time = np.arange(sample_count) / sample_count
        start = np.where(
            rng.random(n) < self.present_from_start_share, -1.0, rng.uniform(-0.3, 0.6, n)
        )
        since = time - start[:, None]  # [n, T]
        rise = np.clip(since / 0.1, 0, 1)
        signal += force[:, 0, :, None] * rise[:, None]
        signal += force[:, 1, :, None] * np.maximum(since, 0)[:, None]
        turn = (
            2
            * np.pi
            * (self.oscillation_rates[labels] * relative_interval)[:, None]
            * np.arange(sample_count)
        )
        wave = np.sin(turn + 2 * np.pi * rng.random((n, 1))) * rise
        signal += force[:, 2, :, None] * wave[:, None]
        hiss = rng.normal(size=(n, v, sample_count)) * rise[:, None]
        signal += force[:, 3, :, None] * hiss
        frozen = signal[
            np.arange(n), :, np.clip((start * sample_count).astype(int), 0, sample_count - 1)
        ]
        is_stuck = np.clip(np.abs(force[:, 4, :, None]), 0, 1) * (since > 0)[:, None]
        signal = (1 - is_stuck) * signal + is_stuck * frozen[:, :, None]
        hits = (rng.random((n, 1, sample_count)) < 3 / sample_count) * rise[:, None]
        signal += 2 * force[:, 5, :, None] * hits
        return np.asarray(self.resting_values[:, None] + self.variable_spreads[:, None] * signal)


def draw_process_model(rng: np.random.Generator) -> ProcessModel:
    """Draw a process whose classes are normal operation, and either faults or stages of wear."""
    v = int(rng.choice([rng.integers(3, 10), rng.integers(10, 25), rng.integers(25, 56)]))
    is_worn = rng.random() < 0.2
    k = int(rng.integers(3, 6)) if is_worn else int(rng.integers(2, 10))
    effects = np.zeros((k, len(FAULT_EFFECTS), v))
    strength = np.exp(rng.uniform(np.log(0.5), np.log(4.0)))
    names = ["normal"]
    if is_worn:
        way = rng.normal(size=(2, v)) * (rng.random(v) < 0.6)
        for row in range(k):
            stage = (row / (k - 1)) ** rng.uniform(0.8, 1.5)
            effects[row, :2] = strength * stage * way * np.array([[1.0], [0.3 * stage]])
        names += [f"worn-{row}" for row in range(1, k)]
    else:
        for row in range(1, k):
            chosen_effects = rng.permutation(len(FAULT_EFFECTS))[: int(rng.integers(1, 3))]
            names.append(f"{FAULT_EFFECTS[int(chosen_effects[0])]}-{row}")
            is_touched = rng.random(v) < max(1.5 / v, rng.uniform(0.05, 0.5))
            is_touched[int(rng.integers(v))] = True
            for effect in chosen_effects:
                sign = rng.choice([-1.0, 1.0], v)
                effects[row, effect] = (
                    is_touched * sign * log_normal_jitter(rng, np.full(v, strength), 0.5)
                )
            effects[row, 3:] = np.abs(effects[row, 3:])
    units = rng.random() < 0.5
    scale = 10 ** rng.uniform(-2, 2, v) if units else np.ones(v)
    level = scale * 10 ** rng.uniform(0, 2, v) if units else 0.3 * rng.normal(size=v)
    return ProcessModel(
        labels=tuple(names),
        resting_values=level,
        variable_spreads=scale,
        cause_loadings=rng.normal(size=(v, _COMMON_CAUSE_COUNT)) * rng.uniform(0.1, 0.6),
        noise_exponents=(float(rng.uniform(0.5, 2)), float(rng.uniform(0, 1.2))),
        effect_strengths=effects,
        oscillation_rates=np.exp(rng.uniform(np.log(0.02), np.log(0.25), k)),
        present_from_start_share=float(rng.choice([1.0, 0.5, 0.2])),
        log_strength_deviation=float(rng.uniform(0.1, 0.5)),
        resting_value_spread=float(rng.uniform(0.05, 0.6)),
    )
