"""Windows cut from long sensor logs, honest and hostile: by public rules, with labels and units."""

from __future__ import annotations

import os
import wave
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import MakePlant

from wg_client.data import log_reader, sensor_windows
from wg_client.data.dataset import DatasetSurvey, SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.record_inspection import inspect_records
from wg_client.data.recording_units import find_recording_unit_column
from wg_client.data.sensor_log import LogColumns, SensorLog, read_log
from wg_client.models.predict import read_new_records
from wg_core.errors import ConfigError, DataError
from wg_core.site.config import PrivacyConfig
from wg_core.site.reading_config import ReadingConfig, SensorLogConfig

RATE = 100.0
LOG = SensorLogConfig(
    rate=RATE, window_seconds=0.2, hop_seconds=0.2, channels=("vib", "cur"), time="time"
)


def _values(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2)).round(4)


def _log(
    path: Path,
    values: np.ndarray,
    *,
    times: list[str] | None = None,
    more: dict[str, list[str]] | None = None,
    delimiter: str = ",",
    comma: bool = False,
    encoding: str = "utf-8",
    units: bool = False,
    names: str = "time,vib,cur",
) -> Path:
    """Write a log as a logger would."""
    n, more = len(values), more or {}
    times = times or [f"{row / RATE:.2f}" for row in range(n)]
    lines = [delimiter.join([*names.split(","), *more])]
    if units:
        lines.append(delimiter.join(["s", "mm/s", "A", *("" for _ in more)]))
    for row in range(n):
        cells = [times[row], *(repr(float(v)) for v in values[row])]
        if comma:
            cells = [cell.replace(".", ",") for cell in cells]
        lines.append(delimiter.join([*cells, *(found[row] for found in more.values())]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return path


def _survey(
    path: Path, log: SensorLogConfig = LOG, labels: Any = ("a", "b"), **more: Any
) -> DatasetSurvey:
    return survey_dataset(
        path, SurveyOptions(labels=labels, reading=ReadingConfig(log=log), **more)
    )


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"delimiter": "\t"},
        {"delimiter": ";", "comma": True},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"units": True},
        {"names": "Time ,VIB,Cur"},
    ],
    ids=str,
)
def test_a_log_of_any_logger_gives_the_same_windows(tmp_path: Path, how: dict[str, Any]) -> None:
    values = _values(105)
    log = LOG if not how.get("comma") else replace(LOG, time=None)
    found = _survey(_log(tmp_path / "l.csv", values, **how), log)
    assert len(found.data) == 5 and found.data.modality == "windows"
    assert found.data.names == tuple(f"l.csv[{start}]" for start in range(0, 100, 20))
    for row, record in enumerate(found.data.records):
        np.testing.assert_array_equal(record, values[20 * row : 20 * row + 20].T.astype("f4"))


@pytest.mark.parametrize("row", ["-,mm/s,A,-,-", "s,mm/s,---,n/a,", "-,mm/s,-,-,-"])
def test_a_mark_in_the_row_of_units_is_no_value(tmp_path: Path, row: str) -> None:
    path = _log(tmp_path / "l.csv", _values(40), more={"s": ["a"] * 40, "lot": ["L0"] * 40})
    names, rows = path.read_text().split("\n", 1)
    path.write_text(f"{names}\n{row}\n{rows}")
    columns = LogColumns(channels=None, time_column="time", text_columns=("s",))
    assert read_log(path, columns, "auto").channels == ("vib", "cur")
    found = _survey(path, replace(LOG, label="s"))
    assert len(found.data) == 2 and not found.problems and found.data.names[0] == "l.csv[0]"


def test_a_prediction_ignores_an_undeclared_label_of_a_log(tmp_path: Path) -> None:
    path = _log(tmp_path / "l.csv", _values(40), more={"s": ["a"] * 20 + ["c"] * 20})
    log = replace(LOG, label="s")
    (problem,) = _survey(path, log).problems
    assert "'c' is not declared" in problem.reason
    found = read_new_records(path, ["a", "b"], ReadingConfig(log=log))
    assert not found.problems and found.undeclared_labels == ("c",)
    assert found.data.labels.tolist() == [0, -1]


