"""What stands before a head at a plant: the shared encoder, or a whole network's own trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_client.heads import Floats

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """A trunk, seen through the plant's records.

    Attributes:
        features: float64 ``[n, d]`` of all local records.
        tensors: ``trunk.*``; empty for the frozen encoder, which is no part of a model's tensors.
    """

    features: Floats
    tensors: Tensors = field(default_factory=dict)


def network_trunk(architecture: str, tensors: Tensors, batch: NDArray[Any]) -> Trunk:
    """The trunk of a whole network.

    Args:
        architecture: Name in the registry.
        tensors: The network's tensors; those of its head are left out.
        batch: All local records, from ``whole.prepared``.
    """
    from wg_common.nets import whole  # torch: seconds to import, only when needed

    own = {name: value for name, value in tensors.items() if name.startswith(whole.TRUNK)}
    values = whole.features(whole.load_trunk(architecture, own), batch)
    return Trunk(values.astype(np.float64), own)
