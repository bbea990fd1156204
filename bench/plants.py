"""Plants cut from real data sets: own records, same-family sites, and held-out test records.

A data set is cut by groups (pictures that were taken together) into a test part, the plant's own
records and three same-family sites with other cameras. Features are cached by content, since
encoding takes most of the time.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities import cameras
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_core.errors import DataError
from wg_core.privacy import mechanism
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import default_schema
from wg_core.wire import canonical
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics

DELTA = 1e-5
CLASSES = 10
SAME_FAMILY_SITES = 3
TESTS = 300
_PER_CLASS = {"own": 100, "sister": 70}
_CUT = 4  # Version of the cut; cached features of another one are not used

DATASETS = (
    "neu_det",
    "elpv_mono",
    "deeppcb_a",
    "magnetic_tile",
    "bridge_crack",
    "trashnet",
    "mnist10k",
    "fashion_mnist",
    "gtsrb",
    "cifar10",
    "omniglot_small",
    "digits",
)
QUICK = ("neu_det", "elpv_mono", "deeppcb_a", "bridge_crack", "mnist10k", "digits")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Images = list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Plants:
    """Local features of the plant, same-family sites and test records of one data set.

    Attributes:
        labels: Class names.
        dimension: Number d of released features, which come first.
        own: Features ``[n, D]`` and classes ``[n]`` of the plant, to draw its labels from.
        same_family: Features and classes of each same-family site.
        test: Features and classes of the test records, under the plant's own camera.
        groups: Groups of the plant's own records, ``[n]``: pictures that were taken together.
    """

    labels: tuple[str, ...]
    dimension: int
    own: tuple[Floats, Ints]
    same_family: tuple[tuple[Floats, Ints], ...]
    test: tuple[Floats, Ints]
    groups: Ints


def load_images(root: Path, name: str) -> tuple[Images, Ints, Ints] | None:
    """Load images, labels and groups of a data set; None if it is missing."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.kron(digits.images, np.ones((1, 4, 4))) * 15.9
        return list(images.astype(np.uint8)), digits.target, np.arange(len(digits.target))
    path = root / name / "data.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        images, labels = archive["x"], archive["y"].astype(np.int64)
        if "group" in archive:
            groups = np.unique(archive["group"], return_inverse=True)[1]
        else:
            groups = np.arange(len(labels))
    return list(images), labels, groups


def cut_data_set(
    encoder: Encoder,
    identity: str,
    root: Path,
    name: str,
    seed: int,
    strength: float,
    cache: Path,
    *,
    per_class: Mapping[str, int] = _PER_CLASS,
    test_records: int = TESTS,
) -> Plants | None:
    """Cut a data set into plants, or read them from the cache; None if the set is missing.

    Args:
        per_class: Number of records per class at the plant (``own``) and at a same-family site
            (``sister``).
    """
    about = {
        "records": f"{per_class['own']} {per_class['sister']} {test_records}",
        "cut": _CUT,
        "encoder": identity,
        "dataset": name,
        "seed": seed,
        "strength": repr(strength),
    }
    path = cache / f"{name}-{canonical.sha256_hex(canonical.encode(about))[:24]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            return unpack_plants(dict(archive))
    data = load_images(root, name)
    if data is None:
        return None
    found = _cut(encoder, data, seed, strength, per_class, test_records)
    cache.mkdir(parents=True, exist_ok=True)
    parts = {"own": found.own, "test": found.test}
    parts |= {f"sister{i}": site for i, site in enumerate(found.same_family)}
    arrays: dict[str, NDArray[np.generic]] = {
        "labels": np.array(found.labels),
        "dimension": np.array(found.dimension),
        "groups": found.groups,
    }
    for key, (x, y) in parts.items():
        arrays |= {f"{key}.x": x, f"{key}.y": y}
    half = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(half, **arrays)  # type: ignore[arg-type]
    half.replace(path)
    return found


def simulate_release(
    encoder: str,
    x: Floats,
    y: Ints,
    labels: tuple[str, ...],
    epsilon: float,
    rng: np.random.Generator,
) -> NoisyStatistics:
    """Simulate a release of records ``[n, d]``, with a real one's noise scale; inf: no noise."""
    schema = default_schema(encoder=encoder, dimension=x.shape[1], labels=labels, clip_radius=1.0)
    sigma = 0.0 if np.isinf(epsilon) else mechanism.noise_scale(schema, epsilon, DELTA)
    return simulate_noisy_statistics(schema, x, y, sigma, rng)