def test_only_files_that_are_no_logs_get_no_prediction(tmp_path: Path) -> None:
    _log(tmp_path / "a" / "l.csv", _values(40))
    (tmp_path / "a" / "memo.pdf").write_text("x")
    with wave.open(str(tmp_path / "b.wav"), "wb") as file:
        file.setparams((2, 2, int(RATE), 0, "NONE", ""))
        file.writeframes(bytes(4 * 40))
    log = replace(LOG, channels=("1", "2"), time=None)
    for said, names in ((log, ["b.wav[0]", "b.wav[20]"]), (LOG, ["a/l.csv[0]", "a/l.csv[20]"])):
        found = read_new_records(tmp_path, ["a", "b"], ReadingConfig(log=said))
        assert list(found.data.names) == names
        assert [item.name for item in found.unsupported_files] == ["a/memo.pdf"]


@pytest.mark.parametrize("row", ["-,-,-", "0.00,-,-", "-,1.5,A"])
def test_a_row_with_a_number_or_no_unit_is_no_row_of_units(tmp_path: Path, row: str) -> None:
    path = _log(tmp_path / "l.csv", _values(40))
    names, rows = path.read_text().split("\n", 1)
    path.write_text(f"{names}\n{row}\n{rows}")
    columns = LogColumns(channels=("vib", "cur"), time_column="time", allow_gaps=True)
    assert len(read_log(path, columns, "auto")) == 41


def test_japanese_columns_in_cp932_with_dates_and_slashes(tmp_path: Path) -> None:
    start = datetime(2026, 4, 1, 8, tzinfo=UTC)
    times = [
        (start + timedelta(seconds=row / RATE)).strftime("%Y/%m/%d %H:%M:%S.%f")
        for row in range(40)
    ]
    path = _log(
        tmp_path / "l.csv",
        _values(40),
        times=times,
        more={"状態": ["正常"] * 20 + ["異常"] * 20},
        names="時刻,振動,電流",
        encoding="cp932",
    )
    log = SensorLogConfig(
        rate=RATE,
        window_seconds=0.2,
        hop_seconds=0.2,
        channels=("振動", "電流"),
        time="時刻",
        label="状態",
    )
    found = _survey(path, log, None)
    assert found.data.label_names == ("正常", "異常") and found.data.labels.tolist() == [0, 1]


def test_a_gap_a_missing_value_and_a_label_end_a_stretch(tmp_path: Path) -> None:
    values = _values(200)
    times = [f"{row / RATE:.2f}" for row in range(200)]
    times[50:] = [f"{row / RATE + 7:.2f}" for row in range(50, 200)]
    label = ["a"] * 130 + ["b"] * 70
    path = _log(tmp_path / "l.csv", values, times=times, more={"s": label})
    text = path.read_text().splitlines()
    text[100] = text[100].rsplit(",", 2)[0] + ",---,a"  # row 99
    path.write_text("\n".join(text))
    found = _survey(path, replace(LOG, label="s"))
    starts = [int(name.removesuffix("]").rpartition("[")[2]) for name in found.data.names]
    assert starts == [0, 20, 50, 70, 100, 130, 150, 170]
    assert found.data.labels.tolist() == [0] * 5 + [1] * 3


def test_intervals_label_windows_and_name_units(tmp_path: Path) -> None:
    _log(tmp_path / "one.csv", _values(200))
    _log(tmp_path / "two.csv", _values(60, 1))
    (tmp_path / "events.csv").write_text(
        "file,start,end,label,part\none,0,0.6,a,p1\none.csv,0.6,1.2,b,p2\ntwo,0.1,0.5,a,p3\n"
    )
    log = replace(LOG, intervals="events.csv", hop_seconds=0.1)
    found = _survey(tmp_path, log, unit_column="part")
    assert found.data.privacy_units is not None
    by_unit: dict[str, int] = {}
    for unit in found.data.privacy_units:
        by_unit[unit] = by_unit.get(unit, 0) + 1
    assert by_unit.pop("p1") == by_unit.pop("p2") == 5 and by_unit.pop("p3") == 3
    assert not by_unit
    assert "100 rows lie outside all intervals" in found.hints[0]
    assert found.data.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 3


