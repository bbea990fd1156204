"""Whole networks in the zoo: each a task's fine-tuned base, beside the task's features and head.

::

    zoo/bases/ARCHITECTURE.safetensors       the public base
    zoo/networks/KEY-ARCHITECTURE.json       what it is, and its object's hash
    zoo/objects/SHA256.safetensors           its tensors, and records held out of its training

Fine-tuning is LP-FT (Kumar et al., ICLR 2022): a linear probe first, then everything, at a rate
that warms up and falls to nothing (docs/decisions/0163). A fifth of a task's records are held out,
at most ``HELD_LIMIT``; they are what the generator's functional loss and every accuracy of the
entry are measured on.

Of the operator's own images and windows there is a second network in the object, which has seen
the same records at made-up sites (docs/decisions/0210). It is there for a typical site, with all
that a site needs to standardise its norms and its features by its own records
(``wg_common.inference.family_head.NetworkHead``, docs/decisions/0169, 0175). Of the architecture
that stands beside families' heads there is one more of these, made likewise at other made-up sites:
both err on other records (docs/decisions/0190).
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from wg_common import atomic, catalogue, streams
from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.errors import DecodeError
from wg_common.inference import hostile_tensors
from wg_common.inference.block_scale import FLOOR
from wg_common.inference.family_head import Layout, NetworkHead
from wg_common.modalities.registry import modality
from wg_common.nets import family_network, network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.family_network import FamilyNetwork
from wg_common.nets.site_norms import Modulation, SiteNorms
from wg_common.streams import Stream
from wg_common.wire import canonical
from wg_server.zoo import bases, family_heads, heads, sources
from wg_server.zoo.plan import NetworksPlan, TaskSpec
from wg_server.zoo.store import ENTRY_LIMIT, Entry, Zoo

HELD_LIMIT = 64
VERSION = 4  # Of how networks are made; those of another one are made again
_SHIFTED = "elsewhere/"
"""Prefix of the tensors of the network with domain-shift augmentation."""
_HEAD = "site-head/"
"""Prefix of its head on features that a site standardises."""
_ANOTHER = "another/"
"""Prefix of one more such network, with its head."""
_INPUTS = "images"
"""Name of the held-out records in an object, whatever they are."""
_BATCH = 48
_WARM_UP = 30
_RATE = 2e-3
"""Peak, after the warm-up; a cosine takes it to nothing."""
_STEPS_SHIFTED = 2
"""Steps of a network with domain-shift augmentation, in those of one without."""
_TOGETHER = 2
"""Made-up sites in a batch."""
_PROBED = 50
"""Made-up sites of a probe, which also say what a typical one is."""
_JUDGED = 20
"""Made-up sites that a network of such is judged at."""
_TINY = 1e-6
"""Added to a variance before its root is taken."""
_PENALTY = 30.0
"""Of the probe that fine-tuning starts from: an overconfident one throws the first steps off."""
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
        another: One more like ``shifted``; None if there is none.
    """

    tensors: dict[str, Array]
    base_features: Array
    held: NDArray[np.int64]
    inputs: network.Batch
    shifted: dict[str, Array]
    site_head: NetworkHead | None = None
    another: FamilyNetwork | None = None


def wanted(specs: Sequence[TaskSpec], plan: NetworksPlan) -> list[tuple[str, TaskSpec]]:
    """Architecture and task of every network that a plan wants, families evenly chosen."""
    found = []
    by_source: dict[str, dict[int, list[TaskSpec]]] = {}
    for spec in specs:
        by_source.setdefault(spec.name, {}).setdefault(spec.family, []).append(spec)
    for families in by_source.values():
        names = sorted(families)
        count = min(len(names), plan.families or len(names))
        for index in np.linspace(0, len(names) - 1, count).astype(int):
            sites = sorted(families[names[index]], key=lambda spec: spec.site)
            found += sites[: plan.sites]
    return [(architecture, spec) for architecture in plan.architectures for spec in found]


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
        data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
        entry = canonical.decode(NetworkEntry, data, what=str(path))
        if (entry.base, entry.version) == (base, VERSION):
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
        held, inputs = tensors.pop("held").astype(np.int64), tensors.pop(_INPUTS)
        tensors, shifted = hostile_tensors.apart(tensors, _SHIFTED)
        tensors, head = hostile_tensors.apart(tensors, _HEAD)
        tensors, more = hostile_tensors.apart(tensors, _ANOTHER)
    except (KeyError, ValueError) as error:
        raise DecodeError(f"object {entry.sha256}: not a network of the zoo: {error}") from error
    site_head, another, classes = None, None, len(entry.labels)
    if head:
        site_head = family_network.head_from_tensors(head, entry.architecture, classes)
    if more:
        another = family_network.from_tensors(more, entry.architecture, classes)
    return Network(tensors, features, held, inputs, shifted, site_head, another)