def unpack_plants(arrays: dict[str, NDArray[np.generic]]) -> Plants:
    """Unpack plants from the arrays of a cache file."""

    def part(key: str) -> tuple[Floats, Ints]:
        return arrays[f"{key}.x"].astype(np.float64), arrays[f"{key}.y"].astype(np.int64)

    return Plants(
        tuple(str(name) for name in arrays["labels"]),
        int(arrays["dimension"]),
        part("own"),
        tuple(part(f"sister{i}") for i in range(SAME_FAMILY_SITES)),
        part("test"),
        arrays["groups"].astype(np.int64),
    )


def _cut(
    encoder: Encoder,
    data: tuple[Images, Ints, Ints],
    seed: int,
    strength: float,
    per_class: Mapping[str, int],
    test_records: int,
) -> Plants:
    images, labels, groups = data
    rng = np.random.default_rng((seed, 1))
    part_of, usable = split_groups(labels, groups, rng)
    chosen = np.sort(rng.permutation(usable)[:CLASSES])
    lookup = {int(c): i for i, c in enumerate(chosen)}
    found, own_groups = [], np.zeros(0, dtype=np.int64)
    for part in range(2 + SAME_FAMILY_SITES):
        rows = rng.permutation(np.flatnonzero((part_of == part) & np.isin(labels, chosen)))
        most = per_class["own" if part == 1 else "sister"]
        kept = first_rows(rows, labels, test_records if part == 0 else None, most)
        own_groups = groups[kept] if part == 1 else own_groups
        pictures = [images[row] for row in kept]
        own_rng = np.random.default_rng((seed, 2, min(part, 1) + 10 * max(0, part - 1)))
        power = strength if part < 2 else 0.6
        if power:
            camera_rng = np.random.default_rng((seed, 3, max(part, 1)))
            camera = cameras.draw_camera(camera_rng, strength=power, may_turn=False)
            pictures = [photograph(p, camera, own_rng) for p in pictures]
        y = np.array([lookup[int(labels[row])] for row in kept], dtype=np.int64)
        found.append((encoder.encode_local(pictures).astype(np.float64), y))
    names = tuple(f"class-{c}" for c in chosen)
    return Plants(names, encoder.dimension, found[1], tuple(found[2:]), found[0], own_groups)


def split_groups(labels: Ints, groups: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Assign groups of records to test, own and other sites.

    Of twenty random draws, the one with most classes in both test and own records is taken.

    Returns:
        Part of each record: 0 test, 1 own, or from 2 other sites; and the classes in both.
    """
    best: tuple[Ints, Ints] | None = None
    for _ in range(20):
        part_of = rng.choice(
            2 + SAME_FAMILY_SITES, groups.max() + 1, p=[0.3, 0.25, 0.15, 0.15, 0.15]
        )[groups]
        table = np.zeros((2, labels.max() + 1), dtype=np.int64)
        for part in (0, 1):
            table[part] = np.bincount(labels[part_of == part], minlength=table.shape[1])
        usable = np.flatnonzero(table.min(axis=0) >= 3)
        if best is None or len(usable) > len(best[1]):
            best = part_of, usable
    if best is None or len(best[1]) < 2:
        raise DataError("a data set has too few groups to be cut into plants")
    return best


def first_rows(rows: Ints, labels: Ints, total: int | None, per_class: int) -> list[int]:
    """Return the first ``total`` rows, or else the first ``per_class`` of every class."""
    if total is not None:
        return [int(row) for row in rows[:total]]
    seen: Counter[int] = Counter()
    kept = []
    for row in rows:
        if seen[labels[row]] < per_class:
            kept.append(int(row))
            seen[labels[row]] += 1
    return kept


def photograph(
    image: NDArray[np.uint8], camera: cameras.Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    grey = image.astype(np.float32) / 255
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    side = min(grey.shape) // 4 * 4
    return np.asarray(cameras.photograph(rng, grey[None, :side, :side], camera)[0])
