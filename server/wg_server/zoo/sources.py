"""Sources of public tasks: the procedural library, public data sets, and the operator's own files.

A file source makes *families* of class subsets and *sites* of disjoint records, each seen through
a camera of its own; the first site of a family sees the records as they are. Sensor windows have
sensors of their own instead of a camera.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.errors import ConfigError, DataError
from wg_common.streams import Stream
from wg_server.zoo import archives, packed, torchvision_sets
from wg_server.zoo.plan import SourcePlan, TaskSpec, ZooPlan
from wg_server.zoo.procedural import cameras, families
from wg_server.zoo.procedural_windows import families as window_families
from wg_server.zoo.procedural_windows import sensors

log = logging.getLogger(__name__)

Pictures = archives.Pictures

_FASHION = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
_FASHION_FOLDERS = (
    "/usr/share/datasets/fashion-mnist",
    "/usr/share/dataset-fashion-mnist",
    "~/.cache/torch/datasets/FashionMNIST/raw",
    "~/.cache/torchvision/FashionMNIST/raw",
    "~/data/FashionMNIST/raw",
)
_ELSEWHERE = 0.3, 1.0
"""Strengths of the cameras and sensors of other sites."""
_VIEWS = 2
"""Views of each of the operator's own records through cameras of other sites."""
_LEAST = 5
"""Fewest records of a class at a site."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One public data set of the zoo.

    Attributes:
        records: Images, each uint8 ``[h, w]`` or ``[h, w, 3]``, or sensor windows, each float32
            ``[channels, time]``.
        labels: ``[n]``.
        names: Class names.
        family: Name of the family.
        licence: Terms of the records.
    """

    records: list[NDArray[Any]]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    family: str
    licence: str

    @property
    def images(self) -> list[Pictures]:
        """The records of a task of images."""
        return self.records


def available(plan: ZooPlan) -> ZooPlan:
    """The plan without the optional sources that this machine lacks; each is logged.

    Raises:
        ConfigError: Nothing is left, or torchvision has no data set of a source's name.
    """
    kept: list[SourcePlan] = []
    for source in plan.sources:
        if source.kind == "fashion-mnist" and fashion_folder(source.path) is None:
            log.info("zoo: Fashion-MNIST is not installed; its tasks are left out")
            continue
        if source.kind == "torchvision" and not torchvision_sets.present(source.name, source.path):
            log.info("zoo: %s is not at %s; its tasks are left out", source.name, source.path)
            continue
        kept.append(source)
    if not kept:
        raise ConfigError("zoo: none of the plan's sources is on this machine")
    return dataclasses.replace(plan, sources=tuple(kept))


def load(spec: TaskSpec) -> Task:
    """Render or read one task.

    Raises:
        DataError: A file is missing or is not what the plan says.
    """
    if spec.kind == "procedural":
        return _procedural(spec)
    if spec.kind == "procedural-windows":
        return _procedural_windows(spec)
    if spec.kind == "fashion-mnist":
        return _cut(spec, _fashion(spec.path), "MIT")
    if spec.kind == "torchvision":
        archive = torchvision_sets.read(spec.name, spec.path)
    else:
        archive = _READERS[spec.kind](spec.path)
    return _cut(spec, archive, spec.licence)


def elsewhere(records: Sequence[NDArray[Any]], rng: np.random.Generator) -> list[NDArray[Any]]:
    """Records as other sites may see them: each through a camera or sensors of its own."""
    found: list[NDArray[Any]] = []
    for record in records:
        strength = float(rng.uniform(*_ELSEWHERE))
        if record.dtype == np.uint8:
            camera = cameras.draw_camera(rng, strength=strength, mounted=False)
            found.append(_rephotograph(record, camera, rng))
        else:
            chain = sensors.draw(rng, np.eye(len(record)), 1.0, strength, direct=True)
            found += sensors.observe(rng, record[None].astype(np.float64), chain)
    return found


def other_views(
    records: Sequence[NDArray[Any]], rng: np.random.Generator
) -> list[list[NDArray[Any]]]:
    """All records as some other sites may see them, as often as a kind of plant needs."""
    return [elsewhere(records, rng) for _ in range(_VIEWS)]


