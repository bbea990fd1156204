"""Convolution features of sensor windows that need no fit, for a plant's own models.

The 84 kernels of MiniRocket (Dempster et al. 2021, arXiv 2012.08791) run at seven dilations, each
on the sum of a few channels in their own units. As in MiniRocket, features are shares of responses
above thresholds. Here thresholds are in units of the response's root mean square, so that nothing
is fitted and all plants compute the same function; the logarithm of the root mean square is another
feature. Padding with zeros makes the mean of a window visible at its ends.

Features have no common scale, because channels have different units: a plant scales each feature by
the variation of its own records (``wg_client.fitting.feature_scaling``).

Nothing here is random or learnt: bits of a hash select the channels of each kernel.
"""

import functools
import hashlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.nets.encoder.minirocket import KERNEL_COUNT, MOST_MIXED_CHANNELS, minirocket_kernels
from wg_core.site.reading_config import CHANNELS_LIMIT

DILATIONS = (1, 2, 4, 8, 16, 32, 64)
_SHORT_DILATION_COUNT = 4  # Number of dilations that fit into the short grid of 128 samples
RESPONSE_POSITIONS = 128  # Number of positions in a window at which a kernel's response is computed
_RESPONSE_THRESHOLDS = (-1.5, -1.0, -0.6, -0.25, 0.0, 0.25, 0.6, 1.0, 1.5)  # In root mean squares

FEATURE_COUNT = len(DILATIONS) * KERNEL_COUNT * (len(_RESPONSE_THRESHOLDS) + 1)


class WindowKernels(nn.Module):
    """Map from views of windows (``window_trunk.window_views``) to convolution features.

    For short windows, the features of dilations that do not fit are zero.
    """

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", unit_kernels(), persistent=False)

    def forward(self, views: Tensor) -> Tensor:
        """Compute features ``[n, 5880]`` of n windows: means over the S pieces of each window.

        ``views`` ``[n, C, 1 + S, L]`` has, per channel, the whole window (unused), then the pieces.
        """
        pieces = views[:, :, 1:]
        length = pieces.shape[-1]
        visible_dilations = (
            DILATIONS if length > RESPONSE_POSITIONS else DILATIONS[:_SHORT_DILATION_COUNT]
        )
        mix = torch.from_numpy(channel_masks(pieces.shape[1])).clone()
        dilations = []
        for number, dilation in enumerate(visible_dilations):
            padded_pieces = F.pad(pieces, (4 * dilation, 4 * dilation))
            near = padded_pieces.unfold(-1, 8 * dilation + 1, length // RESPONSE_POSITIONS)[
                ..., ::dilation
            ]
            responses = near @ self.kernels.T  # [n, C, S, places, 84]
            response = torch.einsum("ncspj,jc->nsjp", responses, mix[number])
            size = response.square().mean(dim=-1, keepdim=True).sqrt() + 1e-9
            response = response / size
            loudness = torch.log10(size)
            above = [
                (response > threshold).float().mean(dim=-1) for threshold in _RESPONSE_THRESHOLDS
            ]
            dilations.append(torch.cat([torch.stack(above, dim=-1), loudness], dim=-1).mean(dim=1))
        columns = torch.stack(dilations, dim=1).flatten(1)
        return F.pad(columns, (0, FEATURE_COUNT - columns.shape[1]))


def unit_kernels() -> Tensor:
    """Return the 84 kernels of MiniRocket scaled to unit norm, ``[84, 9]``."""
    return minirocket_kernels() / math.sqrt(18)


@functools.lru_cache(maxsize=8)
def channel_masks(channel_count: int) -> NDArray[np.float32]:
    """Return masks ``[7, 84, C]`` of the channels that each kernel sums, 0 or 1.

    The number of channels is log-uniform from 1 to the smaller of 9 and C.
    """
    keys = _channel_hash_bits()
    count = (min(channel_count, MOST_MIXED_CHANNELS) + 1) ** (keys[..., :1] / 2.0**32)
    order = keys[..., 1 : channel_count + 1].argsort(axis=-1, kind="stable").argsort(axis=-1)
    return np.asarray(order < np.floor(count), dtype=np.float32)


def kernel_digest() -> str:
    """Return the SHA-256 of all that determines the features of ``WindowKernels``, hex."""
    constants = (DILATIONS, RESPONSE_POSITIONS, _RESPONSE_THRESHOLDS, MOST_MIXED_CHANNELS)
    code = hashlib.sha256(" ".join(["kernels-3", *map(str, constants)]).encode())
    code.update(unit_kernels().numpy().tobytes())
    code.update(_channel_hash_bits().tobytes())
    return code.hexdigest()


@functools.cache
def _channel_hash_bits() -> NDArray[np.uint32]:
    """Return hash bits that select each kernel's channels, ``[7, 84, 1 + CHANNELS_LIMIT]``."""
    shape = len(DILATIONS), KERNEL_COUNT, 1 + CHANNELS_LIMIT
    bits = hashlib.shake_256(b"weightgate window mixes").digest(4 * math.prod(shape))
    return np.frombuffer(bits, "<u4").reshape(shape)
