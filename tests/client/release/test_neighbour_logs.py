"""Sensor logs that differ in one privacy unit: all other units' windows are read alike.

Each pair is read from files. For the pairs with a name, the sums that noise is added to are made,
too, from a freeze with ``--set-aside``: they differ by the charged sensitivity at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.client.conftest import MakePlant

from wg_client.data.dataset import SurveyOptions
from wg_client.data.survey import survey_dataset
from wg_core.site.config import PrivacyConfig
from wg_core.site.reading import ReadingConfig, SensorLogConfig

LABELS = ("bars", "dots", "rings")
LOG = SensorLogConfig(
    rate=1.0, window_seconds=32.0, hop_seconds=32.0, channels=("c1", "c2"), time="time"
)
WORKERS = replace(LOG, label="label")
HEADER = b"time,c1,c2,label,worker\n"


class Pair(NamedTuple):
    """Files of two data sets, the second of which has one unit more."""

    unit_column: str
    log: SensorLogConfig
    without: dict[str, bytes]
    one_more: dict[str, bytes]


def lines(
    worker: str, times: Sequence[float], *, label: str = "bars", odd: dict[int, bytes] | None = None
) -> list[bytes]:
    """Rows of one worker, some of them replaced by odd ones."""
    rng = np.random.default_rng([len(times), *worker.encode()])
    values = rng.normal(size=(len(times), 2)) + LABELS.index(label)
    found = [
        f"{time:.6g},{a:.4f},{b:.4f},{label},{worker}\n".encode()
        for time, (a, b) in zip(times, values, strict=True)
    ]
    for row, line in (odd or {}).items():
        found[row] = line
    return found


def workers(newcomer: list[bytes], *, after: int = 12) -> Pair:
    """A log of twelve workers, and the same with the rows of one more."""
    blocks = [
        lines(f"w{number}", range(64 * number, 64 * number + 64), label=LABELS[number % 3])
        for number in range(12)
    ]
    logs = [
        HEADER + b"".join(row for block in found for row in block)
        for found in (blocks, [*blocks[:after], newcomer, *blocks[after:]])
    ]
    return Pair("worker", WORKERS, {"l.csv": logs[0]}, {"l.csv": logs[1]})


def odd_row(line: bytes) -> Callable[[], Pair]:
    return lambda: workers(lines("new", range(1000, 1064), odd={3: line}))


PAIRS: dict[str, Callable[[], Pair]] = {
    "a cell that is no number": odd_row(b"1003,o.5,1.0,bars,new\n"),
    "a time that is none": odd_row(b"noon,0.5,1.0,bars,new\n"),
    "too few cells": odd_row(b"1003,0.5\n"),
    "an open quote": odd_row(b'1003,"0.5,1.0,bars,new\n'),
    "bytes that are no text": odd_row(b"1003,0.5,1.0,\xff\xfe\x81,new\n"),
    "bytes in CP932": odd_row(b"1003,0.5,1.0,\x88\xd9\x8f\xed,new\n"),
    "odd first row": lambda: workers(
        lines("new", range(-64, 0), odd={0: b"s,mm,A,bars,new\n"}), after=0
    ),
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def windows_by_unit(folder: Path, pair: Pair) -> dict[str, list[tuple[int, bytes]]]:
    """The labels and contents of each unit's windows, in order."""
    options = SurveyOptions(
        labels=LABELS,
        unit_column=pair.unit_column,
        modality="windows",
        reading=ReadingConfig(log=pair.log),
    )
    data = survey_dataset(folder, options).data
    assert data.units is not None
    found = defaultdict(list)
    for row, unit in enumerate(data.units):
        found[unit].append((int(data.labels[row]), data.records[row].tobytes()))
    return dict(found)


def assert_one_unit_more(tmp_path: Path, pair: Pair) -> None:
    without = windows_by_unit(write(tmp_path / "without", pair.without), pair)
    one_more = windows_by_unit(write(tmp_path / "more", pair.one_more), pair)
    assert without and len(set(one_more) - set(without)) <= 1
    assert {unit: one_more.get(unit) for unit in without} == without


@pytest.mark.parametrize("name", PAIRS)
def test_one_unit_of_a_log_changes_no_other_units_windows(tmp_path: Path, name: str) -> None:
    assert_one_unit_more(tmp_path, PAIRS[name]())


@pytest.mark.parametrize("name", PAIRS)
def test_one_unit_of_a_log_changes_the_sums_by_what_is_charged(
    make_plant: MakePlant, tmp_path: Path, window_encoder: bytes, name: str
) -> None:
    pair = PAIRS[name]()
    plant = make_plant({0: 2}, frozen=False)
    plant.confirm(window_encoder)
    found = []
    for member, files in (("without", pair.without), ("more", pair.one_more)):
        data = replace(
            plant.config.data,
            path=str(write(tmp_path / member, files)),
            reading=ReadingConfig(log=pair.log),
            unit_column=pair.unit_column,
        )
        plant.configure(data=data, privacy=PrivacyConfig(answer_slot_seconds=2))
        snapshot = plant.freeze(set_aside=True).snapshot
        found.append(snapshot.statistics("classes"))
    difference = sum(int(each) ** 2 for each in found[1] - found[0])
    assert difference <= snapshot.schema("classes").sensitivity_squared() and found[0].any()
