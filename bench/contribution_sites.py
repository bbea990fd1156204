"""A plant, its test records and one large same-family site, cut from a data set and encoded once.

Records are cut by groups (what was recorded together stays together). The other site has up to
1,000 records a class, seen as they are or, as another site would, through other equipment: a camera
or sensors of strength 0.6, as same-family sites have in ``bench.generator``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench.plants import Floats, Ints, load_images, see
from numpy.typing import NDArray

from wg_common.modalities import cameras, sensors
from wg_common.nets.encoder.module import Encoder

MOST = 1000  # Most records of a class at the other site
CLASSES = 3
IMAGES = (
    "fashion_mnist",
    "mnist10k",
    "deeppcb_a",
    "bridge_crack",
    "cifar10",
    "trashnet",
    "neu_det",
)
WINDOWS = ("cmapss_fd001", "cwru_de", "tep")
DATASETS = {"images": IMAGES, "windows": WINDOWS}
"""By modality; those with enough records for a site of at least 60 a class."""
_OWN, _TESTS, _LARGEST = 40, 60, 0.3
_GROUPED = 0.15
"""Least share of records that plant and test part are drawn from, so that they have many groups."""
_STRENGTH = 0.6
_CUT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """One data set, cut up. K classes.

    Attributes:
        labels: Class names.
        own: Local features ``[n, D]`` and classes of the plant, to draw its labels from.
        test: The same of the test records.
        other: Released features and classes of the other site's records.
        groups: Of the plant's own records, ``[n]``: what was recorded together.
    """

    labels: tuple[str, ...]
    own: tuple[Floats, Ints]
    test: tuple[Floats, Ints]
    other: tuple[Floats, Ints]
    groups: Ints


def sites(encoder: Encoder, root: Path, name: str, equipment: str, cache: Path) -> Sites | None:
    """Cut and encode a data set, or read it from the cache; None if it is not there.

    Args:
        equipment: What the other site's records are seen through: ``same`` as the plant's, or
            ``other``.
    """
    paths = [
        cache / f"contribution-sites-{_CUT}-{name}-{part}-{encoder.id[:16]}.npz"
        for part in ("plant", equipment)
    ]
    if not all(path.is_file() for path in paths):
        cut = _cut(root, name)
        if cut is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        made = _plant, _other
        for path, make in zip(paths, made, strict=True):
            if not path.is_file():
                half = path.with_suffix(".half.npz")
                np.savez(half, **make(encoder, cut, equipment))  # type: ignore[arg-type]
                half.replace(path)
    with np.load(paths[0], allow_pickle=False) as plant, np.load(paths[1]) as other:
        return Sites(
            labels=tuple(str(label) for label in plant["labels"]),
            own=(plant["own"].astype(np.float64), plant["own_y"].astype(np.int64)),
            test=(plant["test"].astype(np.float64), plant["test_y"].astype(np.int64)),
            other=(other["other"].astype(np.float64), other["other_y"].astype(np.int64)),
            groups=plant["groups"].astype(np.int64),
        )


Records = list[NDArray[np.generic]]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Class names; records and labels of plant, test part and other site; the plant's groups."""

    labels: tuple[str, ...]
    parts: tuple[tuple[Records, Ints], ...]
    groups: Ints
    windows: bool


def _cut(root: Path, name: str) -> _Cut | None:
    windows = name in WINDOWS
    data = _windows(root, name) if windows else load_images(root, name)
    if data is None:
        return None
    records, labels, groups = data
    rng = np.random.default_rng(4)
    usable = np.unique(labels[labels >= 0])
    chosen = np.sort(rng.permutation(usable)[:CLASSES])
    size = np.median(np.bincount(labels[np.isin(labels, chosen)])[chosen])
    least = _GROUPED if len(np.unique(groups)) < len(groups) else 0.0
    shares = [min(_LARGEST, max(least, most / size)) for most in (_OWN, _TESTS)]
    part_of = _parts(labels, groups, chosen, [*shares, 1 - sum(shares)], rng)
    found, own_groups = [], groups[:0]
    for number, most in enumerate((_OWN, _TESTS, MOST)):
        inside = rng.permutation(np.flatnonzero(part_of == number))
        rows = rng.permutation(np.concatenate([inside[labels[inside] == c][:most] for c in chosen]))
        own_groups = own_groups if number else groups[rows]
        found.append(([records[row] for row in rows], np.searchsorted(chosen, labels[rows])))
    names = tuple(f"class-{c}" for c in chosen)
    return _Cut(names, tuple(found), own_groups, windows)


def _plant(encoder: Encoder, cut: _Cut, _equipment: str) -> Arrays:
    (own, own_y), (test, test_y), _ = cut.parts
    arrays: Arrays = {"labels": np.array(cut.labels), "own_y": own_y, "test_y": test_y}
    arrays["groups"] = cut.groups
    arrays |= {"own": encoder.encode_batched(own), "test": encoder.encode_batched(test)}
    return arrays


def _other(encoder: Encoder, cut: _Cut, equipment: str) -> Arrays:
    records, labels = cut.parts[2]
    if equipment != "same":
        records = _sensed(records) if cut.windows else _photographed(records)
    return {"other": encoder.encode_batched(records)[:, : encoder.dimension], "other_y": labels}


def _parts(
    labels: Ints, groups: Ints, chosen: Ints, shares: list[float], rng: np.random.Generator
) -> Ints:
    """Part of each record, groups whole: of fifty draws the one whose scarcest class has most."""
    best, most = np.full(len(labels), -1), -1.0
    for _ in range(50):
        part_of = rng.choice(len(shares), int(groups.max()) + 1, p=shares)[groups]
        part_of = np.where(np.isin(labels, chosen), part_of, -1)
        caps = (20, 20, 60)
        scarcest = min(
            min(cap, int(((part_of == part) & (labels == c)).sum())) / cap
            for part, cap in enumerate(caps)
            for c in chosen
        )
        if scarcest > most:
            best, most = part_of, scarcest
    return best


def _windows(root: Path, name: str) -> tuple[Records, Ints, Ints] | None:
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        windows, labels = archive["x"].astype(np.float32), archive["y"].astype(np.int64)
        groups = np.arange(len(labels))
        if "group" in archive:
            groups = np.unique(archive["group"], return_inverse=True)[1]
    return list(windows), labels, groups


def _photographed(images: Records) -> Records:
    camera = cameras.draw_camera(np.random.default_rng((0, 3)), strength=_STRENGTH, mounted=False)
    rng = np.random.default_rng((0, 2))
    return [see(image.astype(np.uint8), camera, rng) for image in images]


def _sensed(windows: Records) -> Records:
    own = np.stack(windows)
    sensor_rng, noise_rng = np.random.default_rng((0, 3)), np.random.default_rng((0, 2))
    chain = sensors.draw(sensor_rng, np.eye(own.shape[1]), 1.0, _STRENGTH, direct=True)
    return list(sensors.observe(noise_rng, own.astype(np.float64), chain).astype(np.float32))
