"""``wg-client simulate`` on a folder: nothing is written or sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.client.cli.conftest import Json, here, shown
from tests.client.conftest import LABELS, write_npz

from wg_common.nets.encoder.builtin_encoder import unfitted_encoder
from wg_core import errors

__all__ = ["here", "shown"]


@pytest.fixture
def encoder(tmp_path: Path, encoder_package: bytes) -> Path:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(encoder_package)
    return path


def test_a_folder_is_simulated_without_server_home_or_token(
    encoder: Path, tmp_path: Path, here: Json
) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 6, 1: 6, -1: 2}, seed=3, labels=LABELS)
    before = sorted(tmp_path.rglob("*"))
    found = here("simulate", "--data", data, "--labels", ",".join(LABELS), "--encoder", encoder)
    assert sorted(tmp_path.rglob("*")) == before
    assert found["data"]["records"] == 14 and found["data"]["labelled"] == 12
    assert found["facts"]["unseen"] == 1 and 0 < found["local"]["mean"] <= 1
    assert [price["epsilon"] for price in found["prices"]] == [1, 2, 4]
    first, expected = found["prices"][0], found["expected"]
    assert expected["low"] <= expected["gain"] <= expected["high"] and found["epsilon"] == 4
    assert found["decision"] in ("join", "wait", "don't")
    sizes = [block["integers"] for block in found["would_leave"]["blocks"]]
    assert sizes == [len(LABELS) + 1, 64 * len(LABELS), 64]
    assert 0.5 < first["guess"] < found["prices"][2]["guess"] < 0.69  # as `budget` says it later


def test_a_person_reads_it_in_80_columns(
    encoder: Path, tmp_path: Path, shown: Callable[..., tuple[str, str]]
) -> None:
    data = write_npz(tmp_path / "data.npz", {-1: 5}, seed=3, labels=LABELS)
    out, _ = shown("simulate", "--data", data, "--labels", ",".join(LABELS), "--encoder", encoder)
    lines = out.replace(str(tmp_path), "").splitlines()
    *told, following = lines
    assert not [line for line in told if len(line) > 80]
    assert following.endswith(f"--data /data.npz --labels {','.join(LABELS)}")  # to be copied
    assert "nothing was sent, nothing was charged" in out and "published plants" in " ".join(
        out.split()
    )


def test_files_that_cannot_be_used_are_named_before_there_is_a_home(
    encoder: Path, tmp_path: Path, shown: Callable[..., tuple[str, str]]
) -> None:
    rng = np.random.default_rng(3)
    for label in ("ok", "dent"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            picture = Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8))
            picture.save(tmp_path / "data" / label / f"{number}.png")
    (tmp_path / "data/ok/傷.png").touch()
    out, _ = shown("simulate", "--data", tmp_path / "data", "--encoder", encoder)
    assert "files that cannot be used: 1" in out and "cannot be used: ok/傷.png: " in out


def test_without_an_operators_encoder_the_installed_trunk_judges() -> None:
    windows = [np.random.default_rng(1).normal(size=(2, 64)).astype(np.float32)]
    found = unfitted_encoder("windows")
    local = found.encode_local_batched(windows)
    assert local.shape == (1, found.local_dimension) and local[:, found.scaled_dimension :].any()


def test_a_data_sheet_says_what_would_be_made_for_the_machine(
    tmp_path: Path, here: Json, shown: Callable[..., tuple[str, str]]
) -> None:
    data, sheet = tmp_path / "data", tmp_path / "sheet.yaml"
    rng = np.random.default_rng(1)
    for label in ("gut", "Stabbruch", "Lüfter"):
        (data / label).mkdir(parents=True)
        for number in range(4):
            np.save(data / label / f"{number}.npy", rng.normal(size=(1, 1024)).astype(np.float32))
    motor = "{supply_hz: 50, poles: 4, shaft_speed_rpm: 1452, sampling_hz: 500}"
    sheet.write_text(f"induction_motor: {motor}")
    words = ["simulate", "--data", data, "--data-sheet", sheet]
    tell, unsaid = here(*words)["machine"]
    assert "Stabbruch = broken rotor bar" in tell and "Lüfter" in unsaid
    out, _ = shown(*words)
    assert "data sheet: networks for this machine distinguish" in out
    assert f"--data-sheet {sheet}" in out  # Of the command that comes next
    sheet.write_text(f"induction_motor: {motor.replace('poles: 4', 'poles: 2')}")
    assert "count poles" in str(here(*words, code=errors.ExitCode.CONFIG))


def test_a_data_sheet_beside_pictures_is_refused(encoder: Path, tmp_path: Path, here: Json) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 6, 1: 6}, seed=3, labels=LABELS)
    sheet = tmp_path / "sheet.yaml"
    sheet.write_text(
        "gearbox: {pinion_speed_rpm: 9, sampling_hz: 9, pinion_teeth: 9, gear_teeth: 9}"
    )
    words = ["simulate", "--data", data, "--encoder", encoder, "--data-sheet", sheet]
    assert "leave it out" in str(here(*words, code=errors.ExitCode.CONFIG))
