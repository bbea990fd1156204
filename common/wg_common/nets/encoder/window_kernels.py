"""Kernels over mixed channels: what a window says to its own plant, and never leaves it.

The 84 kernels of MiniRocket (Dempster et al. 2021, arXiv 2012.08791) at seven dilations, each over
a few channels added up in their own units. MiniRocket pools a response by shares above thresholds
that it takes from training data. Here thresholds are in units of the response's root mean square,
so that nothing is fitted: the columns are one public function for every plant, whatever its units.
Columns are shares of responses above thresholds and the logarithm of the root mean square. Level is
seen at the ends of a window, where zeros follow.

Columns have no scale in common, since units have none: a plant scales each by how much its own
records vary (``wg_client.fitting.feature_scaling``).

Nothing here is random or learnt: which channels go together is read from bits of a hash.
"""

import functools
import hashlib
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_core.site.reading import CHANNELS_LIMIT

DILATIONS = (1, 2, 4, 8, 16, 32, 64)
_SHORT_DILATIONS = 4  # Of these, those that the short grid of 128 samples has room for
_KERNELS = 84
_PLACES = 128  # Places of a window at which a kernel responds
_THRESHOLDS = (-1.5, -1.0, -0.6, -0.25, 0.0, 0.25, 0.6, 1.0, 1.5)
_MIXED = 9  # Most channels that one kernel sees

WIDTH = len(DILATIONS) * _KERNELS * (len(_THRESHOLDS) + 1)


class WindowKernels(nn.Module):
    """Views ``[n, C, 1 + S, L]`` of ``window_trunk.prepare`` to columns.

    Columns of dilations that the short grid has no room for are zero.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", minirocket(), persistent=False)

    def forward(self, views: Tensor) -> Tensor:
        """Shares and sizes ``[n, WIDTH]``: of each piece, and their mean over pieces."""
        pieces = views[:, :, 1:]
        length = pieces.shape[-1]
        shown = DILATIONS if length > _PLACES else DILATIONS[:_SHORT_DILATIONS]
        mix = torch.from_numpy(mixes(pieces.shape[1])).clone()
        dilations = []
        for number, dilation in enumerate(shown):
            padded_pieces = F.pad(pieces, (4 * dilation, 4 * dilation))
            near = padded_pieces.unfold(-1, 8 * dilation + 1, length // _PLACES)[..., ::dilation]
            responses = near @ self.kernels.T  # [n, C, S, places, 84]
            response = torch.einsum("ncspj,jc->nsjp", responses, mix[number])
            size = response.square().mean(dim=-1, keepdim=True).sqrt() + 1e-9
            response = response / size
            loudness = torch.log10(size)
            above = [(response > threshold).float().mean(dim=-1) for threshold in _THRESHOLDS]
            dilations.append(torch.cat([torch.stack(above, dim=-1), loudness], dim=-1).mean(dim=1))
        columns = torch.stack(dilations, dim=1).flatten(1)
        return F.pad(columns, (0, WIDTH - columns.shape[1]))


def minirocket() -> Tensor:
    """The 84 kernels of MiniRocket, ``[84, 9]``, of unit norm."""
    kernels = torch.full((_KERNELS, 9), -1.0)
    for row, places in enumerate(itertools.combinations(range(9), 3)):
        kernels[row, list(places)] = 2.0
    return kernels / math.sqrt(18)


@functools.lru_cache(maxsize=8)
def mixes(channels: int) -> NDArray[np.float32]:
    """Which of C channels each kernel adds up, 0 or 1, ``[7, 84, C]``.

    Their number is drawn log-uniformly from 1 to 9, or to C where that is less.
    """
    keys = _keys()
    count = (min(channels, _MIXED) + 1) ** (keys[..., :1] / 2.0**32)
    order = keys[..., 1 : channels + 1].argsort(axis=-1, kind="stable").argsort(axis=-1)
    return np.asarray(order < np.floor(count), dtype=np.float32)


def digest() -> str:
    """SHA-256 of all that is fixed in the columns, hex."""
    code = hashlib.sha256(f"kernels-3 {DILATIONS} {_PLACES} {_THRESHOLDS} {_MIXED}".encode())
    code.update(minirocket().numpy().tobytes())
    code.update(_keys().tobytes())
    return code.hexdigest()


@functools.cache
def _keys() -> NDArray[np.uint32]:
    """Bits of a hash, ``[7, 84, 1 + CHANNELS_LIMIT]``: how many channels, and in which order."""
    shape = len(DILATIONS), _KERNELS, 1 + CHANNELS_LIMIT
    bits = hashlib.shake_256(b"weightgate window mixes").digest(4 * math.prod(shape))
    return np.frombuffer(bits, "<u4").reshape(shape)
