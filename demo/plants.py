"""The demo's plants: who they are, and which records each of them owns.

Every record belongs to one plant and, there, to its data folder or to the test file, which no
command but the last evaluation sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from demo.cameras import CAMERAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo.

    Attributes:
        name: Site name.
        title: What it looks at, for the table.
        classes: Public label domain.
        missing: Classes of which the plant has no record, though they occur in its test file.
        labelled: Number of records in its data file.
        data: ``.npz`` file with the plant's records.
        test: ``.npz`` file with records that only the last evaluation reads.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    missing: tuple[str, ...]
    labelled: int
    data: Path
    test: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """How many labels a class a plant owns, and which classes it has never seen."""

    per_class: int
    missing: tuple[int, ...] = ()


DIGIT_SHARES = {
    "bright-field": _Share(per_class=20),
    "dark-field": _Share(per_class=20),
    "oblique": _Share(per_class=4, missing=(3, 7)),
}
INDUSTRIAL_SHARES = {
    "neu_det": ("steel", "hot-rolled steel surface", _Share(per_class=6)),
    "elpv_mono": ("solar", "solar cells, electroluminescence", _Share(per_class=20)),
    "deeppcb_a": ("boards", "printed circuit boards", _Share(per_class=6, missing=(2, 5))),
}
TEST_LIMIT = 400


def digit_plants(folder: Path, seed: int) -> list[Plant]:
    """scikit-learn's digits, split into disjoint thirds, each seen through another camera."""
    digits = load_digits()
    rng = np.random.default_rng(seed)
    thirds = np.array_split(rng.permutation(len(digits.target)), len(CAMERAS))
    plants = []
    for (name, camera), rows in zip(CAMERAS.items(), thirds, strict=True):
        pictures = camera(digits.images[rows] / 16.0, rng)
        labels = digits.target[rows]
        chosen = _choose(labels, DIGIT_SHARES[name], np.arange(10), rng)
        test = np.setdiff1d(np.arange(len(rows)), chosen)[:TEST_LIMIT]
        plants.append(
            _write(
                folder,
                name=name,
                title=f"digits, {name} camera",
                classes=tuple(str(digit) for digit in range(10)),
                missing=DIGIT_SHARES[name].missing,
                data=(pictures[chosen], labels[chosen]),
                test=(pictures[test], labels[test]),
            )
        )
    return plants


def industrial_plants(folder: Path, datasets: Path, seed: int) -> list[Plant]:
    """Steel, solar cells and circuit boards; each data set's own test split stays unseen."""
    rng = np.random.default_rng(seed)
    plants = []
    for source, (name, title, share) in INDUSTRIAL_SHARES.items():
        with np.load(datasets / source / "data.npz", allow_pickle=False) as archive:
            pictures, labels = archive["x"], archive["y"].astype(np.int64)
            classes, split = archive["classes"], archive["split"]
        train = np.flatnonzero(split == 0)
        chosen = train[_choose(labels[train], share, np.unique(labels), rng)]
        test = rng.permutation(np.flatnonzero(split == 1))[:TEST_LIMIT]
        plants.append(
            _write(
                folder,
                name=name,
                title=title,
                classes=tuple(str(c) for c in classes),
                missing=share.missing,
                data=(pictures[chosen], labels[chosen]),
                test=(pictures[test], labels[test]),
            )
        )
    return plants


def _choose(
    labels: NDArray[np.int64], share: _Share, classes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.intp]:
    kept = [c for c in classes if c not in share.missing]
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[: share.per_class] for c in kept]
    )


def _write(
    folder: Path,
    *,
    name: str,
    title: str,
    classes: tuple[str, ...],
    missing: Sequence[int],
    data: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> Plant:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"data": folder / f"{name}.npz", "test": folder / f"{name}-test.npz"}
    for part, (pictures, labels) in (("data", data), ("test", test)):
        np.savez_compressed(paths[part], x=pictures, y=labels, classes=np.array(classes))
    return Plant(
        name=name,
        title=title,
        classes=classes,
        missing=tuple(classes[c] for c in missing),
        labelled=len(data[1]),
        data=paths["data"],
        test=paths["test"],
    )
