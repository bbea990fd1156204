"""The demo's processes end with it, and it never deletes what is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from demo.plants import digit_plants
from demo.processes import CommandFailed, processes

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
        [sys.executable, "-m", "demo", "--quick", "--out", str(out)],
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
        [sys.executable, "-m", "demo", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert "not empty" in found.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_started_command_that_fails_is_noticed(tmp_path: Path) -> None:
    with processes(tmp_path) as running:
        running.start("server", "wg-server", "serve", "--home", tmp_path / "none")
        with pytest.raises(CommandFailed, match="exit code 3"):
            running.wait_for("server", "ready")


def test_no_record_belongs_to_two_parts(tmp_path: Path) -> None:
    import numpy as np

    plants = digit_plants(tmp_path, 1)
    seen: set[bytes] = set()
    for plant in plants:
        for path in (plant.data, plant.test):
            with np.load(path, allow_pickle=False) as archive:
                pictures = {picture.tobytes() for picture in archive["x"]}
                assert len(pictures) == len(archive["x"])
                assert not pictures & seen
                seen |= pictures
        with np.load(plant.data, allow_pickle=False) as archive:
            there = {plant.classes[label] for label in np.unique(archive["y"])}
        assert there == set(plant.classes) - set(plant.missing)
