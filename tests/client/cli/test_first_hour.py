"""What a newcomer met in the first hour with ``wg-client``, mended; numbers as in the issue."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures, plant_maker

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import take_package
from wg_core import cli, errors
from wg_core.wire import protocol

Shown = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def applied(
    tmp_path_factory: pytest.TempPathFactory, encoder_package: bytes, good_head: LinearHead
) -> TestPlant:
    """A plant with a model, which the tests here only read."""
    plant = plant_maker(tmp_path_factory.mktemp("applied"), encoder_package)({0: 4, 1: 4})
    take_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    return plant


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


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--out", "missing/m.onnx"], errors.ExitCode.USAGE, "is not there"),
    ],
)
def test_an_export_is_what_its_name_says(
    applied: TestPlant, tmp_path: Path, here: Json, words: list[str], code: int, message: str
) -> None:
    words[1] = str(tmp_path / words[1])
    found = here("models", "export", "--home", applied.home.root, *words, code=code)
    assert message in found["error"]["message"]
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("command", ["check", "statistics"])
@pytest.mark.parametrize(("option", "value"), [("--epsilon", "0.0"), ("--delta", "1")])
def test_a_price_that_is_none_is_a_wrong_call_everywhere(
    tmp_path: Path, here: Json, command: str, option: str, value: str
) -> None:
    words = [command, "--home", tmp_path, option, value]
    if command == "statistics":
        words += ["--out", tmp_path / "s.wgs"]
    assert (
        "expected a decimal number" in here(*words, code=errors.ExitCode.USAGE)["error"]["message"]
    )


def test_nothing_is_charged_for_a_file_that_cannot_be_written(
    make_plant: MakePlant, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 2}, frozen=False)
    before = plant.home.ledger.read_bytes()
    out = tmp_path / "missing" / "s.wgs"
    here("statistics", "--home", plant.home.root, "--out", out, code=errors.ExitCode.USAGE)
    assert plant.home.ledger.read_bytes() == before and not out.parent.exists()


def test_a_damaged_package_is_named_and_did_not_verify(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 2, 1: 2})
    good = plant.package({"s": (good_head, "diffusion")})
    path = tmp_path / "p.wgw"
    for position in (40, len(good) // 2, len(good) - 3):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        found = here("apply", "--home", plant.home.root, path, code=errors.ExitCode.VERIFICATION)
        assert str(path) in found["error"]["message"]
    path.write_bytes(b"a letter")
    found = here("apply", "--home", plant.home.root, path, code=errors.ExitCode.CONFIG)
    assert str(path) in found["error"]["message"]


def test_counting_without_an_end_is_said_a_few_times(capsys: pytest.CaptureFixture[str]) -> None:
    with cli.progress("releases", None) as bar:
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

    token = protocol.encode_token(
        protocol.JoinToken(
            site="plant-a",
            secret="00" * 32,
            enrol_url="https://127.0.0.1:9",
            ca_sha256="11" * 32,
            encoder="22" * 32,
            expires=1 << 40,
        )
    )
    (tmp_path / "token").write_text(token)
    monkeypatch.setattr("wg_client.fleet.initialise.shutil.disk_usage", lambda path: Full)
    words = ("--join-file", tmp_path / "token", "--data", _pictures(tmp_path / "data"))
    found = here("init", "--home", tmp_path / "home", *words, code=errors.ExitCode.CONFIG)
    assert found["error"]["code"] == "storage" and "still good" in found["error"]["message"]
