"""Trunks of windows that are fitted at a plant, on its own records, and serve its own models alone.

Behind the public encoder's local features stand shares above thresholds that the plant's records
set (``minirocket``), and each channel's spectrum and moments in the plant's units. Nothing of them
is released: no release, no package and no head that travels knows of them. Labels have no part.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder.minirocket import LEAST_TIME, MiniRocket
from wg_common.nets.encoder.trunk import EncoderTrunk

LABEL = "plant-windows-1"
SHARES = 4956  # Half of what the paper has: time and memory for thousands of records
FITTED_ON = 512  # Windows that are looked at, evenly spread
_BANDS = 64
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_MOMENTS = 8 + len(_QUANTILES)
_FLOOR = 1e-4  # Of a spectrum, in units of the mean power of the plant's records


class PlantTrunk(EncoderTrunk):
    """Windows ``[n, C, T]`` to shares ``[SHARES]``, and moments and spectra of C channels.

    A window of fewer channels or samples than the plant's is padded with zeros.

    Args:
        channels: Number C.
        time: Samples of the shortest window that it was fitted on.
    """

    floor: Tensor

    def __init__(self, channels: int, time: int) -> None:
        super().__init__()
        self._channels, self._time = channels, max(time, LEAST_TIME)
        self.rocket = MiniRocket(channels, self._time, SHARES)
        self.register_buffer("floor", torch.ones(channels))

    @classmethod
    def fit(cls, records: Sequence[NDArray[np.floating]]) -> "PlantTrunk":
        """The trunk fitted on windows ``[C, T]``, at least one; T may differ."""
        rows = np.linspace(0, len(records) - 1, min(len(records), FITTED_ON)).astype(int)
        windows = [records[row] for row in dict.fromkeys(rows.tolist())]
        time = min(window.shape[1] for window in windows)
        trunk = cls(max(len(window) for window in windows), time)
        batch = torch.cat([trunk.prepare([window])[..., : trunk._time] for window in windows])
        trunk.rocket = MiniRocket.fit(batch.numpy(), np.random.default_rng(0), SHARES)
        trunk.floor.copy_(_FLOOR * batch.var(dim=2, correction=0).mean(dim=0) + 1e-30)
        return trunk.eval()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]]) -> "PlantTrunk":
        """The trunk of ``tensors``."""
        trunk = cls(len(tensors["floor"]), int(tensors["time"][0]))
        state = {n: torch.from_numpy(np.array(v)) for n, v in tensors.items() if n != "time"}
        trunk.load_state_dict(state)
        return trunk.eval()

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All that was fitted, for ``from_tensors``."""
        state = {name: value.numpy().copy() for name, value in self.state_dict().items()}
        return state | {"time": np.array([self._time], np.float32)}

    @property
    def label(self) -> str:
        """Name of its input in exports."""
        return LABEL

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(self.local_blocks)

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Shares; moments and spectra."""
        return SHARES, self._channels * (_MOMENTS + _BANDS)

    def layout(
        self, blocks: Sequence[int], counts: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Layout of an encoder's local features with these behind them.

        Args:
            blocks: Sizes of the encoder's blocks of local features without a public scale.
            counts: Number of these of each trunk.

        Returns:
            The same two; shares, and moments with spectra, are a trunk each.
        """
        return (*blocks, *self.local_blocks), (*counts, 1, 1)

    def bounds(self) -> float:
        """None is needed: nothing is released."""
        return float("inf")

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """One window ``[1, C, T]``."""
        (window,) = records
        x = torch.from_numpy(np.ascontiguousarray(window[: self._channels], dtype=np.float32))
        missing = max(0, self._time - x.shape[1])
        return F.pad(x, (0, missing, 0, self._channels - len(x)))[None]

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, width]``."""
        return torch.cat([self.rocket(batch), self._describe(batch).flatten(1)], dim=1)

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Features, block by block."""
        features = self(records)
        ends = itertools.accumulate(self.local_blocks, initial=0)
        return features, [features[:, a:b] for a, b in itertools.pairwise(ends)]

    def _describe(self, x: Tensor) -> Tensor:
        """Moments and logarithms of the spectrum of each channel, ``[n, C, moments + bands]``."""
        mean = x.mean(dim=-1, keepdim=True)
        deviations = x - mean
        std = deviations.square().mean(dim=-1, keepdim=True).sqrt()
        shape = deviations / (std + self.floor[:, None].sqrt())
        steps = x[..., 1:] - x[..., :-1]
        at = [round(q * (x.shape[-1] - 1)) for q in _QUANTILES]
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
        power = F.adaptive_avg_pool1d(line[..., 1:] / x.shape[-1], _BANDS)
        spectrum = torch.log(power + self.floor[:, None])
        levels = x.sort(dim=-1).values[..., at]
        return torch.cat([torch.stack(moments, dim=-1), levels, spectrum], dim=-1)
