"""Whole networks in the zoo: each a task's fine-tuned base, beside the task's features and head.

::

    zoo/bases/ARCHITECTURE.safetensors       the public base
    zoo/networks/KEY-ARCHITECTURE.json       what it is, and its object's hash
    zoo/objects/SHA256.safetensors           its tensors, and records held out of its training

A fifth of a task's records are held out of fine-tuning (``fine_tuning``), at most ``HELD_LIMIT``;
they are what the generator's functional loss and every accuracy of the entry are measured on.

Of the operator's own images and windows there is a second network in the object, which has seen
the same records at made-up sites. It is there for a typical site, with all
that a site needs to standardise its norms and its features by its own records
(``wg_common.inference.family_head.NetworkHead``). With the architecture
that stands beside families' heads comes what else stands there, trained likewise from published
weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_common import catalogue, streams
from wg_common.inference import hostile_tensors
from wg_common.inference.family_head import NetworkHead
from wg_common.modalities.registry import modality
from wg_common.nets import family_network, network
from wg_common.nets.family_network import FamilyNetwork
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical
from wg_server.zoo import bases, sources
from wg_server.zoo.fine_tuning import (
    accuracy,
    accuracy_at_sites,
    fine_tune,
    fine_tune_at_sites,
    made_up_sites,
)
from wg_server.zoo.plan import NetworksPlan
from wg_server.zoo.store import Entry, Zoo, record
from wg_server.zoo.task_spec import TaskSpec

HELD_LIMIT = 64
VERSION = 1  # Of how networks are made; those of another one are made again
_SHIFTED = "elsewhere/"
"""Prefix of the tensors of the network with domain-shift augmentation."""
_HEAD = "site-head/"
"""Prefix of its head on features that a site standardises."""
_INPUTS = "images"
"""Name of the held-out records in an object, whatever they are."""
_PUBLISHED_RATE = 1e-3
"""Peak of the learning rate of published weights, which have less to learn."""
_STEPS_SHIFTED = 2
"""Steps of a network with domain-shift augmentation, in those of one without."""
Array = NDArray[np.float32]
BaseJob = tuple[Path, list[Entry], str, NetworksPlan, int]
"""The zoo's folder, tasks, architecture, plan and seed."""
NetworkJob = tuple[Path, Entry, str, int]
"""The zoo's folder, the task, architecture and steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEntry:
    """What a network of the zoo is.

    Attributes:
        task: Key of the task's entry, which has provenance, licence and labels.
        architecture: Of the network.
        base: Id of the base that it was fine-tuned from.
        family: Name of the task's family.
        labels: Class names, in the order of head rows.
        probe: Held-out accuracy of a linear probe on the base, decimal string.
        accuracy: Held-out accuracy of the network, decimal string.
        at_sites: Accuracy of the network of made-up sites, of records held out of its training at
            sites of their own, decimal string; empty: there is none.
        sha256: Of the object, hex.
    """

    version: int = VERSION
    task: str
    architecture: str
    base: str
    family: str
    labels: tuple[str, ...]
    probe: str
    accuracy: str
    at_sites: str = ""
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network's object.

    Attributes:
        tensors: The whole network, as its architecture names them.
        base_features: The base's features of the task's records, ``[n, F]``.
        held: Rows of the records that it was not trained on, ``[q]``.
        inputs: These records, from ``network.prepared``.
        shifted: As ``tensors``, with domain-shift augmentation; empty if there are none.
        site_head: Of ``shifted``, for sites that standardise norms and features; None without it.
        beside: What stands beside it under a head of the family.
    """

    tensors: dict[str, Array]
    base_features: Array
    held: NDArray[np.int64]
    inputs: network.Batch
    shifted: dict[str, Array]
    site_head: NetworkHead | None = None
    beside: tuple[FamilyNetwork, ...] = ()


