"""Group norms whose outputs each site standardises by its own records, and what is sent of them.

What a camera changes of an image, the channels of a small network carry from layer to layer. Each
site takes the mean and the spread of every channel over its own records out behind each norm,
before the norm's affine map, so that all layers see sites alike. This is the adaptation by norms of
Li et al. (Pattern Recognition 80, 2018), with one difference: the trunk is *trained* so, by made-up
sites (``wg_server.zoo.networks``), as in Chang et al. (CVPR 2019).

Both are affine maps of a channel: for one site they are one, and its trunk is an ordinary one. What
travels is the trunk of a typical site, and that site's means and spreads, from which every site
makes its own trunk (``at_site``). One record never changes another's output afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.nets import network
from wg_common.nets.network import Tensors

Floats = NDArray[np.float64]

_MEASURED = 256
"""Records at most that say what a site's channels are: a norm sees hundreds of places of each."""
_TINY = 1e-5
"""Added to a variance before its root is taken."""


class SiteNorm(nn.GroupNorm):
    """A group norm that standardises its channels over each site's records.

    Attributes:
        sites: Number of sites in a batch; as many records of each, one site after another.
        seen: Mean and log spread of the channels at each site of the last batch, ``[sites, 2, c]``.
    """

    seen: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps)
        self.weight, self.bias = norm.weight, norm.bias
        self.sites = 1

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, ``[n, c, ...]``."""
        found = F.group_norm(input, self.num_groups, eps=self.eps)
        each = torch.stack(found.chunk(self.sites))  # [sites, m, c, ...]
        over = (1, *range(3, each.ndim))
        mean = each.mean(dim=over, keepdim=True)
        spread = (each.var(dim=over, keepdim=True, unbiased=False) + _TINY).sqrt()
        both = torch.stack([mean.detach(), spread.detach().log()], dim=1)
        self.seen = both.reshape(self.sites, 2, self.num_channels)
        alike = ((each - mean) / spread).flatten(0, 1)
        shape = (1, -1, *(1,) * (alike.ndim - 2))
        out: Tensor = alike * self.weight.view(shape) + self.bias.view(shape)
        return out


def channels(architecture: str) -> int:
    """Channels of all norms together that sites standardise, N; 0 for most architectures."""
    with torch.device("meta"):
        norms = install(architecture, network.build_trunk(architecture))
    return sum(norm.num_channels for norm in norms)


def install(architecture: str, trunk: nn.Module) -> list[SiteNorm]:
    """Put site norms in the place of a trunk's group norms, for batches of one site.

    Names and weights stay. An architecture whose sites standardise no norms keeps them all.
    """
    found: list[SiteNorm] = []
    if not network.kind(architecture).site_norms:
        return found
    for parent, name, norm in _norms(trunk):
        found.append(SiteNorm(norm))
        setattr(parent, name, found[-1])
    return found


@contextmanager
def together(norms: Sequence[SiteNorm], sites: int) -> Iterator[None]:
    """Within it batches are of so many sites."""
    for norm in norms:
        norm.sites = sites
    try:
        yield
    finally:
        for norm in norms:
            norm.sites = 1


def measured(norms: Sequence[SiteNorm]) -> Floats:
    """Mean and log spread ``[2, N]`` of the one site of the last batch."""
    if not norms:
        return np.zeros((2, 0))
    return np.concatenate([norm.seen[0].numpy() for norm in norms], axis=1).astype(np.float64)


def fold(norms: Sequence[SiteNorm], site: Floats) -> None:
    """Change weights so that plain norms do at one site what site norms do there.

    Args:
        norms: From ``install``.
        site: Of that site, ``[2, N]``, from ``measured``.
    """
    with torch.no_grad():
        for norm, (mean, spread) in _parts(norms, site):
            norm.weight.div_(spread)
            norm.bias.sub_(norm.weight * mean)


def unfold(norms: Sequence[SiteNorm], site: Floats) -> None:
    """The other way round."""
    with torch.no_grad():
        for norm, (mean, spread) in _parts(norms, site):
            norm.bias.add_(norm.weight * mean)
            norm.weight.mul_(spread)


def at_site(architecture: str, tensors: Tensors, typical: Floats, batch: Tensor) -> Tensors:
    """The ``trunk.*`` tensors for one site, of those for a typical one.

    Args:
        tensors: For a typical site; others than the trunk's are ignored.
        typical: Of that site, ``[2, N]``.
        batch: Records of the one site, labelled or not, as a trunk takes them. Those that ``some``
            says are enough.
    """
    if not typical.size:
        return {k: v for k, v in tensors.items() if k.startswith(network.TRUNK)}
    trunk = network.load_trunk(architecture, tensors)
    norms = install(architecture, trunk)
    unfold(norms, typical)
    with torch.inference_mode():
        trunk(batch)
    fold(norms, measured(norms))
    return network.trunk_tensors(trunk)


def some(count: int) -> NDArray[np.intp]:
    """Which of so many records of a site are measured, evenly chosen."""
    return np.linspace(0, count - 1, min(count, _MEASURED)).astype(np.intp)


def _parts(
    norms: Sequence[SiteNorm], site: Floats
) -> Iterator[tuple[SiteNorm, tuple[Tensor, Tensor]]]:
    """Each norm with its channels' means and spreads."""
    start = 0
    for norm in norms:
        part = torch.from_numpy(site[:, start : start + norm.num_channels]).float()
        start += norm.num_channels
        yield norm, (part[0], part[1].exp())


def _norms(trunk: nn.Module) -> list[tuple[nn.Module, str, nn.GroupNorm]]:
    """Each group norm, with the module that it is in and its name there, in the trunk's order."""
    return [
        (parent, name, child)
        for parent in trunk.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.GroupNorm)
    ]
