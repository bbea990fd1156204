"""The zoo's whole networks in memory, as tokens.

A head row acts on ``features - centre`` of the trunk that it belongs to, where the centre is the
mean of the *base's* features on the task. So a row of one site can stand at another whose light or
camera moves all features alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.inference.discriminants import centred
from wg_common.inference.family_head import NetworkHead
from wg_common.nets import network as whole_networks
from wg_server.generator.networks.weight_plan import WeightPlan
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.zoo import networks as zoo_networks
from wg_server.zoo.store import Zoo

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


def load_networks(
    zoo: Zoo, tasks: Sequence[ZooTask], plan: WeightPlan, base: dict[str, Array], base_id: str
) -> tuple[list[ZooNetwork], list[ZooNetwork]]:
    """All networks of a plan's architecture whose tasks are given, as deltas from the base.

    Returns:
        The networks of the records as they are, and those with domain-shift augmentation.
    """
    by_key = {task.key: task for task in tasks}
    found: tuple[list[ZooNetwork], list[ZooNetwork]] = [], []
    mine = whole_networks.own(plan.architecture, base)
    for entry in zoo_networks.networks(zoo, plan.architecture, base_id):
        task = by_key.get(entry.task)
        if task is None:
            continue
        network = zoo_networks.read(zoo, entry)
        centre = network.base_features.mean(axis=0)
        both = (network.tensors, None), (network.shifted, network.site_head)
        for (tensors, site_head), kept in zip(both, found, strict=True):
            if not tensors:
                continue
            delta = {name: tensors[name] - value for name, value in mine.items()}
            weight, bias = tensors[HEAD_WEIGHT], tensors[HEAD_BIAS]
            weight, bias = centred(weight, bias)
            rows = np.concatenate([weight, (bias + weight @ centre)[:, None]], axis=1)
            kept.append(
                ZooNetwork(
                    task,
                    plan.tokens(delta),
                    rows.astype(np.float32),
                    network.base_features,
                    network.held,
                    network.inputs,
                    site_head,
                )
            )
    return found
