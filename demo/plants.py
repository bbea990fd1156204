"""Data of the demo's plants: their records, and test records that only the evaluation reads."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from demo import bearings, exchangers, stories
from demo.cameras import CAMERAS
from demo.steel import pictures as steel_pictures
from demo.steel import steel
from wg_core import atomic

Labels = NDArray[np.int64]
Records = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo: what it has, and the files with its records.

    Attributes:
        name: Site name.
        story_key: Key of its story in ``stories.STORIES``; empty: the plant only helps others.
        records_description: What its records show, in a few words.
        classes: Names of its classes: the public label domain.
        missing_classes: Classes without a record at the plant that occur in its test file.
        labels_per_class: Number of labelled records per class; 0: no labels.
        record_count: Number of records in its data file.
        data_file: The plant's records, ``.npz``, or the log that they are cut from, ``.csv``.
        test_file: Test records, or the true values for ``test_log_file``, ``.npz``. Only the
            evaluation at the end of the demo reads this file.
        data_sheet_file: File with the data sheet of its machine; None: the plant has pictures.
        test_log_file: Log with the test records, ``.csv``; None: they are in ``test_file``.
    """

    name: str
    story_key: str
    records_description: str
    classes: tuple[str, ...]
    missing_classes: tuple[str, ...] = ()
    labels_per_class: int
    record_count: int
    data_file: Path
    test_file: Path
    data_sheet_file: Path | None = None
    test_log_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoData:
    """All plants of a demo, and the operator's own records.

    Attributes:
        machine: The plant with a bearing.
        exchanger: The plant with a heat exchanger.
        picture_plants: Plants with pictures, in the order of their stories.
        helpers: Plants without a story, whose releases help the others.
        operator_records: ``.npz`` file with the operator's own records, which have the classes of
            one plant.
        operator_source_name: Name of these records as a source of the zoo.
        licence: Licence of the operator's records.
    """

    machine: Plant
    exchanger: Plant
    picture_plants: tuple[Plant, ...]
    helpers: tuple[Plant, ...]
    operator_records: Path
    operator_source_name: str = "steel"
    licence: str = "rendered, none needed"

    @property
    def story_plants(self) -> tuple[Plant, ...]:
        """Plants with a story, in the order of the stories."""
        return (self.machine, self.exchanger, *self.picture_plants)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """Records that a plant of pictures gets: a number per class, none of the missing classes."""

    name: str
    story: str = ""
    records_per_class: int = 20
    missing_class_indices: tuple[int, ...] = ()
    is_labelled: bool = True


MACHINE, SOFT_SENSOR, CAMERA, UNSEEN, UNLABELLED, BUDGET = (story.key for story in stories.STORIES)
_STEEL = _Share(name="mill", story=CAMERA, records_per_class=3)
_MARKS = (
    _Share(name="press", story=UNSEEN, missing_class_indices=(3, 5)),
    _Share(name="forge", story=UNLABELLED, is_labelled=False),
    _Share(name="foundry", story=BUDGET),
)
_HELPERS = tuple(_Share(name=f"other-{number}", records_per_class=25) for number in range(1, 4))
_DIGITS_PER_PLANT = (
    460  # Digits for each plant with a story, test records included; helpers get the rest
)
_TEST_LIMIT = 300  # Largest number of test records of a plant
_OWN_PER_CLASS = 80
"""Number of steel pictures per class, rendered for the plant and again for the operator."""
_SOUND, _DAMAGED, _TEST_RECORDS = 270, 10, 100
"""Number of the bearing plant's records: sound ones, ones of each damage, and test records of each
class."""
_HOURS, _JUDGED_HOURS = 300, 200
"""Number of the exchanger plant's records, and of its test records."""