def wanted(specs: Sequence[TaskSpec], plan: NetworksPlan) -> list[tuple[str, TaskSpec]]:
    """Architecture and task of every network that a plan wants, families evenly chosen."""
    chosen = []
    by_source: dict[str, dict[int, list[TaskSpec]]] = {}
    for spec in specs:
        by_source.setdefault(spec.name, {}).setdefault(spec.family, []).append(spec)
    for families in by_source.values():
        names = sorted(families)
        count = min(len(names), plan.families or len(names))
        for index in np.linspace(0, len(names) - 1, count).astype(int):
            sites = sorted(families[names[index]], key=lambda spec: spec.site)
            chosen += sites[: plan.sites]
    return [(architecture, spec) for architecture in plan.architectures for spec in chosen]


def base_jobs(zoo: Zoo, entries: Sequence[Entry], plan: NetworksPlan, seed: int) -> list[BaseJob]:
    """Jobs of ``make_base``, the longest first.

    Args:
        zoo: Where to.
        entries: Tasks that bases learn from.
        plan: Which architectures.
        seed: Of the bases.
    """
    by_cost = sorted(plan.architectures, key=lambda name: -catalogue.known(name).width)
    return [(zoo.root, list(entries), name, plan, seed) for name in by_cost]


def make_base(encoder: bytes, job: BaseJob) -> str:
    """Train a base, unless it is there; the encoder's package, what to do, and what was done."""
    root, entries, architecture, plan, seed = job
    bases.make_base(Zoo(root), entries, architecture, plan, seed, encoder)
    return f"base {architecture}"


def network_jobs(
    zoo: Zoo, entries: Sequence[Entry], plan: NetworksPlan, steps: Mapping[str, int]
) -> list[NetworkJob]:
    """Jobs of ``make_network`` for networks that are not there yet, the longest first.

    Args:
        zoo: Where to.
        entries: Tasks to choose from.
        plan: Which of them.
        steps: Of fine-tuning, by name of the source.
    """
    made_of = {entry.task: entry for entry in entries}
    jobs = [
        (zoo.root, made_of[spec], architecture, steps[spec.name])
        for architecture, spec in wanted(list(made_of), plan)
        if not _has(zoo.root, made_of[spec].key, architecture)
    ]
    return sorted(jobs, key=lambda job: (not job[1].task.own, -job[3]))


def make_network(_: bytes, job: NetworkJob) -> str:
    """Train a network and store it; what was done."""
    root, entry, architecture, steps = job
    _build_network(Zoo(root), entry, architecture, steps)
    return f"{architecture} {entry.family}"


def networks(zoo: Zoo, architecture: str, base: str) -> Iterator[NetworkEntry]:
    """All networks of one architecture on one base, by name.

    Raises:
        DecodeError: A record is damaged; the message names the file.
    """
    for path in sorted((zoo.root / "networks").glob(f"*-{architecture}.json")):
        entry = record(path, NetworkEntry, VERSION)
        if entry is not None and entry.base == base:
            yield entry


def read(zoo: Zoo, entry: NetworkEntry) -> Network:
    """A network's object.

    Raises:
        VerificationError: The object does not match its hash.
        DecodeError: It is not a network of the zoo.
    """
    tensors = zoo.tensors(entry.sha256)
    try:
        features = tensors.pop("base_features").astype(np.float32)
        held_out, inputs = tensors.pop("held").astype(np.int64), tensors.pop(_INPUTS)
        tensors, shifted = hostile_tensors.apart(tensors, _SHIFTED)
        tensors, head = hostile_tensors.apart(tensors, _HEAD)
        tensors, packed = hostile_tensors.apart(tensors, family_network.PREFIX)
    except (KeyError, ValueError) as error:
        raise DecodeError(f"object {entry.sha256}: not a network of the zoo: {error}") from error
    site_head, classes = None, len(entry.labels)
    if head:
        site_head = family_network.head_from_tensors(head, entry.architecture, classes)
    further = family_network.unpacked(packed, _beside(entry.architecture), classes)
    return Network(tensors, features, held_out, inputs, shifted, site_head, further)


