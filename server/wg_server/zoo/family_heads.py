"""Heads of the operator's families in the zoo: fitted on own records, seen at made-up sites.

::

    zoo/family_heads/KEY.json          what it is, and its object's hash
    zoo/objects/SHA256.safetensors     a ``wg_common.inference.family_head.FamilyHead``, and what
                                       the encoder releases of the records at each made-up site

KEY is that of the family's first task. The family's records are cut as if it had one site, so that
none are left out. Each tenth made-up site sees them as they are; the others each through a camera
of its own (``Modality.augment_site``), of every strength up to the strongest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference import family_head
from wg_common.inference.block_scale import block_scale
from wg_common.inference.discriminants import principal
from wg_common.inference.family_head import FamilyHead, Floats, Layout, moments
from wg_common.nets.encoder.module import Encoder
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import DecodeError
from wg_core.wire import canonical
from wg_server.zoo import heads, sources
from wg_server.zoo.store import Zoo, record
from wg_server.zoo.task_spec import TaskSpec

VERSION = 2  # Of how heads are made; those of another one are made again
_RECORDS = 30  # Records at a made-up site, about: as many of each class
_DIRECTIONS = 256  # Principal directions of standardised features that a head is fitted on
_PENALTY = 0.04
"""Of half the squared weights on them at unit variance, in units of the loss of all records."""
_PRINCIPAL = 2000  # Records whose principal directions are taken, about
_HELD_OUT = 5  # Each so many-th site, and record of a class, is held out of figures' head
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """Local features of one family's records at made-up sites.

    Attributes:
        local: Of each site, float32 ``[n, D]``.
        labels: Of each site, ``[n]``.
    """

    local: Sequence[NDArray[np.float32]]
    labels: Sequence[NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyHeadEntry:
    """What a family's head of the zoo is.

    Attributes:
        task: Key of the family's first task.
        encoder: Id of the encoder, hex.
        family: Name of the family.
        classes: Number of its classes.
        scaled: Number of local features that have a public scale.
        blocks: Sizes of the blocks of the others.
        sites: Number of made-up sites.
        at_sites: Accuracy of such a head, of records held out of its training at sites that were,
            decimal string.
        sha256: Of the object, hex.
    """

    version: int = VERSION
    task: str
    encoder: str
    family: str
    classes: int
    scaled: int
    blocks: tuple[int, ...]
    sites: int
    at_sites: str
    sha256: str


def wanted(specs: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The first task of each of the operator's families."""
    return [spec for spec in specs if spec.own and spec.site == 0]


def has(zoo: Zoo, spec: TaskSpec, encoder: str, sites: int) -> bool:
    """Whether the head of a family is there, of so many made-up sites."""
    path = _path(zoo.root, spec.key(encoder))
    entry = record(path, FamilyHeadEntry, VERSION) if path.is_file() else None
    return entry is not None and entry.sites == sites


def made(encoder: Encoder, spec: TaskSpec, sites: int) -> tuple[bytes, FamilyHeadEntry]:
    """Show a family's records at made-up sites, encode them, and fit: an object and its record."""
    task = sources.load(replace(spec, sites=1))
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)
    shown_sites, held_out = _seen(encoder, task, spec, sites)
    classes = len(task.names)
    head = fit(shown_sites, classes, layout)
    accuracy = accuracy_at_sites(shown_sites, held_out, classes, layout)
    released = np.stack(shown_sites.local)[:, :, : encoder.dimension]
    data = safetensors.numpy.save({**head.tensors(), _SITES: released.astype(np.float16)})
    return data, FamilyHeadEntry(
        task=spec.key(encoder.id),
        encoder=encoder.id,
        family=task.family,
        classes=len(task.names),
        scaled=layout.scaled,
        blocks=layout.blocks,
        sites=sites,
        at_sites=f"{accuracy:.4f}",
        sha256=canonical.sha256_hex(data),
    )


def write(zoo: Zoo, data: bytes, entry: FamilyHeadEntry) -> None:
    """Store an object and its record."""
    zoo.put(data)
    atomic.write_bytes(_path(zoo.root, entry.task), canonical.encode(entry))


def entries(zoo: Zoo, encoder: str) -> Iterator[FamilyHeadEntry]:
    """All of one encoder and of this version, by name.

    Raises:
        DecodeError: A record is damaged; the message names the file.
    """
    for path in sorted((zoo.root / _FOLDER).glob("*.json")):
        entry = record(path, FamilyHeadEntry, VERSION)
        if entry is not None and entry.encoder == encoder:
            yield entry


