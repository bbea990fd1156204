"""The demo's processes end with it, and it never deletes what is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from demo import bearings, exchangers, stories
from demo.plans import write_plans
from demo.plants import DemoData, write_data
from scipy import signal as signals

from wg_common.machines import bearing, exchanger
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_server.generator.plan import read_plan as read_training
from wg_server.zoo.plan import read_plan as read_zoo

ROOT = Path(__file__).parents[2]


def alive_with(text: str) -> list[str]:
    """Command lines of running processes that mention ``text``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended in between
            continue
        if text in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    demo = subprocess.Popen(
        [sys.executable, "-m", "demo", "--out", str(out)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not any("wg-server" in line for line in alive_with(str(out))):
            assert demo.poll() is None
        demo.send_signal(number)  # at once: the demo may still be inside of Popen
        assert demo.wait() == 130
    finally:
        demo.kill()
        demo.wait()
    assert alive_with(str(out)) == []


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    found = subprocess.run(
        [sys.executable, "-m", "demo", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert "not empty" in found.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return write_data(tmp_path_factory.mktemp("data"), 1)


def test_no_test_record_belongs_to_another_part(shares: DemoData) -> None:
    def records(path: Path) -> set[bytes]:
        with np.load(path, allow_pickle=False) as archive:
            seen = {record.tobytes() for record in archive["x"]}
            assert len(seen) == len(archive["x"])
            return seen

    own = [plant.data_file for plant in (shares.machine, *shares.picture_plants, *shares.helpers)]
    parts = [records(path) for path in (shares.operator_records, *own)]
    for plant in (shares.machine, *shares.picture_plants):
        assert not any(records(plant.test_file) & part for part in parts)


def test_plants_have_the_labels_of_their_stories(shares: DemoData) -> None:
    assert [plant.story_key for plant in shares.story_plants] == [
        story.key for story in stories.STORIES
    ]
    with_classes = (shares.machine, *shares.picture_plants)
    for plant in (*with_classes, *shares.helpers):
        with np.load(plant.data_file, allow_pickle=False) as archive:
            counts = np.bincount(archive["y"] + 1, minlength=len(plant.classes) + 1)
        if plant.labels_per_class:
            expected = [
                0 if name in plant.missing_classes else plant.labels_per_class
                for name in plant.classes
            ]
            assert counts.tolist() == [0, *expected]
        else:
            assert counts.tolist() == [plant.record_count] + [0] * len(plant.classes)
    for plant in with_classes:
        with np.load(plant.test_file, allow_pickle=False) as archive:
            assert set(archive["y"]) == set(range(len(plant.classes)))


def test_plans_have_the_operators_records_and_one_kind_of_machine_and_of_unit(
    tmp_path: Path, shares: DemoData
) -> None:
    pictures, windows, training = write_plans(tmp_path, shares)
    assert read_zoo(pictures).sources[-1].path == str(shares.operator_records)
    assert read_zoo(windows).machines == (bearing.MACHINE_KIND.name, exchanger.PROCESS_UNIT.name)
    assert read_training(training).machine_steps


def test_a_damage_of_a_bearing_strikes_at_the_rate_that_its_sheet_states() -> None:
    rng = np.random.default_rng(3)
    drawn = bearings.draw_bearing(rng)
    loud = replace(drawn, loudness=np.full(3, 10.0))
    stated = {key: Decimal(str(value)) for key, value in drawn.sheet.items()}
    count = {"rolling_elements": int(drawn.sheet["rolling_elements"])}
    sheet = DataSheet(rotating_machine=RotatingMachine(**(stated | count)))  # type: ignore[arg-type]
    *_, inner, outer = bearing.line_frequencies(bearing.read_figures(sheet))[0].tolist()
    for label, line in ((2, inner), (3, outer)):
        records = bearings.simulate_records(loud, np.full(200, label), rng)[:, 0]
        envelope = np.abs(signals.hilbert(records - records.mean(axis=1, keepdims=True)))
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean(axis=1, keepdims=True))).mean(axis=0)
        beside = np.delete(spectrum[round(line) - 3 : round(line) + 4], (2, 3, 4)).mean()
        assert spectrum[round(line) - 1 : round(line) + 2].max() > 1.3 * beside


def test_an_exchangers_balances_hold_but_for_errors_of_instruments() -> None:
    rng = np.random.default_rng(4)
    drawn = exchangers.draw_exchanger(rng)
    quiet = np.zeros(2)
    good = replace(drawn, factors=np.ones(7), offsets=np.zeros(7), noise=quiet, heat_loss_share=0.0)
    values, duty = exchangers.simulate_records(good, 50, rng)
    assert np.abs(exchangers.duty_by_balances(good, values) / duty - 1).max() < 0.01
    meter = replace(good, factors=np.array([1.1, *[1.0] * 6]))
    values, duty = exchangers.simulate_records(meter, 50, rng)
    assert np.abs(exchangers.duty_by_balances(meter, values) / duty - 1.05).max() < 0.01
