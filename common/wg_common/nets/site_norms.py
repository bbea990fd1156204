"""Batch norms whose statistics come from the records of one site.

A camera changes the values in all layers of a network. Therefore each norm standardises every
channel by its mean and spread over the site's own records, before the norm's affine map, so that
all layers see similar inputs at all sites. This is the norm adaptation of Li et al. (Pattern
Recognition 80, 2018), except that the trunk is also *trained* in this way at simulated sites
(``wg_server.zoo.networks``), as in Chang et al. (CVPR 2019).

The mean and spread that this removes describe the camera, and a noisy camera needs another network
than a sharp one. So a small network maps these moments of the first norm's channels to a factor and
a shift for every channel of all norms (``NormModulation``, as in Perez et al., AAAI 2018).

All of these are affine maps of a channel. For one site they combine to one map, so the site's trunk
is an ordinary network, in which no record affects another's output. A package holds the trunk of a
typical site and the tensors that adapt it to any site
(``wg_common.inference.family_head.NetworkHead``, ``adapt_trunk_to_site``).
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
from wg_common.inference.hostile_tensors import Tensors
from wg_common.nets import network

Floats = NDArray[np.float64]

_MOST_MEASURED_RECORDS = 256
"""Largest number of records over which a site's moments are computed."""
_VARIANCE_FLOOR = 1e-3
"""Term added to a variance before its square root, as in EfficientNet's training."""
_MOMENT_SPREAD_FLOOR = 0.05
"""Term added to the spread of a moment over sites before division."""


class ChannelScale(nn.Module):
    """Affine part of a batch norm: scale and shift of each channel of a feature map.

    Initially it is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift the channels of a feature map ``[n, c, h, w]``."""
        out: Tensor = x * self.weight[:, None, None] + self.bias[:, None, None]
        return out


