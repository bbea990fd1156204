"""Networks of the operator's families: what stands beside the heads of these.

Each network sees a family's records at made-up sites (``fine_tuning``), and is there for a typical
site, with all that a site needs to standardise its norms and its features by its own records
(``wg_common.inference.family_head.NetworkHead``). The first one starts from the base (``bases``),
the others from published weights. A fifth of the records, at most ``HELD_LIMIT``, are held out of
the training: the first network's accuracy is measured on them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.nets import network
from wg_common.nets.family_network import FamilyNetwork
from wg_common.streams import Stream
from wg_core.errors import ConfigError
from wg_server.zoo import bases, sources
from wg_server.zoo.fine_tuning import accuracy_at_sites, fine_tune_at_sites, made_up_sites
from wg_server.zoo.task_spec import TaskSpec

HELD_LIMIT = 64
_PUBLISHED_RATE = 1e-3
"""Peak of the learning rate of published weights, which have less to learn."""
STEPS = 1000  # Of the fine-tuning of published weights
_STEPS_FROM_BASE = 2  # Steps of a network that starts from the base, in units of ``STEPS``


def trained(
    root: Path, spec: TaskSpec, architectures: Sequence[str]
) -> tuple[list[FamilyNetwork], float]:
    """The networks of a family, and the accuracy of the first one.

    That is of records held out of its training, at sites of their own.

    Args:
        root: Folder of the zoo, which has the base of the first network.
        spec: The family's first task.
    """
    task = sources.load(spec)
    first_network, *further_networks = architectures
    rng = streams.rng(Stream.NETWORK, spec.seed, spec.family, spec.site)
    order = rng.permutation(len(task.labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]
    sites = made_up_sites(first_network, task, train, rng)
    trunk, head = fine_tune_at_sites(
        first_network,
        bases.read_base(root, first_network),
        sites,
        len(task.names),
        steps=_STEPS_FROM_BASE * STEPS,
        rng=rng,
    )
    accuracy = accuracy_at_sites(first_network, trunk, head, task, held_out, rng)
    members = [FamilyNetwork(first_network, trunk, head)]
    members += [_from_published(name, spec, task, train) for name in further_networks]
    return members, accuracy


def _from_published(
    architecture: str, spec: TaskSpec, task: sources.Task, train: NDArray[np.intp]
) -> FamilyNetwork:
    """A network that published weights become at made-up sites."""
    make = network.kind(architecture).published
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    rng = streams.rng(Stream.NETWORK_BESIDE, spec.seed, spec.family, spec.site)
    sites = made_up_sites(architecture, task, train, rng)
    trunk, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.names), steps=STEPS, rng=rng, rate=_PUBLISHED_RATE
    )
    return FamilyNetwork(architecture, trunk, head)
