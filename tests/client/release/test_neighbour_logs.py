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
from wg_client.data.dataset_survey import survey_dataset
from wg_core.errors import DataError
from wg_core.site.config import PrivacyConfig
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig

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


def in_the_midst_of_another() -> Pair:
    """The newcomer's rows lie between rows of a worker whose times go on after them."""
    first, second = lines("w", range(100)), lines("v", range(200, 300), label="dots")
    new = lines("new", [39.5 + row / 100 for row in range(48)])
    return Pair(
        "worker",
        WORKERS,
        {"l.csv": HEADER + b"".join(first + second)},
        {"l.csv": HEADER + b"".join(first[:40] + new + first[40:] + second)},
    )


def at_the_same_times() -> Pair:
    """Two workers take turns, row by row."""
    first, new = lines("w", range(100)), lines("new", range(100))
    turns = [row for pair in zip(first, new, strict=True) for row in pair]
    return Pair(
        "worker",
        WORKERS,
        {"l.csv": HEADER + b"".join(first)},
        {"l.csv": HEADER + b"".join(turns)},
    )


def interval(line: bytes) -> Callable[[], Pair]:
    """A table of ten intervals, and the same with one more."""

    def pair() -> Pair:
        log = HEADER + b"".join(lines("w", range(700)))
        table = b"start,end,label\n" + b"".join(
            f"{64 * number},{64 * number + 64},{LABELS[number % 3]}\n".encode()
            for number in range(10)
        )
        one_more = table.replace(b"label\n", b"label\n" + line, 1)
        return Pair(
            "interval",
            replace(LOG, intervals="iv.csv"),
            {"l.csv": log, "iv.csv": table},
            {"l.csv": log, "iv.csv": one_more},
        )

    return pair


def run(times: Sequence[float], *, after: int = 2) -> Callable[[], Pair]:
    """Two runs, one of them by a slow logger, and one more run."""

    def pair() -> Pair:
        rows = [lines("w", range(640)), lines("w", range(20000, 21276, 2))]
        more = [*rows[:after], lines("new", times), *rows[after:]]
        without, one_more = (
            {"l.csv": HEADER + b"".join(row for block in found for row in block)}
            for found in (rows, more)
        )
        return Pair("time-run", WORKERS, without, one_more)

    return pair


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
    "another rate": lambda: workers(lines("new", [1000 + 0.8 * row for row in range(2000)])),
    "rows in the midst of another's": in_the_midst_of_another,
    "rows at the same times": at_the_same_times,
    "an interval over two": interval(b"100,140,dots\n"),
    "an interval over all": interval(b"0,700,dots\n"),
    "an interval of its own": interval(b"650,690,dots\n"),
    "a short slow run": run(range(40000, 40016, 2)),
    "a long slow run": run(range(40000, 44000, 2)),
    "a run before all others": run(range(-5000, -4900), after=1),
    "a run after which the times go back": run(range(10000, 10100), after=0),
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
    assert data.privacy_units is not None
    found = defaultdict(list)
    for row, unit in enumerate(data.privacy_units):
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


@pytest.mark.parametrize("unit", ["worker", "time-run", "interval"])
@pytest.mark.parametrize("seed", range(40))
def test_one_unit_of_any_log_changes_no_other_units_windows(
    tmp_path: Path, unit: str, seed: int
) -> None:
    """Rows in any order, with gaps and odd rows of the one unit."""
    rng = np.random.default_rng(seed)
    blocks: list[tuple[bool, list[bytes]]] = []
    table = []
    for number in range(8):
        worker = f"w{rng.integers(4)}"
        is_new = number % 4 == 3
        place = number if unit == "interval" else rng.integers(6)
        begin = 1700.0 if is_new else 200.0 * place
        times = begin + np.cumsum(rng.choice([1, 1.2, 3, -4], 150, p=[0.94, 0.04, 0.01, 0.01]))
        odd = [ODD_ROWS[each] for each in rng.integers(len(ODD_ROWS), size=3 * is_new)]
        rows = lines(
            "new" if is_new else worker,
            times.tolist(),
            label=LABELS[rng.integers(3)],
            odd={int(rng.integers(150)): line for line in odd},
        )
        blocks.append((is_new, rows))
        if not is_new:
            table.append(f"{begin:.0f},{begin + rng.integers(40, 150)},dots\n".encode())
    files: list[dict[str, bytes]] = []
    order = rng.permutation(16)
    pieces = [(is_new, half) for is_new, rows in blocks for half in (rows[:77], rows[77:])]
    turns = [pieces[place] for place in order]
    new_line = f"{rng.integers(1500)},{rng.integers(1500, 3000)},rings\n".encode()
    for one_more in (False, True):
        kept = [row for is_new, rows in turns for row in rows if one_more or not is_new]
        files.append({"l.csv": HEADER + b"".join(kept)})
        if unit == "interval":
            at = len(table) // 2
            more = [*table[:at], new_line, *table[at:]] if one_more else table
            files[-1]["iv.csv"] = b"start,end,label\n" + b"".join(sorted(set(more)))
    log = replace(LOG, intervals="iv.csv") if unit == "interval" else WORKERS
    assert_one_unit_more(tmp_path, Pair(unit, log, *files))


ODD_ROWS = (
    b"1600,o.5,1.0,bars,new\n",
    b"1600,,1.0,bars,new\n",
    b"noon,0.5,1.0,bars,new\n",
    b'1600,"0.5,1.0,bars,new\n',
    b"1600\n",
    b"\xff,\x81\n",
)


def test_units_in_a_log_without_times_are_refused_in_both(tmp_path: Path) -> None:
    pair = in_the_midst_of_another()
    pair = pair._replace(log=replace(pair.log, time=None))
    for member, files in (("without", pair.without), ("more", pair.one_more)):
        with pytest.raises(DataError, match="--time-column"):
            windows_by_unit(write(tmp_path / member, files), pair)
