"""How well new records are told from known ones: ``python -m bench.novelty --encoder FILE``.

Each image data set is cut twice. *Held-out class*: 20 records of each class but one are the
plant's; new are records of that one, among further ones of the others. *Good only*: 20 records of
one class are the plant's; new are records of all others. Printed is the area under the ROC curve of
``wg_client.models.novelty``, beside PatchCore's (Roth et al. 2022; on two stages of the same trunk,
a random bank, the largest patch distance, and their mean), and the share of known records that
are called new where 5 in 100 may be.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench import plants
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from wg_client.models import heat_map, novelty
from wg_common.nets.encoder.module import Encoder, load_encoder

_EACH = 20
_TESTS = 30
_CLASSES = 10
_SMALLEST = 20  # Fewest records of a class that takes part
_NEW = 0.05
METHODS = ("likeness", "patches, largest", "patches, mean")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Records of one data set, encoded: local features, patches and classes."""

    features: NDArray[np.float32]
    patches: NDArray[np.float32]
    labels: NDArray[np.int64]


def encoded(encoder: Encoder, root: Path, name: str, cache: Path) -> Seen | None:
    """At most 10 classes of 60 records, encoded once; None if the set is not there."""
    path = cache / f"novelty-{name}-{encoder.id[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as found:
            return Seen(found["features"], found["patches"].astype(np.float32), found["labels"])
    data = plants.load_images(root, name)
    if data is None:
        return None
    images, labels, _ = data
    rng = np.random.default_rng(0)
    counts = np.bincount(labels[labels >= 0])
    known = np.flatnonzero(counts >= _SMALLEST)
    known = np.sort(rng.permutation(known)[:_CLASSES])
    rows = [rng.permutation(np.flatnonzero(labels == label))[:60] for label in known]
    chosen = [images[row] for row in np.concatenate(rows)]
    patches = heat_map.patches_of(encoder.module.trunk, chosen)
    if patches is None:
        raise SystemExit("the encoder's records have no places: give an encoder of images")
    found = Seen(
        encoder.encode_batched(chosen),
        patches,
        np.repeat(np.arange(len(rows)), list(map(len, rows))),
    )
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, features=found.features, patches=patches.astype(np.float16), labels=found.labels)
    return found


def cut(
    labels: NDArray[np.int64], seed: int, *, good_only: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows of the plant, rows to test, and which of the latter are new."""
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    odd = int(rng.integers(classes))
    own: list[NDArray[np.intp]] = []
    test: list[NDArray[np.intp]] = []
    for label in range(classes):
        rows = rng.permutation(np.flatnonzero(labels == label))
        each = min(_EACH, len(rows) - 8)
        known = (label == odd) == good_only
        own += [rows[:each]] if known else []
        test += [rows[each : each + _TESTS] if known else rows[: _TESTS // (3 if good_only else 1)]]
    rows = np.concatenate(test)
    return np.concatenate(own), rows, (labels[rows] == odd) != good_only


def scores(
    seen: Seen, own: NDArray[np.intp], test: NDArray[np.intp]
) -> Iterator[NDArray[np.floating]]:
    """How new each tested record is, by each of ``METHODS``."""
    fitted = novelty.fit(seen.features[own], seen.labels[own])
    if fitted is None:
        return
    yield -fitted.likeness(seen.features[test])
    bank = heat_map.fit_patches(seen.patches[own])
    distances = bank.distances(seen.patches[test]).reshape(len(test), -1)
    yield distances.max(axis=1)
    yield distances.mean(axis=1)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="An encoder package of images.")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/novelty"))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    encoder = load_encoder(options.encoder.read_bytes())
    print(f"encoder {encoder.id[:16]}, {dict(encoder.settings)}, {options.seeds} draws")
    for good_only in (False, True):
        table: dict[str, list[float]] = {}
        for name in plants.DATASETS:
            seen = encoded(encoder, options.datasets, name, options.cache)
            if seen is None or (not good_only and seen.labels.max() < 2):
                continue
            rows = []
            for seed in range(options.seeds):
                own, test, new = cut(seen.labels, seed, good_only=good_only)
                found = list(scores(seen, own, test))
                alarms = float((-found[0][~new] <= _NEW).mean())
                caught = float((-found[0][new] <= _NEW).mean())
                rows.append([*(float(roc_auc_score(new, each)) for each in found), alarms, caught])
            table[name] = list(np.mean(rows, axis=0))
        _print("good only" if good_only else "held-out class", table)


def _print(title: str, table: dict[str, list[float]]) -> None:
    columns = (*METHODS, "false alarms", "found")
    print(f"\n| {title} | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for name, row in [*table.items(), ("mean", list(np.mean(list(table.values()), axis=0)))]:
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |")


if __name__ == "__main__":
    main()