class SiteBatchNorm(nn.Module):
    """Batch norm that standardises the records of each site in a batch separately.

    Attributes:
        weight: Scale of the affine map, ``[c]``.
        bias: Shift of the affine map, ``[c]``.
        sites: Number of sites in a batch, with equally many consecutive records each.
        last_moments: Means and log spreads of the channels in the last batch, ``[sites, 2, c]``.
        on_moments: Function called with a batch's means and log spreads before it is standardised,
            or None.
        change: Log factor and shift that modify the affine map at each site, ``[sites, 2, c]``, or
            None.
    """

    last_moments: Tensor

    def __init__(self, norm: ChannelScale) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.sites = 1
        self.on_moments: Callable[[Tensor], None] | None = None
        self.change: Tensor | None = None

    @property
    def channels(self) -> int:
        """Number c of channels of the norm."""
        return len(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Standardise a feature map ``[n, c, h, w]`` site by site, and apply the affine map."""
        sites = input.chunk(self.sites)
        if self.on_moments is not None:
            self.on_moments(torch.stack([_channel_moments(part) for part in sites]))
        weight, bias = self.weight.expand(self.sites, -1), self.bias.expand(self.sites, -1)
        if self.change is not None:
            weight, bias = weight * self.change[:, 0].exp(), bias + self.change[:, 1]
        outputs, moments = [], []
        for part, scale, shift in zip(sites, weight, bias, strict=True):
            # A batch norm in training mode, with one site as the batch.
            out, mean, inverse = torch.native_batch_norm(
                part, scale, shift, None, None, True, 0.0, _VARIANCE_FLOOR
            )
            outputs.append(out)
            moments.append(torch.stack([mean.detach(), -inverse.detach().log()]))
        self.last_moments = torch.stack(moments)
        return torch.cat(outputs)


def _channel_moments(feature_map: Tensor) -> Tensor:
    """Return mean and log spread ``[2, c]`` of the channels of one site's feature map."""
    variance, mean = torch.var_mean(feature_map.detach(), dim=(0, 2, 3), correction=0)
    return torch.stack([mean, (variance + _VARIANCE_FLOOR).log() / 2])


class NormModulation(nn.Module):
    """Small network from a site's moments at the first norm to changes of all norms' affine maps.

    The changes are 0 until it is trained.

    Args:
        first_norm_channels: Number c of channels of the first norm.
        total_channels: Number N of channels of all norms together.
        rank: Number R of hidden units.
        rng: Generator that draws the initial weights.
    """

    def __init__(
        self, first_norm_channels: int, total_channels: int, rank: int, rng: np.random.Generator
    ) -> None:
        super().__init__()
        initial_weights = rng.uniform(-1, 1, (rank, 2 * first_norm_channels + 1)) / math.sqrt(
            2 * first_norm_channels
        )
        self.inner = nn.Parameter(torch.from_numpy(initial_weights.astype(np.float32)))
        self.outer = nn.Parameter(torch.zeros(2 * total_channels, rank + 1))

    def fit_standardisation(self, moments: Tensor) -> None:
        """Adjust the first layer so that it standardises moments by mean and spread over sites.

        Args:
            moments: Moments of the first norm at a sample of sites, ``[sites, 2, c]``.
        """
        flat = moments.flatten(1)
        with torch.no_grad():
            self.inner[:, :-1] /= flat.std(dim=0) + _MOMENT_SPREAD_FLOOR
            self.inner[:, -1] -= self.inner[:, :-1] @ flat.mean(dim=0)

    def forward(self, moments: Tensor) -> Tensor:
        """Map moments ``[sites, 2, c]`` of the first norm to changes of all norms.

        The changes ``[sites, 2, N]`` are a log factor and a shift for each channel's affine map.
        """
        hidden_layer = torch.tanh(
            F.linear(moments.flatten(1), self.inner[:, :-1], self.inner[:, -1])
        )
        changes = F.linear(hidden_layer, self.outer[:, :-1], self.outer[:, -1])
        return changes.view(len(moments), 2, -1)


class TrunkSiteNorms:
    """All site norms of a trunk, and their modulation.

    Attributes:
        norms: Site norms in the trunk's order.
        modulation: Map from the first norm's moments to changes of all norms, or None.
    """

    def __init__(self, norms: list[SiteBatchNorm]) -> None:
        self.norms = norms
        self.modulation: NormModulation | None = None

    def set_modulation(self, modulation: NormModulation) -> None:
        """Let ``modulation`` change all norms' affine maps in later batches."""
        self.modulation = modulation
        self.norms[0].on_moments = self._update_changes

    @contextmanager
    def site_batches(self, site_count: int) -> Iterator[None]:
        """In a ``with`` block, treat a batch as equally many records of ``site_count`` sites."""
        for norm in self.norms:
            norm.sites = site_count
        try:
            yield
        finally:
            for norm in self.norms:
                norm.sites = 1

    def site_moments(self) -> Floats:
        """Return all channels' means and log spreads ``[2, N]`` in the last batch, of one site."""
        moments = np.concatenate([norm.last_moments[0].numpy() for norm in self.norms], axis=1)
        return moments.astype(np.float64)

    def merge_site_statistics(self, site_moments: Floats) -> None:
        """Merge a site's standardisation and modulation into the norms' affine maps, in place.

        Args:
            site_moments: Moments of the site, ``[2, N]``, from ``site_moments``.
        """
        with torch.no_grad():
            for norm, (mean, spread), (log_factor, shift) in self._split_by_norm(site_moments):
                norm.weight.mul_(log_factor.exp() / spread.exp())
                norm.bias.add_(shift - norm.weight * mean)

    def undo_merge(self, site_moments: Floats) -> None:
        """Undo ``merge_site_statistics`` for the same moments ``[2, N]``."""
        with torch.no_grad():
            for norm, (mean, spread), (log_factor, shift) in self._split_by_norm(site_moments):
                norm.bias.sub_(shift - norm.weight * mean)
                norm.weight.mul_(spread.exp() / log_factor.exp())

    def _update_changes(self, moments: Tensor) -> None:
        if self.modulation is not None:
            sizes = [norm.channels for norm in self.norms]
            for norm, change in zip(
                self.norms, self.modulation(moments).split(sizes, dim=2), strict=True
            ):
                norm.change = change

    def _split_by_norm(
        self, site_moments: Floats
    ) -> Iterator[tuple[SiteBatchNorm, Tensor, Tensor]]:
        """Split a site's moments of all norms into those of each norm.

        Yields:
            Norm, means and log spreads of its c channels, ``[2, c]``, and the modulation's log
            factors and shifts, ``[2, c]``, which are 0 without modulation.
        """
        sizes = [norm.channels for norm in self.norms]
        moments = torch.from_numpy(site_moments).float()
        changes = torch.zeros_like(moments)
        if self.modulation is not None:
            changes = self.modulation(moments[None, :, : sizes[0]])[0]
        parts = (torch.split(values, sizes, dim=1) for values in (moments, changes))
        yield from zip(self.norms, *parts, strict=True)


def network_head_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays that a ``NetworkHead`` adds to a ``FamilyHead``."""
    with torch.device("meta"):
        norms = install_site_norms(network.build_trunk(architecture)).norms
    total, channels = sum(norm.channels for norm in norms), norms[0].channels
    rank = network.network_kind(architecture).modulation_rank
    return {"norms": (2, total), "inner": (rank, 2 * channels + 1), "outer": (2 * total, rank + 1)}


def install_site_norms(trunk: nn.Module) -> TrunkSiteNorms:
    """Replace all ``ChannelScale`` modules of a trunk, in place, by norms with their weights."""
    site_norms: list[SiteBatchNorm] = []
    for parent, name, norm in _find_norms(trunk):
        site_norms.append(SiteBatchNorm(norm))
        setattr(parent, name, site_norms[-1])
    return TrunkSiteNorms(site_norms)


def adapt_trunk_to_site(
    architecture: str, tensors: Tensors, head: NetworkHead, batch: Tensor
) -> Tensors:
    """Adapt a family network's trunk from a typical site to one site's records.

    Args:
        architecture: Name in the catalogue.
        tensors: Tensors for a typical site; tensors other than ``trunk.*`` are ignored.
        head: Head delivered with the tensors.
        batch: Trunk inputs of the site's records, labelled or not; the records of
            ``measured_rows`` suffice.
    """
    trunk = network.load_trunk(architecture, tensors)
    norms = install_site_norms(trunk)
    norms.set_modulation(_rebuild_modulation(head))
    norms.undo_merge(head.norms)
    with torch.no_grad():
        trunk(batch)
    norms.merge_site_statistics(norms.site_moments())
    return network.trunk_tensors(trunk)


def measured_rows(record_count: int) -> NDArray[np.intp]:
    """Return evenly spaced row numbers of at most 256 of ``record_count`` records."""
    return np.linspace(0, record_count - 1, min(record_count, _MOST_MEASURED_RECORDS)).astype(
        np.intp
    )


def _rebuild_modulation(head: NetworkHead) -> NormModulation:
    rank, inputs = head.inner.shape
    modulation = NormModulation(
        (inputs - 1) // 2, head.norms.shape[1], rank, np.random.default_rng(0)
    )
    with torch.no_grad():
        modulation.inner.copy_(torch.from_numpy(head.inner))
        modulation.outer.copy_(torch.from_numpy(head.outer))
    return modulation


def _find_norms(trunk: nn.Module) -> list[tuple[nn.Module, str, ChannelScale]]:
    """Return a trunk's norms in order, each with its parent module and its name there."""
    return [
        (parent, name, child)
        for parent in trunk.modules()
        for name, child in parent.named_children()
        if isinstance(child, ChannelScale)
    ]
