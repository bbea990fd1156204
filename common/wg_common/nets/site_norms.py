"""Norms whose outputs each site standardises by its own records, and what is sent of them.

What a camera changes of an image, the channels of a small network carry from layer to layer. Each
site takes the mean and the spread of every channel over its own records out behind each norm,
before the norm's affine map, so that all layers see sites alike. This is the adaptation by norms of
Li et al. (Pattern Recognition 80, 2018), with one difference: the trunk is *trained* so, by made-up
sites (``wg_server.zoo.networks``), as in Chang et al. (CVPR 2019).

What is taken out says what the camera is, and the best network behind a noisy camera is another one
than behind a sharp one. So the means and spreads behind the first norm, of edges and patches, are a
condition: of them a few numbers make a factor and a shift for every channel of all norms
(``Modulation``, as in Perez et al., AAAI 2018).

All of these are affine maps of a channel: for one site they are one, and its trunk is an ordinary
one. What travels is the trunk of a typical site and what makes every site's trunk of it
(``wg_common.inference.family_head.NetworkHead``, ``at_site``). One record never changes another's
output afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.inference.family_head import NetworkHead
from wg_common.nets import network
from wg_common.nets.network import Tensors

Floats = NDArray[np.float64]

_MEASURED = 256
"""Records at most that say what a site's channels are: a norm sees hundreds of places of each."""
_TINY = 1e-3
"""Added to a variance before its root is taken: EfficientNet was trained with it."""
_LEAST = 0.05
"""Added to the spread of a number over sites before it is divided by it."""


class ChannelScale(nn.Module):
    """A batch norm's affine part alone: scale and shift of each channel of ``[n, c, h, w]``.

    At rest it changes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = x * self.weight[:, None, None] + self.bias[:, None, None]
        return out


class SiteNorm(nn.Module):
    """A norm that standardises its channels over each site's records, before its affine map.

    Attributes:
        weight: Weight of the affine map, ``[c]``.
        bias: The same.
        sites: Number of sites in a batch; as many records of each, one site after another.
        seen: Mean and log spread of the channels at each site of the last batch, ``[sites, 2, c]``.
        heard: Is told of these before they are used; None: nobody is.
        change: Log factor on, and shift of, the affine map at each site, ``[sites, 2, c]``; None:
            there is none.
    """

    seen: Tensor

    def __init__(self, norm: ChannelScale) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.sites = 1
        self.heard: Callable[[Tensor], None] | None = None
        self.change: Tensor | None = None

    @property
    def channels(self) -> int:
        """Their number c."""
        return len(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, ``[n, c, h, w]``."""
        sites = input.chunk(self.sites)
        if self.heard is not None:
            self.heard(torch.stack([_moments(part) for part in sites]))
        weight, bias = self.weight.expand(self.sites, -1), self.bias.expand(self.sites, -1)
        if self.change is not None:
            weight, bias = weight * self.change[:, 0].exp(), bias + self.change[:, 1]
        outputs, moments = [], []
        for part, scale, shift in zip(sites, weight, bias, strict=True):
            # A batch norm that is always in training: a site is its batch.
            out, mean, inverse = torch.native_batch_norm(
                part, scale, shift, None, None, True, 0.0, _TINY
            )
            outputs.append(out)
            moments.append(torch.stack([mean.detach(), -inverse.detach().log()]))
        self.seen = torch.stack(moments)
        return torch.cat(outputs)


def _moments(part: Tensor) -> Tensor:
    """Mean and log spread ``[2, c]`` of one site's ``[n, c, h, w]``."""
    variance, mean = torch.var_mean(part.detach(), dim=(0, 2, 3), correction=0)
    return torch.stack([mean, (variance + _TINY).log() / 2])


class Modulation(nn.Module):
    """Map from a site's first norm to the affine maps of all norms; zero at first.

    Args:
        first: Channels c of the first norm.
        total: Channels N of all norms.
        rank: Numbers R between them.
        rng: Draws the weights.
    """

    def __init__(self, channels: int, total: int, rank: int, rng: np.random.Generator) -> None:
        super().__init__()
        initial_weights = rng.uniform(-1, 1, (rank, 2 * channels + 1)) / math.sqrt(2 * channels)
        self.inner = nn.Parameter(torch.from_numpy(initial_weights.astype(np.float32)))
        self.outer = nn.Parameter(torch.zeros(2 * total, rank + 1))

    def look_at(self, moments: Tensor) -> None:
        """Start from numbers that are alike: standardise by sites, of which ``[C, 2, c]`` are seen.

        Means and spreads go into the weights.
        """
        flat = moments.flatten(1)
        with torch.no_grad():
            self.inner[:, :-1] /= flat.std(dim=0) + _LEAST
            self.inner[:, -1] -= self.inner[:, :-1] @ flat.mean(dim=0)

    def forward(self, moments: Tensor) -> Tensor:
        """Log factors and shifts ``[sites, 2, N]`` from ``[sites, 2, c]`` of the first norm."""
        hidden_layer = torch.tanh(
            F.linear(moments.flatten(1), self.inner[:, :-1], self.inner[:, -1])
        )
        changes = F.linear(hidden_layer, self.outer[:, :-1], self.outer[:, -1])
        return changes.view(len(moments), 2, -1)