def fashion_folder(path: str = "") -> Path | None:
    """Where Fashion-MNIST's IDX files lie, if anywhere."""
    for name in (path,) if path else _FASHION_FOLDERS:
        folder = Path(name).expanduser()
        if any((folder / f"train-images-idx3-ubyte{end}").is_file() for end in ("", ".gz")):
            return folder
    return None


def _procedural(spec: TaskSpec) -> Task:
    if spec.only and spec.only not in families.KINDS:
        raise ConfigError(f"only: {spec.only!r}, expected one of {', '.join(families.KINDS)}")
    family = families.draw_family((spec.seed, spec.family), spec.only or None)
    strength = 0.3 * float(spec.strength) if spec.site == 0 else float(spec.strength)
    site = families.draw_site(family, spec.site, strength=strength)
    labels = np.repeat(np.arange(len(family.classes)), spec.per_class)
    rng = streams.rng(Stream.RECORDS, spec.seed, spec.family, spec.site)
    images = families.render(family, site, labels, rng)
    return Task(list(images), labels, family.labels, family.name, "none (rendered)")


def _procedural_windows(spec: TaskSpec) -> Task:
    if spec.only and spec.only not in window_families.KINDS:
        known = ", ".join(window_families.KINDS)
        raise ConfigError(f"only: {spec.only!r}, expected one of {known}")
    family = window_families.draw_family((spec.seed, spec.family), spec.only or None)
    strength = 0.3 * float(spec.strength) if spec.site == 0 else float(spec.strength)
    site = window_families.draw_site(family, spec.site, strength=strength)
    labels = np.repeat(np.arange(len(family.labels)), spec.per_class)
    rng = streams.rng(Stream.RECORDS, spec.seed, spec.family, spec.site)
    windows = window_families.render(family, site, labels, rng)
    return Task(list(windows), labels, family.labels, family.name, "none (rendered)")


def _cut(spec: TaskSpec, archive: archives.Archive, licence: str) -> Task:
    """One family's class subset, one site's records, one camera."""
    rng = streams.rng(Stream.CLASS_SUBSET, spec.seed, spec.family)
    total = len(archive.names)
    size = total if spec.family == 0 else int(rng.integers(min(3, total), total + 1))
    classes = np.sort(rng.permutation(total)[:size])
    records: list[NDArray[Any]] = []
    labels: list[int] = []
    for new, old in enumerate(classes):
        rows = np.array_split(rng.permutation(np.flatnonzero(archive.labels == old)), spec.sites)
        chosen = rows[spec.site][: spec.per_class]
        if len(chosen) < _LEAST:
            raise DataError(
                f"source {spec.name}: class {archive.names[old]!r} has {len(chosen)} records for"
                f" site {spec.site} of {spec.sites}, expected at least {_LEAST}; plan fewer sites"
            )
        records += [archive.images[row] for row in chosen]
        labels += [new] * len(chosen)
    site_rng = streams.rng(Stream.CAMERA, spec.seed, spec.family, spec.site)
    strength = float(spec.strength)
    if spec.site > 0 and archive.modality == "windows":
        channels = len(records[0])
        chain = sensors.draw(site_rng, np.eye(channels), 1.0, strength, direct=True)
        stack = np.stack(records).astype(np.float64)
        records = list(sensors.observe(site_rng, stack, chain))
    elif spec.site > 0:
        camera = cameras.draw_camera(site_rng, strength=strength, mounted=False)
        records = [_rephotograph(image, camera, site_rng) for image in records]
    names = tuple(archive.names[c] for c in classes)
    family = f"{spec.name}-{spec.family}"
    return Task(records, np.array(labels, dtype=np.int64), names, family, licence)


def _rephotograph(image: Pictures, camera: cameras.Camera, rng: np.random.Generator) -> Pictures:
    grey = image.astype(np.float32) / 255
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    side = min(grey.shape) // 4 * 4
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    square = grey[top : top + side, left : left + side]
    return np.asarray(cameras.photograph(rng, square[None], camera)[0])


@functools.lru_cache(maxsize=1)
def _fashion(path: str) -> archives.Archive:
    folder = fashion_folder(path)
    if folder is None:
        raise DataError("Fashion-MNIST: no IDX files found")
    return archives.read_idx(folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", _FASHION)


_READERS = {
    "npz": archives.read_npz,
    "folder": archives.read_folder,
    "archive": packed.read_packed,
}
