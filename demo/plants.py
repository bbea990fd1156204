"""The demo's plants: what each has, and records that only the last evaluation reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from demo import bearings, stories
from demo.cameras import CAMERAS
from demo.steel import pictures as steel_pictures
from demo.steel import steel
from wg_core import atomic

Labels = NDArray[np.int64]
Records = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo.

    Attributes:
        name: Site name.
        story: Which of ``stories.STORIES`` it tells; empty: it helps others to tell theirs.
        title: What it looks at.
        classes: Public label domain.
        missing: Classes of which the plant has no record, though they occur in its test file.
        labels: Of its labelled records, how many there are of each class that it has; 0: none.
        records: Number of records in its data file.
        data: ``.npz`` file with the plant's records.
        test: ``.npz`` file with records that only the last evaluation reads.
        sheet: Data sheet of its machine; None: it has pictures.
    """

    name: str
    story: str
    title: str
    classes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    labels: int
    records: int
    data: Path
    test: Path
    sheet: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """All records of a demo, in files.

    Attributes:
        machine: The plant with a machine.
        pictures: Plants with pictures, in the order of their stories.
        helpers: Plants that release what others profit by, and tell no story.
        own: ``.npz`` file of the operator's own records, of the kind of one plant.
        kind: Name of that kind.
        licence: Of the operator's records.
    """

    machine: Plant
    pictures: tuple[Plant, ...]
    helpers: tuple[Plant, ...]
    own: Path
    kind: str = "steel"
    licence: str = "rendered, none needed"

    @property
    def plants(self) -> tuple[Plant, ...]:
        """Those that tell a story, in its order."""
        return (self.machine, *self.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What a plant owns of a pool: so many records of each class, but for the missing ones."""

    name: str
    story: str = ""
    per_class: int = 20
    missing: tuple[int, ...] = ()
    labelled: bool = True


MACHINE, STATISTIC, CAMERA, UNSEEN, UNLABELLED, BUDGET = (story.key for story in stories.STORIES)
_STEEL = _Share(name="mill", story=CAMERA, per_class=3)
_MARKS = (
    _Share(name="press", story=UNSEEN, missing=(3, 5)),
    _Share(name="forge", story=UNLABELLED, labelled=False),
    _Share(name="foundry", story=BUDGET),
)
_HELPERS = tuple(_Share(name=f"other-{number}", per_class=25) for number in range(1, 4))
_POOL = 460  # Marks of a plant with a story; all others' are the rest
_TEST_LIMIT = 300
_OWN_PER_CLASS = 80
"""Of the rendered kind, as many records are drawn for the plant, and for the operator."""
_SOUND, _DAMAGED, _JUDGED = 270, 10, 100
"""Records of the machine: sound ones, those of each damage, and of each condition to judge by."""


def cut(folder: Path, seed: int) -> Cut:
    """A simulated bearing, a rendered steel surface, and stamped digits (real)."""
    rng = np.random.default_rng(seed)
    machine = _machine(folder, rng)
    kind = steel(seed)
    mill = _plant(
        folder,
        _STEEL,
        "steel surface",
        kind.labels,
        steel_pictures(kind, 1, _OWN_PER_CLASS, rng),
        rng,
    )
    own = folder / "operator.npz"
    _save(own, *steel_pictures(kind, 0, _OWN_PER_CLASS, rng), kind.labels)
    digits = load_digits()
    names, order = tuple(str(digit) for digit in range(10)), rng.permutation(len(digits.target))
    places = [_POOL * (number + 1) for number in range(len(_MARKS))]
    *parts, rest = np.split(order, places)
    shares = [*zip(_MARKS, parts, strict=True), *((share, rest) for share in _HELPERS)]
    cameras = [*CAMERAS.values()]
    marks = [
        _plant(
            folder,
            share,
            "stamped digits",
            names,
            (cameras[number % 3](digits.images[rows] / 16.0, rng), digits.target[rows]),
            rng,
        )
        for number, (share, rows) in enumerate(shares)
    ]
    return Cut(
        machine=machine,
        pictures=(mill, *marks[: len(_MARKS)]),
        helpers=tuple(marks[len(_MARKS) :]),
        own=own,
    )


def _machine(folder: Path, rng: np.random.Generator) -> Plant:
    """Write the files of a plant with a bearing that states it, and has no label."""
    bearing, count = bearings.draw(rng), len(bearings.CLASSES)
    own = rng.permutation(np.repeat(np.arange(count), (_SOUND, *[_DAMAGED] * (count - 1))))
    test = np.repeat(np.arange(count), _JUDGED)
    paths = folder / "pump.npz", folder / "pump-test.npz", folder / "pump.yaml"
    _save(paths[0], bearings.records(bearing, own, rng), np.full(len(own), -1), bearings.CLASSES)
    _save(paths[1], bearings.records(bearing, test, rng), test, bearings.CLASSES)
    sheet = json.dumps({"rotating_machine": bearing.sheet}, indent=1)  # JSON is YAML too
    atomic.write_bytes(paths[2], sheet.encode())
    return Plant(
        name="pump",
        story=MACHINE,
        title="a bearing",
        classes=bearings.CLASSES,
        labels=0,
        records=len(own),
        data=paths[0],
        test=paths[1],
        sheet=paths[2],
    )


def _plant(
    folder: Path,
    share: _Share,
    title: str,
    classes: tuple[str, ...],
    pool: tuple[Records, Labels],
    rng: np.random.Generator,
) -> Plant:
    """Write a plant's files; what it does not own of its pool is for tests."""
    pictures, labels = pool
    order = rng.permutation(len(labels))
    if share.labelled:
        kept = [c for c in range(len(classes)) if c not in share.missing]
        chosen = np.concatenate([order[labels[order] == c][: share.per_class] for c in kept])
    else:
        chosen = order[: share.per_class * len(classes)]
    test = np.setdiff1d(order, chosen, assume_unique=True)[:_TEST_LIMIT]
    given = labels[chosen] if share.labelled else np.full(len(chosen), -1)
    paths = folder / f"{share.name}.npz", folder / f"{share.name}-test.npz"
    _save(paths[0], pictures[chosen], given, classes)
    _save(paths[1], pictures[test], labels[test], classes)
    return Plant(
        name=share.name,
        story=share.story,
        title=title,
        classes=classes,
        missing=tuple(classes[c] for c in share.missing),
        labels=share.per_class if share.labelled else 0,
        records=len(chosen),
        data=paths[0],
        test=paths[1],
    )


def _save(path: Path, records: Records, labels: Labels, classes: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=records, y=labels, classes=np.array(classes))
