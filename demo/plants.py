"""The demo's plants: who they are, and which records each of them owns.

Three plants look at a kind of records that the operator has never seen, each through a camera of
its own. Two look at a kind of which the operator has records, again through cameras of their own.

Every record belongs to one plant, or to the operator. A plant's record is in its data file or in
its test file, which no command but the last evaluation sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from demo import stories
from demo.cameras import CAMERAS
from demo.processes import CommandFailed
from demo.steel import pictures as steel_pictures
from demo.steel import steel
from wg_common.modalities.cameras import draw_camera, photograph_again

Labels = NDArray[np.int64]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo.

    Attributes:
        name: Site name.
        story: Which of ``stories.STORIES`` it tells.
        title: What it looks at.
        classes: Public label domain.
        missing: Classes of which the plant has no record, though they occur in its test file.
        labels: Of its labelled records, how many there are of each class that it has; 0: none.
        records: Number of records in its data file.
        data: ``.npz`` file with the plant's records.
        test: ``.npz`` file with records that only the last evaluation reads.
    """

    name: str
    story: str
    title: str
    classes: tuple[str, ...]
    missing: tuple[str, ...]
    labels: int
    records: int
    data: Path
    test: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """All records of a demo, in files.

    Attributes:
        plants: In the order of their stories.
        own: ``.npz`` file of the operator's own records, of the kind of two plants.
        kind: Name of that kind.
        licence: Of the operator's records.
        source: Where all records come from, in a sentence for the page.
    """

    plants: tuple[Plant, ...]
    own: Path
    kind: str
    licence: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """What a plant could own: pictures under its camera. Data and test records are cut from it."""

    pictures: Pictures
    labels: Labels
    data: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What a plant owns of its pool: so many records of each class, but for the missing ones."""

    story: str
    per_class: int
    missing: tuple[int, ...] = ()
    labelled: bool = True


UNSEEN, UNLABELLED, CAMERA, OFFLINE, FEW = (story.key for story in stories.STORIES)
UNKNOWN_KIND = (
    _Share(story=UNSEEN, per_class=20, missing=(3, 5)),
    _Share(story=UNLABELLED, per_class=20, labelled=False),
    _Share(story=FEW, per_class=20),
)
KNOWN_KIND = (_Share(story=CAMERA, per_class=5), _Share(story=OFFLINE, per_class=5))
TEST_LIMIT = 400
OWN_PER_CLASS = 80
"""Of the rendered kind, as many records are drawn for each plant, and for the operator."""


def usual(folder: Path, seed: int) -> Cut:
    """Stamped digits (real, from scikit-learn), and a rolled surface that we render."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    names = tuple(str(digit) for digit in range(10))
    marks = []
    for name, share, camera, rows in zip(
        ("press", "forge", "foundry"),
        UNKNOWN_KIND,
        CAMERAS.values(),
        np.array_split(rng.permutation(len(digits.target)), len(UNKNOWN_KIND)),
        strict=True,
    ):
        pool = _whole(camera(digits.images[rows] / 16.0, rng), digits.target[rows])
        marks.append(_cut(folder, name, "stamped digits", names, share, pool, rng))
    kind = steel(seed)
    surfaces = [
        _cut(
            folder,
            name,
            "steel surface",
            kind.labels,
            share,
            _whole(*steel_pictures(kind, site, OWN_PER_CLASS, rng)),
            rng,
        )
        for site, (name, share) in enumerate(
            zip(("mill", "handheld"), KNOWN_KIND, strict=True), start=1
        )
    ]
    own = folder / "operator.npz"
    _save(own, *steel_pictures(kind, 0, OWN_PER_CLASS, rng), kind.labels)
    return Cut(
        plants=(*marks[:2], *surfaces, *marks[2:]),
        own=own,
        kind="steel",
        licence="rendered, none needed",
        source=(
            "The digits are real (scikit-learn's, 8 by 8 points, shown under three cameras). The"
            " steel surface is drawn by the product's own picture library."
        ),
    )