@pytest.mark.parametrize(("unit", "count"), [("file", 2), ("interval", 3)])
def test_a_log_and_an_interval_can_be_the_unit(tmp_path: Path, unit: str, count: int) -> None:
    _log(tmp_path / "one.csv", _values(120))
    _log(tmp_path / "two.csv", _values(60, 1))
    (tmp_path / "e.csv").write_text("file,start,end,label\none,0,0.6,a\none,0.6,1.2,b\ntwo,0,9,a\n")
    found = _survey(tmp_path, replace(LOG, intervals="e.csv"), unit_column=unit)
    assert found.data.privacy_units is not None and len(set(found.data.privacy_units)) == count


@pytest.mark.parametrize(("gap", "units"), [(0.15, ["0.0"]), (7, ["0.0", "7.5"])])
def test_a_run_between_long_gaps_can_be_the_unit(
    tmp_path: Path, gap: float, units: list[str]
) -> None:
    times = [f"{row / RATE + gap * (row >= 50):.2f}" for row in range(200)]
    label = {"s": ["a"] * 130 + ["b"] * 70}  # no end of a run
    path = _log(tmp_path / "l.csv", _values(200), times=times, more=label)
    found = _survey(path, replace(LOG, label="s"), unit_column="time-run")
    assert found.data.privacy_units is not None
    assert sorted(set(found.data.privacy_units)) == [f"l.csv, from {first}" for first in units]
    says = find_recording_unit_column(path, ReadingConfig(log=replace(LOG, label="s")))
    assert says == ("time-run" if len(units) > 1 else "")


def test_a_run_is_a_range_of_time_whatever_the_order_of_rows() -> None:
    times = np.array([1.0, 1.01, 0.0, 0.01, np.nan, 1.02, 0.02])
    log = SensorLog(channels=("vib",), values=np.zeros((7, 1), np.float32), times=times, texts={})
    assert log_reader.time_run_indices(log, LOG).tolist() == [1, 1, 0, 0, -1, 1, 0]
    assert not log_reader.time_run_indices(replace(log, times=None), LOG).any()


def test_runs_at_the_same_times_are_one_unit_and_pointed_out(tmp_path: Path) -> None:
    times = [f"{row % 50 / RATE:.2f}" for row in range(100)]
    found = _survey(_log(tmp_path / "l.csv", _values(100), times=times), unit_column="time-run")
    assert found.data.privacy_units == ("l.csv, from 0.0",) * 4
    assert "go back in 1 logs" in found.hints[-1] and "--unit-column file" in found.hints[-1]


def test_folders_name_the_class_where_nothing_else_does(tmp_path: Path) -> None:
    _log(tmp_path / "a" / "1.csv", _values(40))
    _log(tmp_path / "b" / "2.csv", _values(40, 1))
    (tmp_path / "b" / "notes.pdf").write_bytes(b"x")
    found = _survey(tmp_path, labels=None)
    assert found.data.label_names == ("a", "b") and found.data.labels.tolist() == [0, 0, 1, 1]
    assert [stray.name for stray in found.unsupported_files] == ["b/notes.pdf"]


def test_sound_is_a_log_that_says_its_rate(tmp_path: Path) -> None:
    samples = (_values(100) * 8000).astype("<i2")
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setparams((2, 2, 100, 100, "NONE", ""))
        file.writeframes(samples.tobytes())
    log = replace(LOG, channels=("1", "2"))
    found = _survey(tmp_path / "s.wav", log)
    np.testing.assert_allclose(found.data.records[1], samples[20:40].T / 32768)
    problem = _survey(tmp_path / "s.wav", replace(log, rate=200.0)).problems[0]
    assert "100 samples a second" in problem.reason and "says 200" in problem.reason


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_are_between_minus_one_and_one(width: int) -> None:
    from wg_client.data.sensor_log import _decode_samples

    low, high = (b"\0", b"\xff") if width == 1 else (b"\0" * (width - 1) + b"\x80", b"\xff" * width)
    raw = np.frombuffer(low + high, np.uint8).reshape(1, 2, width)
    found = _decode_samples(raw, width)
    assert found[0, 0] == -1 and -1e-2 < found[0, 1] - (1 if width == 1 else 0) <= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 bytes"),
        ("time,vib,cur\n", "no rows"),
        ("time,vib\n0,1\n", "no column 'cur'"),
        ("time,vib,cur\n0,1\n", "line 2: 2 cells, expected 3"),
        ("time,vib,cur\n0,1,2\n0.01,x,2\n", "line 3: column 'vib': 'x'"),
        ("time,vib,cur\nnoon,1,2\n", "column 'time'"),
        ("time,vib,cur\n12:00:01,1,2\n", "expected seconds, or a date"),
        ('time,vib,cur\n0,"1,2\n', "not CSV"),
        ("\x00\x01\x02", "not a text"),
    ],
    ids=range(9),
)
def test_a_damaged_log_is_named_and_ends_no_other(tmp_path: Path, text: str, message: str) -> None:
    _log(tmp_path / "good.csv", _values(40))
    (tmp_path / "bad.csv").write_text(text)
    found = _survey(tmp_path)
    assert len(found.data) == 2
    (problem,) = found.problems
    assert problem.name == "bad.csv" and message in problem.reason


