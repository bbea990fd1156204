"""Trunk for sensor windows that a plant fits on its own records, for its own models only.

Its features are appended to the public encoder's local features: those of a MiniRocket transform
fitted on the plant's records (``minirocket``), and moments and spectrum of each channel in the
plant's units. Moments and spectra are separate blocks, because the many lines of a spectrum would
outweigh level and spread. No release, package or delivered head uses these features, and the fit
uses no labels.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder.minirocket import (
    FEATURE_COUNT,
    KERNEL_COUNT,
    KERNEL_SAMPLES,
    MiniRocket,
)
from wg_common.nets.encoder.trunk import EncoderTrunk

TRUNK_LABEL = "plant-windows-2"
ROCKET_FEATURE_COUNT = FEATURE_COUNT // 2 // KERNEL_COUNT * KERNEL_COUNT
"""Number of MiniRocket features: half of the paper's number, to save time and memory."""
MOST_FIT_WINDOWS = 512  # Largest number of windows that a trunk is fitted on, evenly spaced
_BAND_COUNT = 64
_QUANTILE_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_MOMENT_COUNT = 8 + len(_QUANTILE_LEVELS)
_SPECTRUM_FLOOR = 1e-4  # Floor of a spectrum, in units of the mean power of the plant's records


class PlantTrunk(EncoderTrunk):
    """Trunk from windows ``[n, C, T]`` to MiniRocket features, channel moments and spectra.

    Attributes:
        floor: Term added to each channel's power spectrum before its logarithm, ``[C]``.

    Args:
        channel_count: Number of channels C; a window with fewer channels is padded with zeros.
        sample_count: Number of samples in the shortest window of the fit; shorter ones are padded.
    """

    floor: Tensor

    def __init__(self, channel_count: int, sample_count: int) -> None:
        super().__init__()
        self._channels, self._time = channel_count, max(sample_count, KERNEL_SAMPLES)
        self.rocket = MiniRocket(channel_count, self._time, ROCKET_FEATURE_COUNT)
        self.register_buffer("floor", torch.ones(channel_count))

    @classmethod
    def fit(cls, records: Sequence[NDArray[np.floating]]) -> "PlantTrunk":
        """Fit a trunk on a plant's windows ``[C, T]``, at least one; their shapes may differ."""
        rows = np.linspace(0, len(records) - 1, min(len(records), MOST_FIT_WINDOWS)).astype(int)
        windows = [records[row] for row in dict.fromkeys(rows.tolist())]
        time = min(window.shape[1] for window in windows)
        trunk = cls(max(len(window) for window in windows), time)
        batch = torch.cat([trunk.prepare([window])[..., : trunk._time] for window in windows])
        trunk.rocket = MiniRocket.fit(batch.numpy(), np.random.default_rng(0), ROCKET_FEATURE_COUNT)
        trunk.floor.copy_(_SPECTRUM_FLOOR * batch.var(dim=2, correction=0).mean(dim=0) + 1e-30)
        return trunk.eval()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]]) -> "PlantTrunk":
        """Rebuild a plant's trunk from the tensors of ``PlantTrunk.tensors``."""
        trunk = cls(len(tensors["floor"]), int(tensors["time"][0]))
        state = {n: torch.from_numpy(np.array(v)) for n, v in tensors.items() if n != "time"}
        trunk.load_state_dict(state)
        return trunk.eval()

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the trunk's fitted tensors by name, for ``from_tensors``."""
        state = {name: value.numpy().copy() for name, value in self.state_dict().items()}
        return state | {"time": np.array([self._time], np.float32)}

    @property
    def label(self) -> str:
        """Name of the trunk's input in exported models."""
        return TRUNK_LABEL

    @property
    def width(self) -> int:
        """Number of features of the trunk."""
        return sum(self.local_block_sizes)

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Numbers of MiniRocket features, of channel moments, and of spectrum values."""
        return ROCKET_FEATURE_COUNT, self._channels * _MOMENT_COUNT, self._channels * _BAND_COUNT

    def extend_layout(
        self, block_sizes: Sequence[int], block_counts: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Extend an encoder's ``local_block_sizes`` and ``trunk_block_counts`` by this trunk.

        Args:
            block_sizes: Sizes of the encoder's blocks of local features without a public scale.
            block_counts: Number of blocks of each of its trunks.

        Returns:
            Both, extended; each block of this trunk counts as a trunk with one block.
        """
        return (*block_sizes, *self.local_block_sizes), (
            *block_counts,
            *(1 for _ in self.local_block_sizes),
        )

    def feature_bounds(self) -> float:
        """Return infinity: features that are never released need no bound."""
        return float("inf")

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert one window to a padded batch ``[1, C, T]``."""
        (window,) = records
        x = torch.from_numpy(np.ascontiguousarray(window[: self._channels], dtype=np.float32))
        missing = max(0, self._time - x.shape[1])
        return F.pad(x, (0, missing, 0, self._channels - len(x)))[None]

    def forward(self, batch: Tensor) -> Tensor:
        """Return features ``[n, width]`` of prepared windows."""
        moments_and_spectra = [part.flatten(1) for part in self._moments_and_spectra(batch)]
        return torch.cat([self.rocket(batch), *moments_and_spectra], dim=1)

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return features ``[n, width]`` of prepared windows, and the same features by block."""
        features = self(records)
        ends = itertools.accumulate(self.local_block_sizes, initial=0)
        return features, [features[:, a:b] for a, b in itertools.pairwise(ends)]

    def _moments_and_spectra(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channels' M moments ``[n, C, M]`` and B-band log spectra ``[n, C, B]``."""
        mean = x.mean(dim=-1, keepdim=True)
        deviations = x - mean
        std = deviations.square().mean(dim=-1, keepdim=True).sqrt()
        shape = deviations / (std + self.floor[:, None].sqrt())
        steps = x[..., 1:] - x[..., :-1]
        at = [round(q * (x.shape[-1] - 1)) for q in _QUANTILE_LEVELS]
        moments = [
            mean[..., 0],
            std[..., 0],
            x[..., 0],
            x[..., -1],
            steps.abs().mean(dim=-1),
            steps.square().mean(dim=-1).sqrt(),
            torch.asinh(shape.pow(3).mean(dim=-1)),
            torch.log(shape.pow(4).mean(dim=-1) + 1e-2),
        ]
        line = torch.view_as_real(torch.fft.rfft(deviations)).square().sum(dim=-1)
        power = F.adaptive_avg_pool1d(line[..., 1:] / x.shape[-1], _BAND_COUNT)
        spectrum = torch.log(power + self.floor[:, None])
        levels = x.sort(dim=-1).values[..., at]
        return torch.cat([torch.stack(moments, dim=-1), levels], dim=-1), spectrum