def read(zoo: Zoo, entry: FamilyHeadEntry) -> tuple[Layout, FamilyHead, NDArray[np.float16]]:
    """A record's object: what local features its head stands on, the head, and its made-up sites.

    The last are released features, ``[C, n, d]``.

    Raises:
        VerificationError: The object does not match its hash.
        DecodeError: It is no head of a family.
    """
    layout, tensors = Layout(entry.scaled, entry.blocks), dict(zoo.tensors(entry.sha256))
    sites = tensors.pop(_SITES, np.zeros(0, np.float16))
    if sites.ndim != 3 or len(sites) != entry.sites or not np.isfinite(sites).all():
        raise DecodeError(f"family head: sites {sites.shape}, expected {entry.sites}")
    return layout, family_head.from_tensors(tensors, entry.classes, layout), sites


def fit(sites: Sites, classes: int, layout: Layout) -> FamilyHead:
    """The head of a family.

    Args:
        sites: At least one.
        classes: K.
    """
    site_moments = _moments(sites.local, layout)
    flat = np.concatenate(
        [
            (local[:, layout.start :] - mean.astype(np.float32))
            * block_scale(np.exp(spread), layout.sizes).astype(np.float32)
            for local, (mean, spread) in zip(sites.local, site_moments, strict=True)
        ]
    )
    rows = np.linspace(0, len(flat) - 1, min(len(flat), _PRINCIPAL)).astype(np.int64)
    sample = flat[rows].astype(np.float64)
    _, vectors = principal(sample, min(_DIRECTIONS, *sample.shape))
    z, labels = flat @ vectors.astype(np.float32), np.concatenate(sites.labels)
    weight, bias = heads.fit_head(z, labels, classes, penalty=_PENALTY * len(z))
    return FamilyHead(*typical_site(sites.local, layout), weight=weight @ vectors.T, bias=bias)


def accuracy_at_sites(
    sites: Sites, held_out: NDArray[np.bool_], classes: int, layout: Layout
) -> float:
    """What a head of a family is worth: at sites, and of records, that it was not fitted on.

    Args:
        sites: At least ten.
        held_out: Records that are held out, wherever they are seen, ``[C, n]``.
        classes: K.
    """
    every = list(zip(sites.local, sites.labels, held_out, strict=True))
    training = [site for number, site in enumerate(every, 1) if number % _HELD_OUT]
    shown = [(local[~h], labels[~h]) for local, labels, h in training]
    head = fit(Sites(*zip(*shown, strict=True)), classes, layout)
    right: list[NDArray[np.bool_]] = []
    for local, labels, h in every[_HELD_OUT - 1 :: _HELD_OUT]:
        weight, bias = head.at(local, layout)
        right.append((local[h] @ weight.T + bias).argmax(axis=1) == labels[h])
    return float(np.concatenate(right).mean())


def typical_site(local: Sequence[NDArray[np.float32]], layout: Layout) -> tuple[Floats, Floats]:
    """What ``FamilyHead`` calls ``reference`` and ``records``.

    Args:
        local: Of each site, ``[n, D]``.
    """
    site_moments = _moments(local, layout)
    within = float(np.exp(2 * site_moments[:, 1]).mean())
    count = float(np.mean([len(features) for features in local]))
    between = (
        float(site_moments[:, 0].var(axis=0, ddof=min(1, len(site_moments) - 1)).mean())
        - within / count
    )
    return site_moments.mean(axis=0), np.array([within / max(between, _TINY * within)])


def _moments(local: Sequence[NDArray[np.float32]], layout: Layout) -> Floats:
    """Of each site, ``[C, 2, B]``."""
    return np.stack([moments(features, layout) for features in local])


def _seen(
    encoder: Encoder, task: sources.Task, spec: TaskSpec, sites: int
) -> tuple[Sites, NDArray[np.bool_]]:
    """Local features of the records at made-up sites, each class as often at each of them.

    And which of these records are held out of figures.
    """
    local, shown = [], []
    of_class = [np.flatnonzero(task.labels == label) for label in range(len(task.names))]
    per_class = max(2, _RECORDS // len(of_class))
    for site in range(sites):
        rng = streams.rng(Stream.FAMILY_HEAD, spec.seed, spec.family, then=(site,))
        rows = np.concatenate(
            [np.resize(rng.permutation(members), per_class) for members in of_class]
        )
        records = sources.at_site(task.some(rows), task.modality, site, rng)
        local.append(encoder.encode_batched(records))
        shown.append(rows)
    out = np.zeros(len(task.labels), bool)
    for members in of_class:
        out[members[min(_HELD_OUT, len(members)) - 1 :: _HELD_OUT]] = len(members) > 1
    return Sites(local, [task.labels[rows] for rows in shown]), out[np.stack(shown)]


_FOLDER = "family_heads"
_SITES = "sites"


def _path(root: Path, key: str) -> Path:
    return root / _FOLDER / f"{key}.json"
