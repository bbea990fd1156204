"""What a newcomer met in the first hour with ``wg-client``, mended; numbers as in the issue."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.cli.bad_inputs import joined
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, TestPlant, pictures

from wg_common import cli
from wg_core import errors
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

Shown = Callable[..., tuple[str, str]]


def _pictures(folder: Path, count: int = 2) -> Path:
    for number, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for row, picture in enumerate(pictures(np.random.default_rng(number), number, count)):
            Image.fromarray(picture).save(folder / label / f"{row}.png")
    return folder


def test_a_damaged_file_keeps_no_other_from_its_prediction(
    applied: TestPlant, tmp_path: Path, here: Json, shown: Shown
) -> None:
    folder = _pictures(tmp_path / "new")
    (folder / "bars" / "0.png").write_bytes(b"")
    (folder / "rings" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ("predict", "--home", applied.home.root, folder)
    (found,) = here(*words, code=errors.ExitCode.CONFIG)["results"]
    assert len(found["predictions"]) == 5
    assert {Path(one["name"]).name for one in found["left_out"]} == {"0.png", "cut.png"}
    _, err = shown(*words, code=errors.ExitCode.CONFIG)
    assert "left out" in err and "2 of 7" in err


def test_predictions_go_to_a_table_that_spreadsheets_open(
    applied: TestPlant, tmp_path: Path, shown: Shown
) -> None:
    folder, out = tmp_path / "new", tmp_path / "result.csv"
    folder.mkdir()
    Image.fromarray(pictures(np.random.default_rng(3), 0, 1)[0]).save(folder / "=1+1 傷.png")
    said, _ = shown("predict", "--home", applied.home.root, folder, "--out", out)
    assert "1 predictions" in said
    with out.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0][:3] == ["file", "label", "probability"] and rows[1][1] in LABELS
    assert rows[1][0].endswith("=1+1 傷.png")


def test_a_refused_folder_says_what_was_read_and_square_floats_are_hinted_at(
    tmp_path: Path, here: Json, shown: Shown
) -> None:
    rng = np.random.default_rng(1)
    for name, count in (("ok", 3), ("bad", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for row in range(count):
            np.save(tmp_path / "data" / name / f"{row}.npy", rng.random((20, 24)))
    np.save(tmp_path / "data" / "ok" / "colour.npy", rng.random((20, 24, 3)))
    words = ("init", "--home", tmp_path / "home", "--data", tmp_path / "data")
    document = here(*words, code=errors.ExitCode.CONFIG)
    assert document["read"] == {
        "layout": "a folder for each class",
        "kind": "windows",
        "records": 5,
        "classes": {"bad": 2, "ok": 3},
        "unlabelled": 0,
    }
    assert "5 arrays of floats, such as bad/0.npy" in document["hints"][0]
    assert "if it is a picture, save it as PNG" in document["problems"][0]["reason"]
    out, _ = shown(*words, code=errors.ExitCode.CONFIG)
    assert out.splitlines()[0] == "read as a folder for each class: 5 windows: bad 2, ok 3"


def test_counting_without_an_end_is_said_a_few_times(capsys: pytest.CaptureFixture[str]) -> None:
    with cli.show_progress("releases", None) as bar:
        for done in range(10_001):
            bar.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split()[-1]) for line in lines[:6]] == [0, 1, 2, 5, 10, 20]
    assert len(lines) == 14


def test_a_full_disk_is_found_before_the_token_is_spent(
    tmp_path: Path, here: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1 << 20

    (tmp_path / "token").write_text(joined(expires=1 << 40))
    monkeypatch.setattr("wg_client.fleet.home_initialisation.shutil.disk_usage", lambda path: Full)
    words = ("--join-file", tmp_path / "token", "--data", _pictures(tmp_path / "data"))
    found = here("init", "--home", tmp_path / "home", *words, code=errors.ExitCode.CONFIG)
    assert found["error"]["code"] == "storage" and "still good" in found["error"]["message"]


def test_a_home_without_a_server_is_made_only_if_answers_fit_their_time_slot(
    tmp_path: Path, here: Json
) -> None:
    words = ("init", "--home", tmp_path / "home", "--data", _pictures(tmp_path / "data"))
    found = here(*words, "--answer-slot", "0.00001", code=errors.ExitCode.CONFIG)
    assert "wg-client init --answer-slot 2" in found["error"]["message"]
    assert not (tmp_path / "home" / "client.yaml").exists()
    here(*words, "--answer-slot", "5")
    assert configuration.load(ClientHome(tmp_path / "home")).privacy.answer_slot_seconds == 5
