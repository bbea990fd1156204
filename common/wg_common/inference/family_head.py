"""Head of a family of plants, on features that each plant standardises by its own records.

Sites of a family show the same classes through different cameras. Mean and spread of a local
feature over a site's records depend on the camera more than on the classes, and need no labels.
After each site has removed them, one head fits all sites. The operator fits it on its own records,
seen by hundreds of simulated cameras (``wg_server.zoo.family_heads``). It needs no release.

*Not guaranteed:* accuracy at a site whose class proportions differ from the operator's. The plant
compares the head with its own model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_common.inference.block_scale import block_scale_factors
from wg_core.errors import DecodeError

Floats = NDArray[np.float64]

_LARGEST_LOG = 50.0  # Largest magnitude of a logarithm, so that later results cannot overflow
_SPREAD_FLOOR = 1e-6  # Term added to a spread before its logarithm


@dataclass(frozen=True, slots=True)
class FeatureLayout:
    """Layout of a plant's D local features: first those with a public scale, then blocks.

    Attributes:
        scaled_count: Number P of features with a public scale; they come first.
        block_sizes: Sizes of the blocks of the other features; they add up to D - P.
    """

    scaled_count: int
    block_sizes: tuple[int, ...]

    @property
    def first_head_feature(self) -> int:
        """Index of a family head's first feature: the first in a block, or 0 without blocks."""
        return self.scaled_count if self.block_sizes else 0

    @property
    def head_block_sizes(self) -> tuple[int, ...]:
        """Sizes of the blocks of a head's features, which add up to their number B."""
        return self.block_sizes or (self.scaled_count,)


@dataclass(frozen=True, slots=True, eq=False)
class FamilyHead:
    """Linear classifier that the operator fitted for a family: K classes, B local features.

    Attributes:
        reference: Mean, and logarithm of the spread, of a feature at a typical site, ``[2, B]``.
        records: Number of a site's records at which its own statistics and ``reference`` have
            equal weight, ``[1]``.
        weight: Weights on standardised features, ``[K, B]``.
        bias: Biases, ``[K]``.
    """

    reference: Floats
    records: Floats
    weight: Floats
    bias: Floats

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the family head's arrays as float32 tensors, by name."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}

    def select_classes(self, rows: NDArray[np.integer[Any]]) -> Self:
        """Return the family head for the classes with indices ``rows``, in that order."""
        return replace(self, weight=self.weight[rows], bias=self.bias[rows])

    def adapt_to_site(
        self, local_features: NDArray[np.floating], layout: FeatureLayout
    ) -> tuple[Floats, Floats]:
        """Return a linear head (weight ``[K, D]``, bias ``[K]``) on a site's raw local features.

        Args:
            local_features: Local features of the site's records, labelled or not, ``[n, D]``, n at
                least 1. Statistics of few records are shrunk towards the family's typical site.
            layout: Layout of the local features.
        """
        share = len(local_features) / (len(local_features) + self.records[0])
        site = self.reference + share * (site_moments(local_features, layout) - self.reference)
        weight = self.weight * block_scale_factors(np.exp(site[1]), layout.head_block_sizes)
        return np.pad(weight, ((0, 0), (layout.first_head_feature, 0))), self.bias - weight @ site[
            0
        ]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkHead(FamilyHead):
    """Family head on the features of a network, whose normalisation layers fit each site too.

    The additional tensors adapt the layers (norms) from a typical site to one site
    (``wg_common.nets.site_norms``). All norms together have N channels, the first norm c; the map
    from the first norm to all of them has R hidden numbers.

    Attributes:
        norms: Mean, and logarithm of the spread, of a norm's channel at a typical site, ``[2, N]``.
        inner: Map from a site's moments ``[2 c]`` of the first norm, and a constant 1, to the R
            hidden numbers before their tanh, ``[R, 2 c + 1]``.
        outer: Map from the hidden numbers, and a constant 1, to the log factor and the shift of
            each channel's affine map, ``[2 N, R + 1]``.
    """

    norms: Floats
    inner: Floats
    outer: Floats


NETWORK_HEAD_TENSORS = tuple(f.name for f in fields(NetworkHead))
NORM_TENSORS = NETWORK_HEAD_TENSORS[len(fields(FamilyHead)) :]
"""Names of the tensors that adapt norms to a site; their sizes do not depend on the classes."""


def site_moments(local_features: NDArray[np.floating], layout: FeatureLayout) -> Floats:
    """Return mean and log spread ``[2, B]`` of a head's features over a site's records."""
    under = local_features[:, layout.first_head_feature :]
    spread = under.std(axis=0, dtype=np.float64)
    return np.stack([under.mean(axis=0, dtype=np.float64), np.log(spread + _SPREAD_FLOOR)])


def family_head_from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], classes: int, layout: FeatureLayout
) -> FamilyHead:
    """Rebuild a family head of K classes from the tensors of ``FamilyHead.tensors``.

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite or beyond its limit.
    """
    return FamilyHead(**_check_tensors(tensors, classes, layout, {}))


def network_head_from_tensors(
    tensors: Mapping[str, NDArray[np.floating]],
    classes: int,
    feature_count: int,
    norm_tensor_shapes: Mapping[str, tuple[int, ...]],
) -> NetworkHead:
    """Rebuild a network head of K classes and F features from ``NetworkHead.tensors``.

    Args:
        norm_tensor_shapes: Shapes of ``norms``, ``inner`` and ``outer``, by name
            (``wg_common.nets.site_norms.network_head_shapes``).

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite or beyond its limit.
    """
    values = _check_tensors(tensors, classes, FeatureLayout(feature_count, ()), norm_tensor_shapes)
    _check_magnitude("log spread", values["norms"][1])
    _check_magnitude("change of a norm", np.abs(values["outer"]).sum(axis=1))
    return NetworkHead(**values)


def _check_tensors(
    tensors: Mapping[str, NDArray[np.floating]],
    classes: int,
    layout: FeatureLayout,
    norm_tensor_shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Floats]:
    size = sum(layout.head_block_sizes)
    shapes: dict[str, tuple[int, ...]] = {
        "reference": (2, size),
        "records": (1,),
        "weight": (classes, size),
        "bias": (classes,),
        **norm_tensor_shapes,
    }
    values = hostile_tensors.check_tensors("family head", tensors, shapes)
    records = float(values["records"][0])
    if records < 0:
        raise DecodeError(f"family head: records {records:g}; expected 0 or more")
    _check_magnitude("log spread", values["reference"][1])
    return values


def _check_magnitude(quantity_name: str, values: Floats) -> None:
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST_LOG:
        raise DecodeError(
            f"family head: {quantity_name} {largest:g}; expected at most {_LARGEST_LOG:g}"
        )
