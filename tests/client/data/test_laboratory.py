"""Laboratory values beside a log: each at the window that ends at its time, or refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnxruntime import InferenceSession
from tests.tutorial import blocks

from weightgate.regressor import Regressor
from wg_client.cli.main import group
from wg_client.data.laboratory import LaboratoryWindows, read_laboratory_windows
from wg_core.errors import DataError

DAY = 86400


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten days of two signals, a row an hour, with one gap in values and one in time."""
    rng = np.random.default_rng(1)
    rows = [f"{3600 * hour};{np.sin(hour / 7):.4f};{rng.normal():.4f}" for hour in range(240)]
    rows[50] = f"{3600 * 50};;0.5"
    del rows[100]
    return _write(tmp_path / "log.csv", ["time;flow;heat", "s;m3/h;kW", *rows])


def _read(log: Path, lines: list[str], **changes: object) -> LaboratoryWindows:
    laboratory = _write(log.parent / "laboratory.csv", lines)
    options = {"target": "density", "time": "time", "samples": 6} | changes
    return read_laboratory_windows(log, laboratory, **options)  # type: ignore[arg-type]


def test_a_value_belongs_to_the_window_that_ends_at_its_time(log: Path) -> None:
    hours = _read(log, ["time;density", "36000;2,5", "39600;", "72000;3"])
    rows = np.flatnonzero(np.isfinite(hours.values))
    assert hours.values[rows].tolist() == [2.5, 3.0] and hours.unmatched_count == 0
    expected = [np.sin(hour / 7) for hour in range(5, 11)]
    assert np.allclose(hours.windows[rows[0], 0], expected, atol=1e-4)
    assert hours.channels == ("flow", "heat")
    assert hours.times[rows[0]] == "36000"
    assert set(hours.recording_ids) <= set(range(10))


@pytest.mark.parametrize("hour", [3, 52, 102, 500])
def test_a_value_without_a_whole_window_is_counted(log: Path, hour: int) -> None:
    hours = _read(log, ["time;density", "36000;2", f"{3600 * hour};9"])
    assert hours.unmatched_count == 1 and 9 not in hours.values
    assert np.isfinite(hours.windows).all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["time;density", "36000;2", "36000;3"], "two values"),
        (["time;density", "36000;2", "72000;2"], "alike"),
        (["time;density", "3600000;2", "7200000;3"], "same clock"),
        (["density;time", "2026-01-01 10:00;2,5"], "expected a number"),
        (["density;time", "36000;2,5", "72000;2,2", "79200;2,7"], "may be swapped"),
        (["time;flow", "36000;2"], "density"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(log: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(log, lines)


def test_a_target_that_is_a_channel_is_refused(log: Path) -> None:
    with pytest.raises(DataError, match="needs no soft sensor"):
        _read(log, ["time;flow", "36000;2", "72000;3"], target="flow")


def test_times_that_do_not_rise_are_refused(log: Path) -> None:
    lines = log.read_text().splitlines()
    _write(log, [*lines[:5], lines[10], *lines[5:]])
    with pytest.raises(DataError, match="sort the log"):
        _read(log, ["time;density", "36000;2"])


def test_a_soft_sensor_learns_from_a_log_and_a_laboratory_s_file(log: Path) -> None:
    values = [f"{3600 * hour};{3 * np.sin(hour / 7):.4f}" for hour in range(6, 240, 4)]
    hours = _read(log, ["time;density", *values])
    sensor = Regressor().fit(hours.windows, hours.values, hours.recording_ids)
    assert sensor.judgement_.r2 > 0.9
    ends = sensor.predict_interval(hours.windows)
    rows = np.isfinite(hours.values)
    inside = (ends[rows, 0] <= hours.values[rows]) & (hours.values[rows] <= ends[rows, 1])
    assert inside.mean() > 0.8
    assert sensor.outside(hours.windows + 50).all()
    assert sensor.outside(hours.windows).mean() < 0.2
    with pytest.raises(DataError, match="neighbouring hours"):
        Regressor().fit(hours.windows, hours.values)
    with pytest.raises(DataError, match="other channels"):
        sensor.predict(hours.windows[:, :1])


def test_the_block_of_the_page_runs(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [f"{3600 * hour};{3 * np.sin(hour / 7):.4f}" for hour in range(60, 240, 4)]
    _write(tmp_path / "laboratory.csv", ["time;density", *values])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks("soft-sensors", "python")[0], "docs/soft-sensors.md", "exec"), names)
    assert names["sensor"].judgement_ and names["hours"].channels == ("flow", "heat")


def test_a_walk_by_the_command_writes_all_files_and_refuses_swapped_columns(log: Path) -> None:
    values = [f"{3600 * hour};{3 * np.sin(hour / 7):.4f}" for hour in range(6, 240, 4)]
    laboratory = _write(log.parent / "laboratory.csv", ["time;density", *values, "7200000;2"])
    out = log.parent / "values.csv"
    words = ["soft-sensor", str(log), str(laboratory), "--time", "time", "--samples", "6"]
    page, model = log.parent / "page.html", log.parent / "sensor.onnx"
    files = ["--out", str(out), "--report", str(page), "--onnx", str(model)]
    walk = CliRunner().invoke(group, [*words, "--target", "density", *files, "--json"])
    document = json.loads(walk.stdout)
    assert walk.exit_code == 0 and document["local-only"]["r2"] > 0.9 and document["unmatched"] >= 1
    assert {file.stat().st_mode & 0o777 for file in (out, page, model)} == {0o600}
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == document["windows"]
    assert all(float(row["lower"]) < float(row["density"]) < float(row["upper"]) for row in rows)
    assert sum(bool(row["laboratory"]) for row in rows) == document["values"]
    assert f"{document['local-only']['error']:.4g}" in page.read_text("utf-8")
    hours = read_laboratory_windows(log, laboratory, target="density", time="time", samples=6)
    session = InferenceSession(model)
    outputs = session.run(None, {"windows": hours.windows})
    told = [[float(row[name]) for row in rows] for name in ("density", "lower", "upper", "unlike")]
    assert np.allclose(outputs, told, rtol=1e-5, atol=1e-5)
    assert session.run(None, {"windows": hours.windows + 50})[3].all()
    swapped = CliRunner().invoke(group, [*words[:4], "density", *words[5:], "--target", "time"])
    assert isinstance(swapped.exception, DataError) and "no column" in str(swapped.exception)
