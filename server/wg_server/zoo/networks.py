"""Networks of the operator's families: what stands beside the heads of these.

A network sees a family's records at made-up sites (``fine_tuning``), from published weights on, and
is there for a typical site, with all that a site needs to standardise its norms and its features by
its own records (``wg_common.inference.family_head.NetworkHead``). A fifth of the records, at most
``HELD_LIMIT``, are held out of the training: its accuracy is measured on them.
"""

import numpy as np

from wg_common import streams
from wg_common.nets import network
from wg_common.nets.family_network import FamilyNetwork
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_server.zoo import sources
from wg_server.zoo.fine_tuning import accuracy_at_sites, fine_tune_at_sites, made_up_sites
from wg_server.zoo.task_spec import TaskSpec

HELD_LIMIT = 64
STEPS = 1000  # Of the fine-tuning


def trained(spec: TaskSpec, architecture: str) -> tuple[FamilyNetwork, float]:
    """The network of a family, and its accuracy.

    That is of records held out of its training, at sites of their own.

    Args:
        spec: The family's first task.
        architecture: Name in the catalogue.

    Raises:
        ConfigError: The architecture has no published weights.
    """
    make = network.kind(architecture).published
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    task = sources.load(spec)
    rng = streams.rng(Stream.NETWORK, spec.seed, spec.family, spec.site)
    order = rng.permutation(len(task.labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]
    sites = made_up_sites(architecture, task, train, rng)
    trunk, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.names), steps=STEPS, rng=rng
    )
    accuracy = accuracy_at_sites(architecture, trunk, head, task, held_out, rng)
    return FamilyNetwork(architecture, trunk, head), accuracy