@pytest.mark.parametrize(("step", "windows"), [(0.01, 5), (0.0102, 5), (0.012, 0), (1.0, 0)])
def test_rows_at_another_rate_are_not_used(tmp_path: Path, step: float, windows: int) -> None:
    _log(tmp_path / "good.csv", _values(40))
    times = [f"{row * step:.4f}" for row in range(100)]
    _log(tmp_path / "slow.csv", _values(100), times=times)
    found = _survey(tmp_path)
    assert len(found.data) == 2 + windows
    assert bool(found.hints) == bool(found.problems or step == 1) == (not windows)
    if not windows:
        assert f"slow.csv: {1 / step:.6g} samples a second" in found.hints[-1]
        with pytest.raises(DataError, match="says 100" if step == 1 else "samples a second"):
            found = _survey(tmp_path / "slow.csv", labels=None)


@pytest.mark.parametrize("unit", ["part", "interval"])
def test_a_unit_within_a_log_needs_times(tmp_path: Path, unit: str) -> None:
    path = _log(tmp_path / "l.csv", _values(60), more={"part": ["p"] * 60})
    log = replace(LOG, time=None)
    with pytest.raises(DataError, match=f"{unit}.*(--time-column|--intervals)"):
        _survey(path, log, unit_column=unit)
    assert len(_survey(path, log, unit_column="file").data) == 3


@pytest.mark.parametrize(
    "odd",
    [
        b"0.50,o.5,1\n",
        b"0.50,1\n",
        b'0.50,"1,1\n',
        b"0.50,\xff\xfe1,1\n",
        b"0.50," + b"1" * (1 << 21) + b",1\n",
    ],
    ids=range(5),
)
@pytest.mark.parametrize("time", ["time", None])
def test_a_row_that_cannot_be_read_is_a_gap(tmp_path: Path, odd: bytes, time: str | None) -> None:
    path = _log(tmp_path / "l.csv", _values(100))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:51], odd, *lines[52:]]))
    found = _survey(path, replace(LOG, time=time))
    assert found.data.names == tuple(f"l.csv[{row}]" for row in (0, 20, 51, 71))
    (problem,) = found.problems
    assert problem.name == "l.csv" and "gaps: 1, first line 52: " in problem.reason


def test_units_that_take_turns_are_read_by_themselves(tmp_path: Path) -> None:
    times = [f"{row // 2 / RATE:.2f}" for row in range(100)]
    path = _log(tmp_path / "l.csv", _values(100), times=times, more={"part": ["p", "q"] * 50})
    found = _survey(path, unit_column="part")
    assert found.data.names == tuple(f"l.csv[{row}]" for row in (0, 40, 1, 41))
    np.testing.assert_array_equal(found.data.records[3], _values(100)[41:81:2].T.astype(np.float32))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("start,end\n0,1\n", "no column 'label'"),
        ("start,end,label\n1,0,a\n", "line 2: ends at 0"),
        ("start,end,label\n0\n", "too few"),
        ("start,end,label\nx,1,a\n", "line 2"),
        ("start,end,label\n0,1,a\n0.5,2,b\n", "lines 2 and 3 overlap"),
    ],
)
def test_a_damaged_table_of_intervals_is_named(tmp_path: Path, table: str, message: str) -> None:
    _log(tmp_path / "l.csv", _values(100))
    (tmp_path / "e.csv").write_text(table)
    log = replace(LOG, intervals="e.csv")
    try:
        said = _survey(tmp_path, log).problems[0].reason
    except DataError as error:
        said = str(error)
    assert message in said and "e.csv" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0.0}, "rate: 0"),
        ({"rate": float("nan")}, "rate: nan"),
        ({"window_seconds": 0.01}, "1 samples, expected 8"),
        ({"hop_seconds": 0.001}, "one sample"),
        ({"channels": ()}, "0 names"),
        ({"channels": ("a", "a")}, "each once"),
        ({"label": "s", "intervals": "e.csv"}, "one of the two"),
    ],
)
def test_settings_of_logs_are_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(LOG, **change)


