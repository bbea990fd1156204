"""Sources of public tasks: the procedural library, Fashion-MNIST, and the operator's own files.

A file source makes *families* of class subsets and *sites* of disjoint records, each seen through
a camera of its own; the first site of a family sees the records as they are.
"""

from __future__ import annotations

import functools
import gzip
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import ConfigError, DataError
from wg_server.zoo.plan import SourcePlan, TaskSpec, ZooPlan
from wg_server.zoo.procedural import cameras, families

log = logging.getLogger(__name__)

Pictures = NDArray[np.uint8]

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
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One public data set of the zoo.

    Attributes:
        images: Each uint8 ``[h, w]`` or ``[h, w, 3]``.
        labels: ``[n]``.
        names: Class names.
        family: Name of the family.
        licence: Terms of the images.
    """

    images: list[Pictures]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    family: str
    licence: str


@dataclass(frozen=True, slots=True, eq=False)
class _Archive:
    images: list[Pictures]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def available(plan: ZooPlan) -> ZooPlan:
    """The plan without the optional sources that this machine lacks; each is logged."""
    kept: list[SourcePlan] = []
    for source in plan.sources:
        if source.kind == "fashion-mnist" and fashion_folder(source.path) is None:
            log.info("zoo: Fashion-MNIST is not installed; its tasks are left out")
            continue
        kept.append(source)
    return ZooPlan(
        seed=plan.seed,
        architecture=plan.architecture,
        encoder=plan.encoder,
        sources=tuple(kept),
        networks=plan.networks,
    )


def load(spec: TaskSpec) -> Task:
    """Render or read one task.

    Raises:
        DataError: A file is missing or is not what the plan says.
    """
    if spec.kind == "procedural":
        return _procedural(spec)
    if spec.kind == "fashion-mnist":
        archive, licence = _fashion(spec.path), "MIT"
    elif spec.kind == "npz":
        archive, licence = _npz(spec.path), spec.licence
    else:
        archive, licence = _folder(spec.path), spec.licence
    return _cut(spec, archive, licence)


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
    rng = np.random.default_rng((spec.seed, spec.family, spec.site, 4))
    images = families.render(family, site, labels, rng)
    return Task(list(images), labels, family.labels, family.name, "none (rendered)")


def _cut(spec: TaskSpec, archive: _Archive, licence: str) -> Task:
    """One family's class subset, one site's records, one camera."""
    rng = np.random.default_rng((spec.seed, spec.family, 5))
    total = len(archive.names)
    size = total if spec.family == 0 else int(rng.integers(min(3, total), total + 1))
    classes = np.sort(rng.permutation(total)[:size])
    images: list[Pictures] = []
    labels: list[int] = []
    for new, old in enumerate(classes):
        rows = np.array_split(rng.permutation(np.flatnonzero(archive.labels == old)), spec.sites)
        chosen = rows[spec.site][: spec.per_class]
        images += [archive.images[row] for row in chosen]
        labels += [new] * len(chosen)
    site_rng = np.random.default_rng((spec.seed, spec.family, spec.site, 6))
    if spec.site > 0:
        camera = cameras.draw_camera(site_rng, strength=float(spec.strength), mounted=False)
        images = [_rephotograph(image, camera, site_rng) for image in images]
    names = tuple(archive.names[c] for c in classes)
    family = f"{spec.name}-{spec.family}"
    return Task(images, np.array(labels, dtype=np.int64), names, family, licence)


def _rephotograph(image: Pictures, camera: cameras.Camera, rng: np.random.Generator) -> Pictures:
    grey = image.astype(np.float32) / 255
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    side = min(grey.shape) // 4 * 4
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    square = grey[top : top + side, left : left + side]
    return np.asarray(cameras.photograph(rng, square[None], camera)[0])


@functools.lru_cache(maxsize=1)
def _fashion(path: str) -> _Archive:
    folder = fashion_folder(path)
    if folder is None:
        raise DataError("Fashion-MNIST: no IDX files found")
    images = _idx(folder, "train-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    labels = _idx(folder, "train-labels-idx1-ubyte", 8).astype(np.int64)
    return _Archive(list(images), labels, _FASHION)


def _idx(folder: Path, name: str, header: int) -> Pictures:
    plain, packed = folder / name, folder / f"{name}.gz"
    data = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    return np.frombuffer(data, dtype=np.uint8, offset=header)


@functools.lru_cache(maxsize=2)
def _npz(path: str) -> _Archive:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y, classes = archive["x"], archive["y"].astype(np.int64), archive["classes"]
            keep = archive["split"] == 0 if "split" in archive else np.ones(len(y), bool)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not an archive of x, y and classes: {error}") from error
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or len(x) != len(y):
        raise DataError(f"{path}: x is {x.dtype} of shape {x.shape}, expected uint8 images")
    return _Archive(list(x[keep]), y[keep], tuple(str(c) for c in classes))


@functools.lru_cache(maxsize=2)
def _folder(path: str) -> _Archive:
    from PIL import Image

    root = Path(path)
    names = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if len(names) < 2:
        raise DataError(f"{path}: expected a folder with one sub-folder a class, at least two")
    images: list[Pictures] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        for file in _pictures(root / name):
            try:
                with Image.open(file) as picture:
                    grey = picture.mode in ("1", "L", "I;16")
                    images.append(np.asarray(picture.convert("L" if grey else "RGB")))
            except (OSError, Image.DecompressionBombError) as error:
                raise DataError(f"{file}: not a picture: {error}") from error
            labels.append(label)
    return _Archive(images, np.array(labels, dtype=np.int64), tuple(names))


def _pictures(folder: Path) -> Iterable[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
