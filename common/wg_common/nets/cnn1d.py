"""Small convolutional networks for sensor windows, for any channels, length and unit.

One trunk looks at each channel by itself: five 1-D convolutions with group norm on two views, the
whole window and a piece of it at its own rate. Half of the first filters see each. What they find
(mean and standard deviation over time, at two scales), the channel's course and its level are
pooled over channels: mean, standard deviation, and sums of a few combinations under fixed signs,
which keep *which* channel did what (but for one pair of channels in 256, whose signs are equal). A
channel that is not there adds nothing, so that windows of different channels share a batch.

Shape is seen after standardisation. Level enters as the window encoder has it, as the phase of a
logarithm, which is bounded whatever the unit (``wg_common.nets.encoder.window_trunk.level``).
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.nets.cnn import Block
from wg_common.nets.encoder import window_trunk as encoder_trunk
from wg_common.nets.network import Kind

LENGTH = 512  # Samples of a view
ROW = 2 * LENGTH + encoder_trunk.LEVEL + 1
"""Numbers that a channel becomes: two views, its level, and 1 for being there."""
SIGNS = 8  # Signs of a channel

_COURSE = 32
_CODED = 16
_BATCH = 64
Windows = encoder_trunk.Windows


class Cnn1d(nn.Module):
    """Prepared windows ``[n, C, ROW]`` to features ``[n, features]``."""

    signs: Tensor

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                _block(2, width, 16, 4, groups=2),
                _block(width, 2 * width, 5, 2),
                _block(2 * width, 2 * width, 5, 1),
                _block(2 * width, 4 * width, 5, 2),
                _block(4 * width, 4 * width, 5, 1),
            ]
        )
        described = 2 * (2 * width) + 2 * (4 * width) + _COURSE + encoder_trunk.LEVEL
        self.code = nn.Linear(described, _CODED, bias=False)
        self.project = nn.Linear(2 * described + _CODED * SIGNS, features)
        signs = encoder_trunk.channel_signs()[:, :SIGNS]
        self.register_buffer("signs", signs, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Features ``[n, features]``."""
        channels = windows.shape[1]
        present = windows[..., -1:]  # [n, C, 1]
        x = windows[..., : 2 * LENGTH].reshape(-1, 2, LENGTH)  # [n C, 2, L]
        course = F.adaptive_avg_pool1d(x[:, :1], _COURSE).flatten(1)
        columns = [course, windows[..., 2 * LENGTH : -1].flatten(0, 1)]
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n C, c, l]
            if number in (2, 4):
                mean = x.mean(dim=2, keepdim=True)
                columns += [mean.flatten(1), _root((x - mean).square().mean(dim=2))]
        flat = torch.cat(columns, dim=1)  # [n C, d]
        by_channel = flat.reshape(-1, channels, flat.shape[1]) * present  # [n, C, d]
        count = present.sum(dim=1)  # [n, 1]
        mean = by_channel.sum(dim=1) / count
        deviations = (by_channel - mean.unsqueeze(1)) * present
        # Weights may be called in from elsewhere.
        signs = self.signs[:channels].to(by_channel.device)
        coded = torch.einsum("ncr,cq->nrq", self.code(by_channel), signs)
        pooled = [
            mean,
            _root(deviations.square().sum(dim=1) / count),
            coded.flatten(1) / count.sqrt(),
        ]
        out: Tensor = self.project(torch.cat(pooled, dim=1))
        return out


def _block(inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1) -> Block:
    pad = (kernel - 1) // 2
    conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=pad, groups=groups, bias=False)
    return Block(conv, outputs, skip=stride == 1)


def prepared(windows: Windows) -> NDArray[np.float16]:
    """Valid windows of any shapes as one batch, for training.

    Both views are standardised by mean and deviation of the channel's whole window, and their tails
    compressed by asinh. The whole is interpolated to ``LENGTH`` samples, or averaged where there
    are more; then the second view is the middle at the window's own rate, else the whole again.

    Returns:
        float16 ``[n, C, ROW]``, C being the most channels of a window; zeros where a window has
        fewer.
    """
    channels = max((len(window) for window in windows), default=1)
    views = np.zeros((len(windows), channels, ROW), np.float16)
    for rows in _alike(windows):
        batch = np.stack([windows[row] for row in rows]).astype(np.float64)  # [m, C, T]
        views[rows, : batch.shape[1]] = _views(torch.from_numpy(batch)).numpy()
    return views


def _alike(windows: Windows) -> Iterator[list[int]]:
    """Numbers of windows of one shape, some at a time."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for row, window in enumerate(windows):
        shapes.setdefault(window.shape, []).append(row)
    for rows in shapes.values():
        yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def _views(x: Tensor) -> Tensor:
    """Channels ``[m, C, ROW]`` of windows ``[m, C, T]``."""
    time = x.shape[-1]
    mean = x.mean(dim=-1, keepdim=True)
    std = (x - mean).square().mean(dim=-1, keepdim=True).sqrt()
    z = (x - mean) / (std + 1e-6 * mean.abs() + 1e-12)
    if time <= LENGTH:
        overview = piece = F.interpolate(z, LENGTH, mode="linear", align_corners=True)
    else:
        start = (time - LENGTH) // 2
        overview, piece = F.adaptive_avg_pool1d(z, LENGTH), z[..., start : start + LENGTH]
    level = encoder_trunk.level(mean[..., 0].float(), std[..., 0].float())
    present = torch.ones_like(mean)
    return torch.cat([overview.asinh(), piece.asinh(), level.double(), present], dim=-1)


def _root(variance: Tensor) -> Tensor:
    return torch.sqrt(variance + 1e-6)


NETWORK = Kind(trunk=Cnn1d, prepare=prepared, last=("blocks.3.", "blocks.4.", "code", "project"))