def test_what_is_not_said_comes_from_the_first_log(tmp_path: Path) -> None:
    times = [f"2026-04-01T08:00:{row / RATE:09.6f}" for row in range(100)]
    path = _log(tmp_path / "l.csv", _values(100), times=times, more={"s": ["a"] * 100})
    said: dict[str, Any] = {
        "window_seconds": 0.2,
        "hop_seconds": None,
        "rate_hz": None,
        "channels": None,
        "time_column": "time",
        "label_column": "s",
        "interval_table": None,
    }
    options = sensor_windows.CuttingOptions(**said)
    reading: dict[str, Any] = {"unit_column": None, "encoding": "auto"}
    assert sensor_windows.propose_log_config(path, options, **reading) == replace(LOG, label="s")
    with pytest.raises(DataError, match="--rate"):
        sensor_windows.propose_log_config(path, replace(options, time_column=None), **reading)


def test_a_plant_of_logs_is_frozen_checked_and_read_again(
    make_plant: MakePlant, tmp_path: Path, window_encoder: bytes
) -> None:
    from wg_client.data.plant_data import open_plant_data
    from wg_client.release import preview

    plant = make_plant({0: 2}, frozen=False)
    plant.confirm(window_encoder)
    logs = tmp_path / "logs"
    state = ["bars"] * 100 + ["dots"] * 100
    _log(logs / "l.csv", _values(200), more={"s": state})
    reading = ReadingConfig(log=replace(LOG, label="s", window_seconds=0.5, hop_seconds=0.25))
    data = replace(plant.config.data, path=str(logs), reading=reading, unit_column="file")
    plant.configure(data=data, privacy=PrivacyConfig(answer_slot_seconds=2))
    assert plant.freeze().records == 6
    opened = open_plant_data(plant.home)
    np.testing.assert_array_equal(
        opened.data.records[1],
        survey_dataset(logs, SurveyOptions(labels=data.labels, reading=reading)).data.records[1],
    )
    assert not preview.preview_release(plant.home).snapshot.change.has_changes
    _log(logs / "m.csv", _values(100, 5), more={"s": state[:100]})
    assert preview.preview_release(plant.home).snapshot.change.more == 1
    _log(logs / "l.csv", _values(200, 9), more={"s": state})
    with pytest.raises(DataError, match="changed since it was frozen"):
        open_plant_data(plant.home).data.records[0]


def test_check_notices_a_table_of_intervals_that_is_newer_than_the_snapshot(
    make_plant: MakePlant, tmp_path: Path, window_encoder: bytes
) -> None:
    from wg_client.release.preview import preview_release

    plant = make_plant({0: 2}, frozen=False)
    plant.confirm(window_encoder)
    log = _log(tmp_path / "logs" / "l.csv", _values(200))
    table = log.with_name("events.csv")
    table.write_text("start,end,label\n0,1,bars\n1,2,dots\n")
    reading = ReadingConfig(log=replace(LOG, intervals=table.name))
    data = replace(plant.config.data, path=str(log.parent), reading=reading, unit_column="file")
    plant.configure(data=data, privacy=PrivacyConfig(answer_slot_seconds=2))
    frozen_time = plant.freeze().snapshot.manifest.created
    assert not preview_release(plant.home).snapshot.change.has_changes
    os.utime(table, (frozen_time + 1, frozen_time + 1))
    change = preview_release(plant.home).snapshot.change
    assert (change.more, change.gone, change.touched) == (0, 0, 1)
    table.unlink()
    change = preview_release(plant.home).snapshot.change
    assert (change.more, change.gone, change.touched) == (0, 1, 0)


def test_a_dead_channel_is_pointed_out(tmp_path: Path) -> None:
    values = _values(40)
    values[:, 1] = 0
    found = inspect_records(_survey(_log(tmp_path / "l.csv", values)), has_units=False)
    assert "never changes, such as l.csv[0]" in found.hints[0]
