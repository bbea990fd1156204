"""What both denoisers are built of: a transformer over tokens, driven by the diffusion time.

Adaptive layer norms that start as the identity (adaLN-Zero; Peebles and Xie, *Scalable Diffusion
Models with Transformers*, ICCV 2023). Tokens have no positions of their own. B episodes, N tokens,
width w.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

TIME_FEATURES = 32


class Block(nn.Module):
    """Self-attention, perhaps a look at other sites' rows of each class, and a perceptron."""

    def __init__(self, width: int, heads: int, *, looks: bool = False) -> None:
        super().__init__()
        self.heads = heads
        norms = 3 if looks else 2
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, elementwise_affine=False) for _ in range(norms)
        )
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        if looks:
            self.query = nn.Linear(width, width)
            self.key_value = nn.Linear(width, 2 * width)
            self.nothing = nn.Parameter(torch.zeros(1, 1, 1, 2 * width))
            self.memory_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )
        self.modulation = nn.Linear(width, 3 * norms * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        drive: Tensor,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Tokens after the block.

        Args:
            x: ``[B, N, w]``; where the block looks, the first K are classes.
            mask: Which tokens are seen, bool ``[B, N]``.
            drive: ``[B, w]``: time and what is known of the whole.
            memory: Rows of other sites of each class, ``[B, K, M, w]``.
            memory_mask: Which of them are there, bool ``[B, K, M]``.
        """
        shifts = self.modulation(drive).unsqueeze(1).chunk(3 * len(self.norms), dim=-1)
        h = self.norms[0](x) * (1 + shifts[0]) + shifts[1]
        q, k, v = (_split(part, self.heads) for part in self.qkv(h).chunk(3, dim=-1))
        attention = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + (1 + shifts[2]) * self.out(_merge(attention))
        if memory is not None and memory_mask is not None:
            classes = memory.shape[1]
            tokens = x[:, :classes]
            h = self.norms[1](tokens) * (1 + shifts[3]) + shifts[4]
            tokens = tokens + (1 + shifts[5]) * self.memory_out(self._look(h, memory, memory_mask))
            x = torch.cat([tokens, x[:, classes:]], dim=1)
        scale, shift, gate = shifts[-3:]
        h = self.norms[-1](x) * (1 + scale) + shift
        out: Tensor = x + (1 + gate) * self.mlp(h)
        return out

    def _look(self, h: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Each class looks at its own rows of other sites, or at nothing. ``[B, K, w]``."""
        b, k, _ = h.shape
        kv = self.key_value(memory)  # [B, K, M, 2w]
        kv = torch.cat([self.nothing.expand(b, k, 1, -1), kv], dim=2)
        key, value = (part.flatten(0, 1) for part in kv.chunk(2, dim=-1))
        query = self.query(h).reshape(b * k, 1, -1)
        attention_mask = torch.cat([torch.ones_like(mask[..., :1]), mask], dim=2).reshape(
            b * k, 1, 1, -1
        )
        attention = F.scaled_dot_product_attention(
            _split(query, self.heads),
            _split(key, self.heads),
            _split(value, self.heads),
            attn_mask=attention_mask,
        )
        return _merge(attention).reshape(b, k, -1)


class TimeEmbedding(nn.Sequential):
    """Times ``[B]`` to ``[B, w]``."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """Sines and cosines of the times, through two layers."""
        count = TIME_FEATURES // 2
        rate = torch.linspace(0, math.log(100.0), count, dtype=time.dtype, device=time.device)
        angle = time[:, None] * torch.exp(rate)
        waves = torch.cat([angle.sin(), angle.cos()], dim=1)
        out: Tensor = super().forward(waves)  # type: ignore[no-untyped-call]
        return out


def zeroed(*layers: nn.Linear) -> None:
    """Set layers to zero, so that what they add begins at nothing."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def draw_linear(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer, uniform within 1/sqrt(fan-in); what is zero stays zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.weight.any():
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)


def padded(array: NDArray[Any], *sizes: int) -> NDArray[Any]:
    """An array with zeros after its own in its first axes, up to ``sizes``."""
    output = np.zeros((*sizes, *array.shape[len(sizes) :]), array.dtype)  # ``np.pad`` takes longer
    output[tuple(map(slice, array.shape))] = array
    return output


def stacked(arrays: Sequence[NDArray[Any]], *sizes: int) -> Tensor:
    """Arrays of B episodes, their first axes padded to ``sizes``: ``[B, *sizes, ...]``."""
    return torch.from_numpy(np.stack([padded(array, *sizes) for array in arrays]))


def mask(counts: Sequence[int], length: int) -> Tensor:
    """Which of ``length`` places are an episode's own, bool ``[B, length]``."""
    return torch.arange(length)[None] < torch.tensor(counts)[:, None]


def _split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-3, -2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(-3, -2).flatten(-2)