def write_data(folder: Path, seed: int) -> DemoData:
    """Write the files of all plants: simulated machines, rendered steel, and real digits."""
    rng = np.random.default_rng(seed)
    machine = _write_machine_plant(folder, rng)
    exchanger = _write_exchanger_plant(folder, np.random.default_rng(seed))
    kind = steel(seed)
    mill = _write_picture_plant(
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
    places = [_DIGITS_PER_PLANT * (number + 1) for number in range(len(_MARKS))]
    *parts, rest = np.split(order, places)
    shares = [*zip(_MARKS, parts, strict=True), *((share, rest) for share in _HELPERS)]
    cameras = [*CAMERAS.values()]
    marks = [
        _write_picture_plant(
            folder,
            share,
            "stamped digits",
            names,
            (cameras[number % 3](digits.images[rows] / 16.0, rng), digits.target[rows]),
            rng,
        )
        for number, (share, rows) in enumerate(shares)
    ]
    return DemoData(
        machine=machine,
        exchanger=exchanger,
        picture_plants=(mill, *marks[: len(_MARKS)]),
        helpers=tuple(marks[len(_MARKS) :]),
        operator_records=own,
    )


def _write_machine_plant(folder: Path, rng: np.random.Generator) -> Plant:
    """Write the files of an unlabelled plant with a bearing and its data sheet."""
    bearing, count = bearings.draw_bearing(rng), len(bearings.CLASSES)
    own = rng.permutation(np.repeat(np.arange(count), (_SOUND, *[_DAMAGED] * (count - 1))))
    test = np.repeat(np.arange(count), _TEST_RECORDS)
    paths = folder / "pump.npz", folder / "pump-test.npz", folder / "pump.yaml"
    _save(
        paths[0],
        bearings.simulate_records(bearing, own, rng),
        np.full(len(own), -1),
        bearings.CLASSES,
    )
    _save(paths[1], bearings.simulate_records(bearing, test, rng), test, bearings.CLASSES)
    _write_data_sheet(paths[2], "rotating_machine", bearing.sheet)
    return Plant(
        name="pump",
        story_key=MACHINE,
        records_description="a bearing",
        classes=bearings.CLASSES,
        labels_per_class=0,
        record_count=len(own),
        data_file=paths[0],
        test_file=paths[1],
        data_sheet_file=paths[2],
    )


def _write_exchanger_plant(folder: Path, rng: np.random.Generator) -> Plant:
    """Write logs, data sheet and true test values of a plant with a heat exchanger."""
    unit = exchangers.draw_exchanger(rng)
    values, duties = exchangers.simulate_records(unit, _HOURS + _JUDGED_HOURS, rng)
    log, test_log, test, sheet = (
        folder / name
        for name in ("cooler.csv", "cooler-test.csv", "cooler-test.npz", "cooler.yaml")
    )
    _write_log(log, values[:_HOURS])
    _write_log(test_log, values[_HOURS:])
    judged = values[_HOURS:]
    np.savez_compressed(
        test, duty=duties[_HOURS:], by_hand=exchangers.duty_by_balances(unit, judged)
    )
    _write_data_sheet(sheet, "heat_exchanger", unit.sheet)
    return Plant(
        name="cooler",
        story_key=SOFT_SENSOR,
        records_description="a heat exchanger",
        classes=("heat duty",),
        labels_per_class=0,
        record_count=_HOURS,
        data_file=log,
        test_file=test,
        data_sheet_file=sheet,
        test_log_file=test_log,
    )


def _write_log(path: Path, records: Records) -> None:
    """Write records ``[n, channels, samples]``, one after another, as a CSV log with times."""
    rows = records.transpose(0, 2, 1).reshape(-1, records.shape[1])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["time", *exchangers.CHANNELS])
        for number, row in enumerate(rows):
            writer.writerow([number * exchangers.SECONDS, *(f"{value:.6g}" for value in row)])


def _write_data_sheet(path: Path, kind: str, sheet: dict[str, float]) -> None:
    """Write a data sheet of one kind of machine as a YAML file."""
    atomic.write_bytes(path, json.dumps({kind: sheet}, indent=1).encode())  # JSON is YAML too


def _write_picture_plant(
    folder: Path,
    share: _Share,
    title: str,
    classes: tuple[str, ...],
    records_and_labels: tuple[Records, Labels],
    rng: np.random.Generator,
) -> Plant:
    """Write the files of a plant of pictures; records that it does not get become its test."""
    pictures, labels = records_and_labels
    order = rng.permutation(len(labels))
    if share.is_labelled:
        kept = [c for c in range(len(classes)) if c not in share.missing_class_indices]
        chosen = np.concatenate(
            [order[labels[order] == c][: share.records_per_class] for c in kept]
        )
    else:
        chosen = order[: share.records_per_class * len(classes)]
    test = np.setdiff1d(order, chosen, assume_unique=True)[:_TEST_LIMIT]
    given = labels[chosen] if share.is_labelled else np.full(len(chosen), -1)
    paths = folder / f"{share.name}.npz", folder / f"{share.name}-test.npz"
    _save(paths[0], pictures[chosen], given, classes)
    _save(paths[1], pictures[test], labels[test], classes)
    return Plant(
        name=share.name,
        story_key=share.story,
        records_description=title,
        classes=classes,
        missing_classes=tuple(classes[c] for c in share.missing_class_indices),
        labels_per_class=share.records_per_class if share.is_labelled else 0,
        record_count=len(chosen),
        data_file=paths[0],
        test_file=paths[1],
    )


def _save(path: Path, records: Records, labels: Labels, classes: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=records, y=labels, classes=np.array(classes))
