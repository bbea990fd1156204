"""Networks of the operator's families in the zoo: what stands beside the heads of these.

::

    zoo/bases/ARCHITECTURE.safetensors   the public base that the first one starts from
    zoo/networks/KEY.json                what they are, and their object's hash
    zoo/objects/SHA256.safetensors       their tensors (``wg_common.nets.family_network``)

KEY is that of the family's first task. Each network sees its records at made-up sites
(``fine_tuning``), and is there for a typical site, with all that a site needs to standardise its
norms and its features by its own records (``wg_common.inference.family_head.NetworkHead``). The
first one starts from the base, the others from published weights. A fifth of the records, at most
``HELD_LIMIT``, are held out of the training: the first network's accuracy is measured on them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference import hostile_tensors
from wg_common.modalities.registry import modality
from wg_common.nets import family_network, network
from wg_common.nets.family_network import FamilyNetwork
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.wire import canonical
from wg_server.zoo import bases, family_heads, sources
from wg_server.zoo.fine_tuning import accuracy_at_sites, fine_tune_at_sites, made_up_sites
from wg_server.zoo.store import Entry, Zoo, record
from wg_server.zoo.task_spec import TaskSpec

HELD_LIMIT = 64
VERSION = 1  # Of how networks are made; those of another one are made again
_PUBLISHED_RATE = 1e-3
"""Peak of the learning rate of published weights, which have less to learn."""
STEPS = 1000  # Of the fine-tuning of published weights
_STEPS_FROM_BASE = 2  # Steps of a network that starts from the base, in units of ``STEPS``
Job = Callable[[bytes], str]
"""Makes something with the encoder's package, in whatever process; says what was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEntry:
    """What a family's networks are.

    Attributes:
        task: Key of the family's first task, which has provenance, licence and labels.
        architectures: Of the networks, in order.
        base: Id of the base of the first one.
        family: Name of the task's family.
        labels: Class names, in the order of head rows.
        at_sites: Accuracy of the first network, of records held out of its training at sites of
            their own, decimal string.
        sha256: Of the object, hex.
    """

    version: int = VERSION
    task: str
    architectures: tuple[str, ...]
    base: str
    family: str
    labels: tuple[str, ...]
    at_sites: str
    sha256: str


def wanted(specs: Sequence[TaskSpec], modality_name: str) -> list[TaskSpec]:
    """The first task of each family that gets networks."""
    return family_heads.wanted(specs) if modality(modality_name).family_networks else []


def base_jobs(zoo: Zoo, entries: Sequence[Entry], modality_name: str, seed: int) -> list[Job]:
    """What trains a base, unless it is there, if a modality has networks.

    Args:
        entries: Tasks that the base learns from.
        modality_name: Of the records.
        seed: Of the base.
    """
    first_networks = modality(modality_name).family_networks[:1]
    return [partial(_make_base, zoo.root, list(entries), name, seed) for name in first_networks]


def network_jobs(zoo: Zoo, entries: Sequence[Entry], modality_name: str) -> list[Job]:
    """What trains the networks of families that have none yet.

    Args:
        entries: Tasks to choose from.
        modality_name: Of the records.
    """
    made_of = {entry.task: entry for entry in entries}
    return [
        partial(_make_networks, zoo.root, made_of[spec])
        for spec in wanted(list(made_of), modality_name)
        if not _has(zoo.root, made_of[spec].key)
    ]


def _make_base(root: Path, entries: list[Entry], architecture: str, seed: int, _: bytes) -> str:
    bases.make_base(Zoo(root), entries, architecture, seed)
    return f"base {architecture}"


def _make_networks(root: Path, entry: Entry, _: bytes) -> str:
    zoo, task = Zoo(root), sources.load(entry.task)
    first_network, *further_networks = modality(task.modality).family_networks
    base, base_id = bases.read_base(root, first_network)
    rng = streams.rng(Stream.NETWORK, entry.task.seed, entry.task.family, entry.task.site)
    order = rng.permutation(len(task.labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]
    sites = made_up_sites(first_network, task, train, rng)
    trunk, head = fine_tune_at_sites(
        first_network, base, sites, len(task.names), steps=_STEPS_FROM_BASE * STEPS, rng=rng
    )
    accuracy = accuracy_at_sites(first_network, trunk, head, task, held_out, rng)
    members = [FamilyNetwork(first_network, trunk, head)]
    members += [_from_published(name, entry, task, train) for name in further_networks]
    network_entry = NetworkEntry(
        task=entry.key,
        architectures=(first_network, *further_networks),
        base=base_id,
        family=entry.family,
        labels=entry.labels,
        at_sites=f"{accuracy:.4f}",
        sha256=zoo.put(safetensors.numpy.save(family_network.packed(members))),
    )
    atomic.write_bytes(_path(root, entry.key), canonical.encode(network_entry))
    return f"networks of {entry.family}"


def networks(zoo: Zoo) -> Iterator[NetworkEntry]:
    """All of this version, by name.

    Raises:
        DecodeError: A record is damaged; the message names the file.
    """
    for path in sorted((zoo.root / "networks").glob("*.json")):
        entry = record(path, NetworkEntry, VERSION)
        if entry is not None:
            yield entry


def read(zoo: Zoo, entry: NetworkEntry) -> tuple[FamilyNetwork, ...]:
    """A record's object.

    Raises:
        VerificationError: The object does not match its hash.
        DecodeError: It is no family's networks.
    """
    _, packed = hostile_tensors.apart(zoo.tensors(entry.sha256), family_network.PREFIX)
    return family_network.unpacked(packed, entry.architectures, len(entry.labels))


def _from_published(
    architecture: str, entry: Entry, task: sources.Task, train: NDArray[np.intp]
) -> FamilyNetwork:
    """A network that published weights become at made-up sites."""
    make = network.kind(architecture).published
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    spec = entry.task
    rng = streams.rng(Stream.NETWORK_BESIDE, spec.seed, spec.family, spec.site)
    sites = made_up_sites(architecture, task, train, rng)
    trunk, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.names), steps=STEPS, rng=rng, rate=_PUBLISHED_RATE
    )
    return FamilyNetwork(architecture, trunk, head)


def _path(root: Path, key: str) -> Path:
    return root / "networks" / f"{key}.json"


def _has(root: Path, key: str) -> bool:
    """Whether a family's networks are there, made as networks are made now."""
    path = _path(root, key)
    return path.is_file() and record(path, NetworkEntry, VERSION) is not None
