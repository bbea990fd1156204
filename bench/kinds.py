"""Kinds of plants from real data sets: a plant and eight others, with different cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import plants as cuts
from bench.more_plants import plant_features
from bench.plants import Floats, Ints

from wg_common.nets.encoder.projected_trunk import Encoder
from wg_core.wire import canonical

CLASSES, OTHERS, RECORDS, TESTS = 8, 8, 20, 160

Site = tuple[Floats, Ints]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Plants of one kind: released features ``[n, d]``, and classes ``[n]``.

    Attributes:
        sites: The plant that receives models, then those that train or release.
        test: Test records of the first plant.
        labels: Class names.
    """

    sites: Sequence[Site]
    test: Site
    labels: tuple[str, ...]


def cut_kind(encoder: Encoder, root: Path, name: str, cache: Path) -> Kind | None:
    """Cut a data set into plants, or read them from the cache; None if the set is missing."""
    return cached_kind(encoder, name, cache, lambda: _cut(encoder, root, name))


def cached_kind(
    encoder: Encoder, name: str, cache: Path, make: Callable[[], Kind | None]
) -> Kind | None:
    """Read a kind from the cache, or make and cache it; None if it cannot be made."""
    about = [encoder.id, name, *map(str, (CLASSES, OTHERS, RECORDS, TESTS))]
    path = cache / f"kind-{canonical.sha256_hex(canonical.encode(about))[:24]}.npz"
    if not path.is_file():
        kind = make()
        if kind is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        arrays = {"labels": np.array(kind.labels)}
        for number, (x, y) in enumerate([kind.test, *kind.sites]):
            arrays |= {f"x{number}": x, f"y{number}": y}
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as archive:
        count = sum(key.startswith("x") for key in archive.files)
        test, *sites = [(archive[f"x{n}"], archive[f"y{n}"]) for n in range(count)]
        return Kind(sites, test, tuple(map(str, archive["labels"])))


def _cut(encoder: Encoder, root: Path, name: str) -> Kind | None:
    data = cuts.load_images(root, name)
    if data is None:
        return None
    images, labels, groups = data
    part_of, usable = cuts.split_groups(labels, groups, np.random.default_rng((1, 1)))
    chosen = np.sort(np.random.default_rng(2).permutation(usable)[:CLASSES])
    dense = np.full(labels.max() + 1, -1)
    dense[chosen] = np.arange(len(chosen))
    labels = dense[labels]
    tests, own, rest = (
        np.flatnonzero(np.isin(part_of, part) & (labels >= 0)) for part in (0, 1, (2, 3, 4))
    )
    sites = [
        plant_features(encoder, images, labels, rest if number else own, number, RECORDS)
        for number in range(1 + OTHERS)
    ]
    test = plant_features(encoder, images, labels, tests, 0, TESTS // len(chosen))
    return Kind(sites, test, tuple(f"class-{k}" for k in chosen))