class SiteNorms:
    """All norms of a trunk that sites standardise, in the trunk's order.

    Attributes:
        norms: These.
        modulation: What changes their affine maps by the first one; None: nothing does.
    """

    def __init__(self, norms: list[SiteNorm]) -> None:
        self.norms = norms
        self.modulation: Modulation | None = None

    def modulate(self, by: Modulation) -> None:
        """Have the first norm change the affine maps of all."""
        self.modulation = by
        self.norms[0].heard = self._tell

    @contextmanager
    def together(self, sites: int) -> Iterator[None]:
        """Within it batches are of so many sites."""
        for norm in self.norms:
            norm.sites = sites
        try:
            yield
        finally:
            for norm in self.norms:
                norm.sites = 1

    def site_moments(self) -> Floats:
        """Mean and log spread ``[2, N]`` of the one site of the last batch."""
        moments = np.concatenate([norm.seen[0].numpy() for norm in self.norms], axis=1)
        return moments.astype(np.float64)

    def fold(self, site: Floats) -> None:
        """Change weights so that plain norms do at one site what site norms do there.

        Args:
            site: Of that site, ``[2, N]``, from ``site_moments``.
        """
        with torch.no_grad():
            for norm, (mean, spread), (log_factor, shift) in self._parts(site):
                norm.weight.mul_(log_factor.exp() / spread.exp())
                norm.bias.add_(shift - norm.weight * mean)

    def unfold(self, site: Floats) -> None:
        """The other way round."""
        with torch.no_grad():
            for norm, (mean, spread), (log_factor, shift) in self._parts(site):
                norm.bias.sub_(shift - norm.weight * mean)
                norm.weight.mul_(spread.exp() / log_factor.exp())

    def _tell(self, moments: Tensor) -> None:
        if self.modulation is not None:
            sizes = [norm.channels for norm in self.norms]
            for norm, change in zip(
                self.norms, self.modulation(moments).split(sizes, dim=2), strict=True
            ):
                norm.change = change

    def _parts(self, site: Floats) -> Iterator[tuple[SiteNorm, Tensor, Tensor]]:
        """Each norm with its means and log spreads, and with its log factors and shifts."""
        sizes = [norm.channels for norm in self.norms]
        moments = torch.from_numpy(site).float()
        changes = torch.zeros_like(moments)
        if self.modulation is not None:
            changes = self.modulation(moments[None, :, : sizes[0]])[0]
        parts = (torch.split(values, sizes, dim=1) for values in (moments, changes))
        yield from zip(self.norms, *parts, strict=True)


def shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a ``NetworkHead`` beyond a head."""
    with torch.device("meta"):
        norms = install(network.build_trunk(architecture)).norms
    total, channels = sum(norm.channels for norm in norms), norms[0].channels
    rank = network.kind(architecture).site_norms
    return {"norms": (2, total), "inner": (rank, 2 * channels + 1), "outer": (2 * total, rank + 1)}


def install(trunk: nn.Module) -> SiteNorms:
    """Put site norms in the place of a trunk's norms, for batches of one site.

    Names and weights stay.
    """
    site_norms: list[SiteNorm] = []
    for parent, name, norm in _norms(trunk):
        site_norms.append(SiteNorm(norm))
        setattr(parent, name, site_norms[-1])
    return SiteNorms(site_norms)


def at_site(architecture: str, tensors: Tensors, head: NetworkHead, batch: Tensor) -> Tensors:
    """The ``trunk.*`` tensors for one site, of those for a typical one.

    Args:
        tensors: For a typical site; others than the trunk's are ignored.
        head: What came with them.
        batch: Records of the one site, labelled or not, as a trunk takes them. Those of
            ``measured_rows`` are enough.
    """
    trunk = network.load_trunk(architecture, tensors)
    norms = install(trunk)
    norms.modulate(_modulation(head))
    norms.unfold(head.norms)
    with torch.no_grad():
        trunk(batch)
    norms.fold(norms.site_moments())
    return network.trunk_tensors(trunk)


def measured_rows(count: int) -> NDArray[np.intp]:
    """Which of so many records of a site are measured, evenly chosen."""
    return np.linspace(0, count - 1, min(count, _MEASURED)).astype(np.intp)


def _modulation(head: NetworkHead) -> Modulation:
    rank, inputs = head.inner.shape
    modulation = Modulation((inputs - 1) // 2, head.norms.shape[1], rank, np.random.default_rng(0))
    with torch.no_grad():
        modulation.inner.copy_(torch.from_numpy(head.inner))
        modulation.outer.copy_(torch.from_numpy(head.outer))
    return modulation


def _norms(trunk: nn.Module) -> list[tuple[nn.Module, str, ChannelScale]]:
    """Each norm, with the module that it is in and its name there, in the trunk's order."""
    return [
        (parent, name, child)
        for parent in trunk.modules()
        for name, child in parent.named_children()
        if isinstance(child, ChannelScale)
    ]
