"""A batch norm's affine part alone: scale and shift of each channel."""

import torch
from torch import Tensor, nn


class ChannelScale(nn.Module):
    """Scale and shift of each channel of ``[n, c, h, w]``. At rest it changes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = x * self.weight[:, None, None] + self.bias[:, None, None]
        return out
