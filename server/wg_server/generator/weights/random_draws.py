"""Random numbers and frequency responses for the machine simulators."""

import math

import torch
from torch import Tensor

SIMULATED_SAMPLE_COUNT = 1280  # Simulated samples per window; only the last WINDOW_SAMPLES are used
RESPONSE_SUMMARY_SIZE = 32
"""Number of values that summarise a frequency response."""
_RESONANCE_COUNT = 5


class RandomDraws:
    """Random number generator with one seed, which draws tensors of common distributions."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw numbers of the given shape, uniformly from ``low`` to ``high``."""
        return low + (high - low) * torch.rand(shape, generator=self._generator)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draw positive numbers from ``low`` to ``high``, with uniform logarithms."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers."""
        return torch.randn(shape, generator=self._generator)

    def choose(self, values: tuple[float, ...], count: int) -> Tensor:
        """Draw ``count`` values uniformly from ``values``, with replacement."""
        rows = torch.randint(len(values), (count,), generator=self._generator)
        return torch.tensor(values)[rows]

    def amplitudes(self, low_db: float, high_db: float, *shape: int) -> Tensor:
        """Draw amplitudes with levels uniform from ``low_db`` to ``high_db`` dB."""
        return amplitude_from_db(self.uniform(low_db, high_db, *shape))

    def phases(self, *shape: int) -> Tensor:
        """Draw phases in radians, uniformly from 0 to 2 pi."""
        return self.uniform(0, 2 * math.pi, *shape)

    def frequency_responses(self, sampling_rates: Tensor, sample_count: int) -> Tensor:
        """Draw frequency responses of structures with one to five damped resonances up to 9 kHz.

        Args:
            sampling_rates: Sampling rates, Hz, ``[m]``.
            sample_count: Number of samples of the signals.

        Returns:
            Complex responses ``[m, sample_count / 2 + 1]``.
        """
        count = len(sampling_rates)
        top = (0.45 * sampling_rates).clamp(max=9000)[:, None].log()
        low = (0.15 * sampling_rates).clamp(max=900)[:, None].log()
        peak = (
            low + (top - low) * self.uniform(0, 1, count, _RESONANCE_COUNT)
        ).exp() / sampling_rates[:, None]
        damping = self.log_uniform(0.01, 0.08, count, _RESONANCE_COUNT)
        gain = self.uniform(0.2, 1, count, _RESONANCE_COUNT)
        gain[:, 1:] *= self.uniform(0, 1, count, _RESONANCE_COUNT - 1) < 0.5
        f, p = torch.fft.rfftfreq(sample_count)[None, None], peak[..., None]
        resonator = p**2 / (p**2 - f**2 + 2j * damping[..., None] * p * f)
        total: Tensor = (gain[..., None] * damping[..., None] * resonator).sum(dim=1)
        return total


def amplitude_from_db(level_db: Tensor) -> Tensor:
    """Return the amplitude ``10^(level / 20)`` of a level in dB."""
    return torch.pow(10.0, level_db / 20)


def summarise_responses(power: Tensor) -> Tensor:
    """Return log amplitudes of power spectra in groups of bins, ``[m, RESPONSE_SUMMARY_SIZE]``.

    ``power`` is ``[m, 1 + n * RESPONSE_SUMMARY_SIZE]`` for n bins in a group; bin 0 is left out.
    """
    steps = power[:, 1:].reshape(len(power), RESPONSE_SUMMARY_SIZE, -1).mean(dim=2)
    return (steps + 1e-2).log() / 2
