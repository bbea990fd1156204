"""The zoo's whole networks in memory, as tokens.

A head row acts on ``features - centre`` of the trunk that it belongs to, where the centre is the
mean of the *base's* features on the task. So a row of one site can stand at another whose light or
camera moves all features alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.family_head import NetworkHead
from wg_common.nets import network as whole_networks
from wg_server.generator.prior.zoo_tasks import ZooTask

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ZooNetwork:
    """One network of the zoo.

    Attributes:
        task: Its task: features of the public encoder, labels, family.
        tokens: Delta from the base, a flat array for each part of the plan.
        rows: Head rows and, last, biases on centred features, ``[K, F + 1]``.
        base_features: The base's features of the task's records, ``[n, F]``.
        held: Records that it was not trained on, ``[q]``.
        inputs: These records, from ``whole.prepared``.
        site_head: Of a network with domain-shift augmentation: for sites that standardise norms
            and features; None of another.
    """

    task: ZooTask
    tokens: dict[str, Array]
    rows: Array
    base_features: Array
    held: NDArray[np.int64]
    inputs: whole_networks.Batch
    site_head: NetworkHead | None = None

    @property
    def centre(self) -> Array:
        """Mean of the base's features, ``[F]``."""
        return np.asarray(self.base_features.mean(axis=0))
