"""The head of a family of plants, on features that each plant standardises by its own records.

Sites of one family show the same classes through other cameras. The mean and the spread of a local
feature over a site's records are its camera's more than its classes', and need no label. Each site
takes them out, and then one head, fitted at the operator on own records under hundreds of cameras
(``wg_server.zoo.family_heads``), fits them all. Nothing more than before is released.

Not guaranteed: anything, where a site's classes are in other proportions than at the operator. The
plant compares what comes out with a model of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_common.inference.block_scale import block_scale
from wg_core.errors import DecodeError

Floats = NDArray[np.float64]

_LARGEST = 50.0  # Magnitude of a logarithm; more would overflow in what is computed from it
_LEAST = 1e-6  # Added to a spread before its logarithm is taken


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of local features.

    Attributes:
        scaled: Number P of those that have a public scale; they come first.
        blocks: Sizes of the blocks of the others; they add up to D - P.
    """

    scaled: int
    blocks: tuple[int, ...]

    @property
    def start(self) -> int:
        """The first feature that a head stands on: of the blocks; without any, of all."""
        return self.scaled if self.blocks else 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the blocks that a head stands on; they add up to B."""
        return self.blocks or (self.scaled,)


@dataclass(frozen=True, slots=True, eq=False)
class FamilyHead:
    """Head that the operator fitted for a family: K classes, B local features.

    Attributes:
        reference: Mean, and logarithm of the spread, of a feature at a typical site, ``[2, B]``.
        records: So many records say as much of a site's mean as its family does, ``[1]``.
        weight: On standardised features, ``[K, B]``.
        bias: ``[K]``.
    """

    reference: Floats
    records: Floats
    weight: Floats
    bias: Floats

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the attributes as float32 tensors, by name."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}

    def of_classes(self, rows: NDArray[np.integer[Any]]) -> Self:
        """The same for some classes, in this order."""
        return replace(self, weight=self.weight[rows], bias=self.bias[rows])

    def at(self, local: NDArray[np.floating], layout: Layout) -> tuple[Floats, Floats]:
        """Weight ``[K, D]`` and bias ``[K]`` on local features as they are, for one site.

        Args:
            local: Local features of the site's records, labelled or not, ``[n, D]``, n at least 1.
                A few records are shrunk towards the family's typical site.
        """
        share = len(local) / (len(local) + self.records[0])
        site = self.reference + share * (moments(local, layout) - self.reference)
        weight = self.weight * block_scale(np.exp(site[1]), layout.sizes)
        return np.pad(weight, ((0, 0), (layout.start, 0))), self.bias - weight @ site[0]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkHead(FamilyHead):
    """On features of a network, whose norms each site standardises as well.

    With what makes a site's trunk of that for a typical site (``wg_common.nets.site_norms``): N
    channels of all its norms, c of the first one, R numbers between them.

    Attributes:
        norms: Mean, and logarithm of the spread, of a norm's channel at a typical site, ``[2, N]``.
        inner: From a site's ``[2 c]`` of the first norm, and a one, to the R numbers before their
            tanh, ``[R, 2 c + 1]``.
        outer: From these, and a one, to the logarithm of a factor on each channel's affine map,
            and to a shift of it, ``[2 N, R + 1]``.
    """

    norms: Floats
    inner: Floats
    outer: Floats


TENSORS = tuple(f.name for f in fields(NetworkHead))
OF_NORMS = TENSORS[len(fields(FamilyHead)) :]
"""Those that say what norms are at a site; they do not grow with the classes."""


def moments(local: NDArray[np.floating], layout: Layout) -> Floats:
    """Mean and log spread ``[2, B]`` of the features of records ``[n, D]`` under a head."""
    under = local[:, layout.start :]
    spread = under.std(axis=0, dtype=np.float64)
    return np.stack([under.mean(axis=0, dtype=np.float64), np.log(spread + _LEAST)])


def from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], classes: int, layout: Layout
) -> FamilyHead:
    """Read what ``FamilyHead.tensors`` wrote, for K classes.

    Raises:
        DecodeError: A name or shape is wrong or beyond its limit, or a number is not finite.
    """
    return FamilyHead(**_check_tensors(tensors, classes, layout, {}))


def network_head(
    tensors: Mapping[str, NDArray[np.floating]],
    classes: int,
    features: int,
    further_shapes: Mapping[str, tuple[int, ...]],
) -> NetworkHead:
    """Read what ``NetworkHead.tensors`` wrote, for K classes and F features.

    Args:
        further_shapes: Shapes of the arrays beyond a head's (``wg_common.nets.site_norms.shapes``).

    Raises:
        DecodeError: As above.
    """
    values = _check_tensors(tensors, classes, Layout(features, ()), further_shapes)
    _within("log spread", values["norms"][1])
    _within("change of a norm", np.abs(values["outer"]).sum(axis=1))
    return NetworkHead(**values)


def _check_tensors(
    tensors: Mapping[str, NDArray[np.floating]],
    classes: int,
    layout: Layout,
    further_shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Floats]:
    size = sum(layout.sizes)
    shapes: dict[str, tuple[int, ...]] = {
        "reference": (2, size),
        "records": (1,),
        "weight": (classes, size),
        "bias": (classes,),
        **further_shapes,
    }
    values = hostile_tensors.check_tensors("family head", tensors, shapes)
    records = float(values["records"][0])
    if records < 0:
        raise DecodeError(f"family head: records {records:g}; expected 0 or more")
    _within("log spread", values["reference"][1])
    return values


def _within(quantity: str, values: Floats) -> None:
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST:
        raise DecodeError(f"family head: {quantity} {largest:g}; expected at most {_LARGEST:g}")