def _build_network(zoo: Zoo, entry: Entry, architecture: str, steps: int) -> None:
    base, base_id = bases.read_base(zoo.root, architecture)
    task = sources.load(entry.task)
    images = network.prepared(architecture, task.records)
    labels, classes = task.labels, len(task.names)
    rng = streams.rng(Stream.NETWORK, entry.task.seed, entry.task.family, entry.task.site)
    order = rng.permutation(len(labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held_out, train = np.sort(order[:count]), order[count:]

    def tuned(steps: int) -> dict[str, Array]:
        batch, y = images[train], labels[train]
        return fine_tune(architecture, base, batch, y, classes, steps=steps, rng=rng)

    probe, tensors = tuned(0), tuned(steps)

    shifted: dict[str, Array] = {}
    head: dict[str, Array] = {}
    family_networks: list[FamilyNetwork] = []
    at_sites, kind = "", catalogue.known(architecture)
    if entry.task.own and kind.domain_shift:
        sites, longer = made_up_sites(architecture, task, train, rng), _STEPS_SHIFTED * steps
        site_tensors, site_head = fine_tune_at_sites(
            architecture, base, sites, classes, steps=longer, rng=rng
        )
        at_sites = (
            f"{accuracy_at_sites(architecture, site_tensors, site_head, task, held_out, rng):.4f}"
        )
        shifted, head = network.own(architecture, site_tensors), site_head.tensors()
        family_networks = [
            _from_published(name, entry, task, train, steps) for name in _beside(architecture)
        ]
    data = safetensors.numpy.save(
        {
            **network.own(architecture, tensors),
            **{_SHIFTED + name: tensor for name, tensor in shifted.items()},
            **{_HEAD + name: tensor for name, tensor in head.items()},
            **family_network.packed(family_networks),
            "base_features": network.features(
                network.load_trunk(architecture, base), images
            ).astype(np.float16),
            "held": held_out.astype(np.int32),
            _INPUTS: images[held_out],
        }
    )
    network_entry = NetworkEntry(
        task=entry.key,
        architecture=architecture,
        base=base_id,
        family=entry.family,
        labels=entry.labels,
        probe=f"{accuracy(architecture, probe, images[held_out], labels[held_out]):.4f}",
        accuracy=f"{accuracy(architecture, tensors, images[held_out], labels[held_out]):.4f}",
        at_sites=at_sites,
        sha256=zoo.put(data),
    )
    atomic.write_bytes(_path(zoo.root, entry.key, architecture), canonical.encode(network_entry))


def _beside(architecture: str) -> tuple[str, ...]:
    """Architectures of networks that are made where one of this architecture is."""
    primary, *companions = modality(catalogue.known(architecture).modality).family_networks or ("",)
    return tuple(companions) if architecture == primary else ()


def _from_published(
    architecture: str, entry: Entry, task: sources.Task, train: NDArray[np.intp], steps: int
) -> FamilyNetwork:
    """A network that published weights become at made-up sites."""
    make = network.kind(architecture).published
    if make is None:
        raise ConfigError(f"{architecture}: has no published weights")
    spec = entry.task
    rng = streams.rng(Stream.NETWORK_BESIDE, spec.seed, spec.family, spec.site)
    sites = made_up_sites(architecture, task, train, rng)
    tensors, head = fine_tune_at_sites(
        architecture, make(), sites, len(task.names), steps=steps, rng=rng, rate=_PUBLISHED_RATE
    )
    return FamilyNetwork(architecture, network.trunk_only(tensors), head)


def _path(root: Path, key: str, architecture: str) -> Path:
    return root / "networks" / f"{key}-{architecture}.json"


def _has(root: Path, key: str, architecture: str) -> bool:
    """Whether a task's network is there, made as networks are made now."""
    path = _path(root, key, architecture)
    return path.is_file() and record(path, NetworkEntry, VERSION) is not None
