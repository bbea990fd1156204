"""Random draws and signals shared by the machine simulators."""

import math

import torch
from torch import Tensor

SIMULATED_SAMPLES = 1280  # Simulated samples; those before the last WINDOW are a transient
CURVE_POINTS = 32
"""Number of values that describe a structure's response."""
_RESONANCES = 5


class RandomDraws:
    """Generator of random draws for simulators, seeded once at construction."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw numbers uniformly from an interval."""
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw numbers whose logarithms are uniform over an interval."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers of a given shape."""
        return torch.randn(shape, generator=self._generator)

    def choices(self, values: tuple[float, ...], count: int) -> Tensor:
        """Draw ``count`` values uniformly from ``values``, with replacement."""
        rows = torch.randint(len(values), (count,), generator=self._generator)
        return torch.tensor(values)[rows]

    def amplitudes(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw amplitudes whose levels in dB are uniform over an interval."""
        return amplitude_from_db(self.uniform(low, high, *shape))

    def phases(self, *shape: int) -> Tensor:
        """Draw uniform phases of sines, in radians."""
        return self.uniform(0, 2 * math.pi, *shape)

    def frequency_responses(self, rate: Tensor, size: int) -> Tensor:
        """Draw frequency responses of structures with one to five damped resonances up to 9 kHz.

        Args:
            rate: Sampling rates, Hz, ``[m]``.
            size: Number of samples of the signals.

        Returns:
            Complex responses ``[m, size / 2 + 1]``.
        """
        count = len(rate)
        top = (0.45 * rate).clamp(max=9000)[:, None].log()
        low = (0.15 * rate).clamp(max=900)[:, None].log()
        peak = (low + (top - low) * self.uniform(0, 1, count, _RESONANCES)).exp() / rate[:, None]
        damping = self.log_uniform(0.01, 0.08, count, _RESONANCES)
        gain = self.uniform(0.2, 1, count, _RESONANCES)
        gain[:, 1:] *= self.uniform(0, 1, count, _RESONANCES - 1) < 0.5
        f, p = torch.fft.rfftfreq(size)[None, None], peak[..., None]
        resonator = p**2 / (p**2 - f**2 + 2j * damping[..., None] * p * f)
        total: Tensor = (gain[..., None] * damping[..., None] * resonator).sum(dim=1)
        return total


def amplitude_from_db(level: Tensor) -> Tensor:
    """Return the amplitude of a level in dB."""
    return torch.pow(10.0, level / 20)


def summarise_responses(power: Tensor) -> Tensor:
    """Summarise responses ``[m, 1 + n * CURVE_POINTS]`` by ``CURVE_POINTS`` values of order 1."""
    steps = power[:, 1:].reshape(len(power), CURVE_POINTS, -1).mean(dim=2)
    return (steps + 1e-2).log() / 2