def fine_tune(
    architecture: str,
    base: dict[str, Array],
    images: network.Batch,
    labels: NDArray[np.int64],
    classes: int,
    *,
    steps: int,
    rng: np.random.Generator,
) -> dict[str, Array]:
    """LP-FT from a base: of what the trunk has for parameters, and the head.

    Args:
        architecture: Of the base.
        base: Its tensors.
        images: Or windows, n of them; from ``network.prepared``.
        labels: ``[n]``.
        classes: K.
        steps: Of the fine-tuning; 0 leaves a linear probe.
        rng: Draws batches.

    Returns:
        The whole network's tensors.
    """
    trunk = network.load_trunk(architecture, base)
    before = network.features(trunk, images)
    weight, bias = heads.fit_head(before, labels, classes, penalty=_PENALTY)
    head = torch.nn.Linear(before.shape[1], classes)
    model = trunks.channels_last(network.NetworkModel(trunk, head))
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-4)
    for step in range(steps):
        _pace(optimiser, step, steps)
        rows = rng.permutation(len(images))[:_BATCH]
        loss = F.cross_entropy(
            model(torch.from_numpy(images[rows])), torch.from_numpy(labels[rows])
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = network.trunk_tensors(trunk)
    found[HEAD_WEIGHT] = model.head.weight.detach().numpy().copy()
    found[HEAD_BIAS] = model.head.bias.detach().numpy().copy()
    return found


def made_up_sites(
    architecture: str, task: sources.Task, rows: NDArray[np.intp], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]]:
    """Some of a task's records at one made-up site after another, without end.

    Args:
        architecture: Of the network that they are for.
        task: The task.
        rows: Records that may be seen; classes are equally often at a site, as far as possible.
        rng: Draws sites and records.

    Yields:
        A batch ``[m, ...]`` and its labels ``[m]``.
    """
    labels = task.labels[rows]
    of_class = [rows[labels == label] for label in np.unique(labels)]
    count = _BATCH // _TOGETHER
    each = -(-count // len(of_class))
    for site in itertools.count():
        drawn = np.concatenate([np.resize(rng.permutation(own), each) for own in of_class])
        seen = rng.permutation(drawn)[:count]
        shown = sources.at_site(task, seen, site, rng)
        yield network.prepared(architecture, shown), task.labels[seen]


def fine_tune_at_sites(
    architecture: str,
    base: dict[str, Array],
    sites: Iterator[tuple[NDArray[np.generic], NDArray[np.int64]]],
    classes: int,
    *,
    steps: int,
    rng: np.random.Generator,
) -> tuple[dict[str, Array], NetworkHead]:
    """LP-FT from a base, with norms and features that each site standardises by its own records.

    So the trunk need not make features that are the same at all sites, and learns more of classes
    in as many steps. No step sees a site again: a network learns 200 sites by heart
    (docs/decisions/0163). Norms are also changed by what the first one says of a site.

    Args:
        architecture: Of the base.
        base: Its tensors.
        sites: Batches ``[m, ...]`` and labels ``[m]``; from ``made_up_sites``.
        classes: K.
        steps: Of the fine-tuning.
        rng: Draws the weights of what changes norms.

    Returns:
        The whole network's tensors, in which all sites are taken for a typical one, and what a
        site needs to standardise it by its own records.
    """
    trunk = trunks.channels_last(network.load_trunk(architecture, base))
    norms = site_norms.install(architecture, trunk)
    layout = Layout(network.feature_count(architecture), ())
    first = list(itertools.islice(sites, _PROBED))
    features, seen = _seen(trunk, norms, first)
    if norms.norms:
        norms.modulated(_modulation(norms, seen, rng))
    start = _standardised(torch.from_numpy(features)).numpy().reshape(-1, layout.scaled)
    labels = np.concatenate([of for _, of in first])
    probe = heads.fit_head(start, labels, classes, penalty=_PENALTY)
    weight, bias = (torch.from_numpy(part.astype(np.float32)).requires_grad_() for part in probe)
    further = [] if norms.modulation is None else norms.modulation.parameters()
    parameters = [*trunk.parameters(), weight, bias, *further]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=1e-4)
    for step in range(steps):
        _pace(optimiser, step, steps)
        batches, of = zip(*itertools.islice(sites, _TOGETHER), strict=True)
        joined = torch.from_numpy(np.concatenate(batches))
        with norms.together(_TOGETHER):
            out = torch.stack(trunk(network.as_input(joined)).chunk(_TOGETHER))
        logits = _standardised(out) @ weight.T + bias
        loss = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(np.concatenate(of)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    features, seen = _seen(trunk, norms, first)
    head = NetworkHead(
        *family_heads.typical_site(list(features), layout),
        weight=weight.detach().numpy().astype(np.float64) * math.sqrt(layout.scaled),
        bias=bias.detach().numpy().astype(np.float64),
        norms=seen.mean(axis=0),
        **_inner_and_outer(norms),
    )
    norms.fold(head.norms)
    found = network.trunk_tensors(trunk)
    plain = head.typical(layout)
    found[HEAD_WEIGHT], found[HEAD_BIAS] = (part.astype(np.float32) for part in plain)
    return found, head


def _modulation(
    norms: SiteNorms, seen: NDArray[np.float64], rng: np.random.Generator
) -> Modulation:
    """A new one, for sites where norms are ``[C, 2, N]``."""
    first = norms.norms[0].num_channels
    found = Modulation(first, seen.shape[-1], rng)
    found.look_at(torch.from_numpy(seen[:, :, :first].astype(np.float32)))
    return found


def _inner_and_outer(norms: SiteNorms) -> dict[str, NDArray[np.float64]]:
    """Of a modulation; empty arrays if there is none."""
    made = norms.modulation
    if made is None:
        return {"inner": np.zeros((0, 1)), "outer": np.zeros((0, 1))}
    return {
        name: value.detach().numpy().astype(np.float64) for name, value in made.named_parameters()
    }


def _seen(
    trunk: torch.nn.Module,
    norms: SiteNorms,
    sites: Sequence[tuple[NDArray[np.generic], NDArray[np.int64]]],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features ``[C, m, F]`` at each site, and what norms ``[C, 2, N]`` are there."""
    features, found = [], []
    for batch, _ in sites:
        with torch.no_grad():
            features.append(trunk(network.as_input(torch.from_numpy(batch))).numpy())
        found.append(norms.measured())
    return np.stack(features), np.stack(found)


def _pace(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Warm up, then follow half a cosine down (Loshchilov and Hutter, ICLR 2017, equation 5)."""
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    for group in optimiser.param_groups:
        group["lr"] = _RATE * min(1.0, (step + 1) / _WARM_UP) * falling


def _standardised(features: torch.Tensor) -> torch.Tensor:
    """Features ``[C, m, F]``, standardised by site as ``FamilyHead`` does; of variance F."""
    mean = features.mean(dim=1, keepdim=True)
    spread = (features.var(dim=1, keepdim=True, unbiased=False) + _TINY).sqrt()
    inverse = 1 / (spread + FLOOR * spread.mean(dim=-1, keepdim=True))
    loud = (spread * inverse).square().mean(dim=-1, keepdim=True).sqrt()
    return (features - mean) * inverse / loud


def accuracy(
    architecture: str,
    tensors: dict[str, Array],
    images: network.Batch,
    labels: NDArray[np.int64],
) -> float:
    """Share of records that a network gets right; NaN without records."""
    found = network.features(network.load_trunk(architecture, tensors), images)
    logits = found @ tensors[HEAD_WEIGHT].T + tensors[HEAD_BIAS]
    return float((logits.argmax(axis=1) == labels).mean()) if len(labels) else float("nan")


def _build_network(zoo: Zoo, entry: Entry, architecture: str, steps: int) -> None:
    base, base_id = bases.read_base(zoo.root, architecture)
    task = sources.load(entry.task)
    images = network.prepared(architecture, task.records)
    labels, classes = task.labels, len(task.names)
    rng = streams.rng(Stream.NETWORK, entry.task.seed, entry.task.family, entry.task.site)
    order = rng.permutation(len(labels))
    count = min(len(order) // 5, HELD_LIMIT)
    held, train = np.sort(order[:count]), order[count:]

    def tuned(steps: int) -> dict[str, Array]:
        seen, y = images[train], labels[train]
        return fine_tune(architecture, base, seen, y, classes, steps=steps, rng=rng)

    probe, tensors = tuned(0), tuned(steps)

    def tuned_at_sites() -> tuple[dict[str, Array], NetworkHead]:
        sites, longer = made_up_sites(architecture, task, train, rng), _STEPS_SHIFTED * steps
        return fine_tune_at_sites(architecture, base, sites, classes, steps=longer, rng=rng)

    shifted: dict[str, Array] = {}
    head: dict[str, Array] = {}
    more: dict[str, Array] = {}
    at_sites, kind = "", catalogue.known(architecture)
    if entry.task.own and kind.domain_shift:
        found, site_head = tuned_at_sites()
        at_sites = f"{_right_at_sites(architecture, found, site_head, task, held, rng):.4f}"
        shifted, head = network.own(architecture, found), site_head.tensors()
        if architecture == modality(kind.modality).family_network:
            found, another = tuned_at_sites()
            more = FamilyNetwork(architecture, network.trunk_only(found), another).tensors()
    data = safetensors.numpy.save(
        {
            **network.own(architecture, tensors),
            **{_SHIFTED + name: tensor for name, tensor in shifted.items()},
            **{_HEAD + name: tensor for name, tensor in head.items()},
            **{_ANOTHER + name: tensor for name, tensor in more.items()},
            "base_features": network.features(
                network.load_trunk(architecture, base), images
            ).astype(np.float16),
            "held": held.astype(np.int32),
            _INPUTS: images[held],
        }
    )
    record = NetworkEntry(
        task=entry.key,
        architecture=architecture,
        base=base_id,
        family=entry.family,
        labels=entry.labels,
        probe=f"{accuracy(architecture, probe, images[held], labels[held]):.4f}",
        accuracy=f"{accuracy(architecture, tensors, images[held], labels[held]):.4f}",
        at_sites=at_sites,
        sha256=zoo.put(data),
    )
    atomic.write_bytes(_record(zoo.root, entry.key, architecture), canonical.encode(record))


def _right_at_sites(
    architecture: str,
    tensors: dict[str, Array],
    head: NetworkHead,
    task: sources.Task,
    rows: NDArray[np.intp],
    rng: np.random.Generator,
) -> float:
    """Accuracy of a network of made-up sites at some more of them; NaN without records."""
    layout, found = Layout(network.feature_count(architecture), ()), []
    for site in range(_JUDGED if len(rows) else 0):
        batch = network.prepared(architecture, sources.at_site(task, rows, site, rng))
        seen = network.as_input(torch.from_numpy(batch))
        trunk = dict(site_norms.at_site(architecture, tensors, head, seen))
        features = network.features(network.load_trunk(architecture, trunk), batch)
        weight, bias = head.at(features, layout)
        found.append(heads.accuracy(weight, bias, features, task.labels[rows]))
    return float(np.mean(found)) if found else float("nan")


def _record(root: Path, key: str, architecture: str) -> Path:
    return root / "networks" / f"{key}-{architecture}.json"


def _has(root: Path, key: str, architecture: str) -> bool:
    """Whether a task's network is there, made as networks are made now."""
    path = _record(root, key, architecture)
    if not path.is_file():
        return False
    data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
    return canonical.decode(NetworkEntry, data, what=str(path)).version == VERSION
