"""A recording is found where files or arrays say that there are some."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wg_client.data.recording_units import find_recording_unit_column, unnamed_part_hint
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig

LOG = SensorLogConfig(rate=10, window_seconds=1, hop_seconds=1, channels=("a",))


def _logs(intervals: str | None = None) -> ReadingConfig:
    return ReadingConfig(log=replace(LOG, intervals=intervals))


def test_an_array_that_groups_records_names_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 1, 9)), group=np.zeros(2))
    assert find_recording_unit_column(path, ReadingConfig()) == "group"
    np.savez(path, x=np.zeros((2, 1, 9)))
    assert not find_recording_unit_column(path, ReadingConfig())


def test_parts_are_hinted_at_where_nothing_names_them(tmp_path: Path) -> None:
    for modality, hints in (("images", True), ("windows", True), ("texts", False)):
        assert bool(unnamed_part_hint(tmp_path, ReadingConfig(), modality)) is hints
    assert unnamed_part_hint(tmp_path, _logs(), "windows") is None
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 1, 9)), group=np.zeros(2))
    assert unnamed_part_hint(path, ReadingConfig(), "windows") is None


@pytest.mark.parametrize(("count", "unit"), [(1, ""), (2, "file")])
def test_several_logs_are_recordings(tmp_path: Path, count: int, unit: str) -> None:
    for number in range(count):
        (tmp_path / f"{number}.csv").write_text("a\n1\n")
    assert find_recording_unit_column(tmp_path, _logs()) == unit
    assert find_recording_unit_column(tmp_path, _logs("events.csv")) == "interval"
    assert not find_recording_unit_column(tmp_path, ReadingConfig())


def test_a_damaged_log_says_nothing_of_recordings(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time,a\n0,1\n1\n")
    assert not find_recording_unit_column(path, ReadingConfig(log=replace(LOG, time="time")))
