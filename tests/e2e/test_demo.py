"""The demo's processes end with it, and it never deletes what is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demo import stories
from demo.plans import write_plans
from demo.plants import industrial, usual
from demo.processes import CommandFailed

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


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_of_other_data_is_told_what_is_expected(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "deeppcb_a").mkdir()
        np.savez(tmp_path / "deeppcb_a" / "data.npz", pictures=np.zeros(3))
    with pytest.raises(CommandFailed, match=r"deeppcb_a/data\.npz: .*expected .* split"):
        industrial(tmp_path / "out", tmp_path, 1)


def test_no_record_belongs_to_two_parts(tmp_path: Path) -> None:
    cut = usual(tmp_path, 1)
    seen: set[bytes] = set()
    for path in (cut.own, *(path for plant in cut.plants for path in (plant.data, plant.test))):
        with np.load(path, allow_pickle=False) as archive:
            pictures = {picture.tobytes() for picture in archive["x"]}
            assert len(pictures) == len(archive["x"])
            assert not pictures & seen
            seen |= pictures


def test_plants_have_the_labels_of_their_stories(tmp_path: Path) -> None:
    plants = usual(tmp_path, 1).plants
    assert [plant.story for plant in plants] == [story.key for story in stories.STORIES]
    for plant in plants:
        with np.load(plant.data, allow_pickle=False) as archive:
            counts = np.bincount(archive["y"] + 1, minlength=len(plant.classes) + 1)
        if plant.labels:
            expected = [0 if name in plant.missing else plant.labels for name in plant.classes]
            assert counts.tolist() == [0, *expected]
        else:
            assert counts.tolist() == [plant.records] + [0] * len(plant.classes)
        with np.load(plant.test, allow_pickle=False) as archive:
            assert set(archive["y"]) == set(range(len(plant.classes)))


def test_plans_have_the_operators_records(tmp_path: Path) -> None:
    cut = usual(tmp_path, 1)
    zoo, training = write_plans(tmp_path, cut)
    assert read_zoo(zoo).sources[-1].path == str(cut.own)
    read_training(training)