def industrial(folder: Path, datasets: Path, seed: int) -> Cut:
    """Circuit boards, and hot-rolled steel; each data set's own test split stays unseen."""
    rng = np.random.default_rng(seed)
    boards = _Source.read(datasets / "deeppcb_a")
    steels = _Source.read(datasets / "neu_det")
    parts = _parts(boards, len(UNKNOWN_KIND), rng)
    marks = [
        _cut(folder, name, "circuit boards", boards.classes, share, _seen(boards, part, rng), rng)
        for name, share, part in zip(
            ("board-a", "board-b", "board-c"), UNKNOWN_KIND, parts, strict=True
        )
    ]
    operators, *parts = _parts(steels, 1 + len(KNOWN_KIND), rng)
    surfaces = [
        _cut(folder, name, "steel surface", steels.classes, share, _seen(steels, part, rng), rng)
        for name, share, part in zip(("mill", "handheld"), KNOWN_KIND, parts, strict=True)
    ]
    own = folder / "operator.npz"
    rows = operators[0]
    _save(own, steels.pictures[rows], steels.labels[rows], steels.classes)
    return Cut(
        plants=(*marks[:2], *surfaces, *marks[2:]),
        own=own,
        kind="steel",
        licence="research",
        source=(
            "Circuit boards (DeepPCB) and hot-rolled steel (NEU), each part under another camera."
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """An industrial data set."""

    pictures: Pictures
    labels: Labels
    classes: tuple[str, ...]
    split: NDArray[np.integer[Any]]

    @classmethod
    def read(cls, folder: Path) -> _Source:
        path = folder / "data.npz"
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(
                    archive["x"],
                    archive["y"].astype(np.int64),
                    tuple(str(name) for name in archive["classes"]),
                    archive["split"],
                )
        except (OSError, KeyError, ValueError) as error:
            raise CommandFailed(
                f"{path}: {error}; expected a NumPy archive of x (pictures), y (class numbers),"
                " classes (names) and split (0: learn, 1: test)"
            ) from error


def _parts(
    source: _Source, count: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Disjoint parts of a data set: rows to own, and rows to test on."""
    train, test = (
        np.array_split(rng.permutation(np.flatnonzero(source.split == split)), count)
        for split in (0, 1)
    )
    return list(zip(train, test, strict=True))


def _seen(
    source: _Source, part: tuple[NDArray[np.intp], NDArray[np.intp]], rng: np.random.Generator
) -> _Pool:
    """A part of a data set through a camera of its own."""
    camera = draw_camera(rng, strength=0.7, mounted=False)
    rows = np.concatenate(part)
    seen = np.stack([photograph_again(rng, picture, camera) for picture in source.pictures[rows]])
    own = np.arange(len(rows))
    return _Pool(seen, source.labels[rows], own[: len(part[0])], own[len(part[0]) :])


def _whole(pictures: Pictures, labels: Labels) -> _Pool:
    """A pool of which what a plant does not own is for tests."""
    rows = np.arange(len(labels))
    return _Pool(pictures, labels, rows, rows)


def _cut(
    folder: Path,
    name: str,
    title: str,
    classes: tuple[str, ...],
    share: _Share,
    pool: _Pool,
    rng: np.random.Generator,
) -> Plant:
    """Write a plant's files."""
    order = rng.permutation(pool.data)
    if share.labelled:
        kept = [c for c in range(len(classes)) if c not in share.missing]
        chosen = np.concatenate([order[pool.labels[order] == c][: share.per_class] for c in kept])
    else:
        chosen = order[: share.per_class * len(classes)]
    test = np.setdiff1d(rng.permutation(pool.test), chosen, assume_unique=True)[:TEST_LIMIT]
    labels = pool.labels[chosen] if share.labelled else np.full(len(chosen), -1)
    paths = [folder / f"{name}.npz", folder / f"{name}-test.npz"]
    _save(paths[0], pool.pictures[chosen], labels, classes)
    _save(paths[1], pool.pictures[test], pool.labels[test], classes)
    return Plant(
        name=name,
        story=share.story,
        title=title,
        classes=classes,
        missing=tuple(classes[c] for c in share.missing),
        labels=share.per_class if share.labelled else 0,
        records=len(chosen),
        data=paths[0],
        test=paths[1],
    )


def _save(path: Path, pictures: Pictures, labels: Labels, classes: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=pictures, y=labels, classes=np.array(classes))
