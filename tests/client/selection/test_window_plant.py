"""A plant of sensor windows does everything that a plant of images does."""

from __future__ import annotations

import itertools
import json
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from click.testing import CliRunner
from tests.client.conftest import LABELS, MakePlant, TestPlant, waves
from tests.client.discriminants import fit_lda
from tests.client.families import family_head
from tests.client.models.test_predictor import Asked, asked

from wg_client.cli import main
from wg_client.cli.prediction_run import PredictionRun
from wg_client.fitting.linear_head import LinearHead, fit_standardisation
from wg_client.methods.method_names import HANDED_ON, HANDED_ON_FINETUNED, LOCAL_ONLY
from wg_client.models import adoption, export, predict, store
from wg_client.models.export import check_private_head_exportable, export_model, export_private_head
from wg_client.models.manifest import KEPT_ALIAS
from wg_client.models.predictor import Predictor
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.nets.encoder import window_trunk
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.nets.private_head import train_private_head
from wg_core.errors import ConfigError, DataError, DecodeError, VerificationError
from wg_core.release.budget import read_plant_spending
from wg_core.release.private_head import HeadOrder, release_private_head
from wg_core.site.reading_config import SensorLogConfig


@pytest.fixture
def window_plant(make_plant: MakePlant, window_encoder: bytes) -> TestPlant:
    """The images of a test plant, replaced by windows in class folders, before anything is read."""
    plant = make_plant(name="plant-w", frozen=False)
    plant.confirm(window_encoder)
    rng = np.random.default_rng(4)
    folder = plant.home.root / "data"
    for label, name in enumerate(LABELS):
        (folder / name).mkdir(parents=True)
        for number, window in enumerate(waves(rng, label, 6)):
            if number % 2:
                np.save(folder / name / f"{number}.npy", window)
            else:
                np.savetxt(
                    folder / name / f"{number}.csv",
                    window.T,
                    delimiter=",",
                    header="a,b",
                    comments="",
                )
    plant.configure(data=_replaced(plant, folder))
    plant.freeze()
    return plant


def _replaced(plant: TestPlant, folder: Path) -> object:
    return replace(plant.config.data, name="windows", path=str(folder))


@pytest.fixture
def good(window_encoder: bytes) -> LinearHead:
    rng = np.random.default_rng(5)
    found = np.concatenate([waves(rng, label, 40) for label in range(3)])
    features = load_encoder(window_encoder).encode(list(found)).astype(np.float64)
    scale = fit_standardisation(features)
    labels = np.repeat(np.arange(3), 40)
    return scale.to_unscaled_head(fit_lda(scale.apply(features), labels, 3, 0.5))


def test_a_package_is_applied_and_predicts_windows(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    applied = apply_and_adopt_package(window_plant.home, package)
    assert applied.manifest.architecture == "window-head"
    rng = np.random.default_rng(6)
    np.savetxt(tmp_path / "new.csv", waves(rng, 2, 1)[0].T, delimiter=",")
    data = predict.load_records(tmp_path / "new.csv", LABELS)
    features = predict.compute_model_inputs(window_plant.home, applied.manifest, data)
    (row,) = predict.predict(window_plant.home, applied.manifest, KEPT_ALIAS, features, data.names)
    assert row.label == LABELS[2]


def test_predict_its_watch_and_the_service_cut_a_log_into_the_same_windows(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    apply_and_adopt_package(window_plant.home, package)
    log = SensorLogConfig(rate=64.0, window_seconds=1.0, hop_seconds=1.0, channels=("1", "2"))
    reading = replace(window_plant.config.data.reading, log=log)
    window_plant.configure(data=replace(window_plant.config.data, reading=reading))
    values = np.hstack(list(waves(np.random.default_rng(6), 2, 3))).T
    folder = tmp_path / "new"
    folder.mkdir()
    lines = [",".join(f"{value:.4f}" for value in row) for row in values]
    (folder / "a.csv").write_text("\n".join(["1,2", *lines]) + "\n")
    (folder / "b.csv").write_text("\n".join(["1,2", *lines[:70], "x,1", *lines[70:], ""]))
    with wave.open(str(folder / "c.wav"), "wb") as stream:
        stream.setparams((2, 2, 64, 0, "NONE", ""))
        stream.writeframes((values * 8000).astype("<i2").tobytes())
    (folder / "d.wav").write_bytes(b"")
    manifest, name = adoption.model_in_use(window_plant.home)
    run = PredictionRun(window_plant.home, manifest, name)
    run.predict_path(folder)
    (result,) = run.json_document()["results"]
    expected = {row["name"]: row["verdict"] for row in result["predictions"]}
    assert expected.keys() >= {f"{log}[{row}]" for log in ("a.csv", "c.wav") for row in (0, 128)}
    watch = run.watch_folder(folder, tmp_path / "out.csv", pause_seconds=0)
    left_out = {item["name"]: "look" for item in result["left_out"]}
    assert left_out.keys() == {"b.csv", "d.wav"}
    count = len(expected) + len(left_out)
    rows = (line.split("\t") for line in itertools.islice(watch, count))
    assert {cells[0]: cells[-1] for cells in rows} == expected | left_out
    again = run.watch_folder(folder, tmp_path / "out.csv", pause_seconds=0)
    (folder / "e.wav").write_bytes((folder / "c.wav").read_bytes())
    assert next(again).startswith("e.wav[0]\t")
    names = "a.csv", "b.csv", "c.wav"
    requests: list[Asked] = [(file, (folder / file).read_bytes(), {}) for file in names]
    requests.append(("d.wav", b"", {}))
    *answers, refusal = asked(Predictor.load(window_plant.home, manifest, name), requests)
    served = [row for answer in answers for row in answer.json()["predictions"]]
    assert {row["name"]: row["verdict"] for row in served} == expected
    problems = [[item["name"] for item in answer.json()["left_out"]] for answer in answers]
    assert problems == [[], ["b.csv"], []]
    assert refusal.status_code == 422 and refusal.json()["error"].startswith("d.wav: ")


def test_a_log_that_is_predicted_is_no_other_file(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    apply_and_adopt_package(window_plant.home, package)
    log = SensorLogConfig(rate=256.0, window_seconds=1, hop_seconds=1, channels=("1", "2"))
    reading = replace(window_plant.config.data.reading, log=log)
    window_plant.configure(data=replace(window_plant.config.data, reading=reading))
    folder = tmp_path / "new"
    folder.mkdir()
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((2, 2, 256, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(1).bytes(4 * 512))
    words = ["predict", "--home", str(window_plant.home.root), str(folder)]
    said = CliRunner().invoke(main.group, words, standalone_mode=False)
    assert "a.wav[256]" in said.output and "other files" not in said.output
    (folder / "memo.pdf").write_text("x")
    said = CliRunner().invoke(main.group, words, standalone_mode=False)
    assert "1 other files, such as memo.pdf: no sensor log" in said.output


def test_a_head_of_the_family_stands_on_features_that_the_plant_standardises(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    """Its own learners have the course of its windows beside these features."""
    family = family_head(window_plant.home.encoder.read_bytes(), 3), SAME_FAMILY_SOURCE
    candidates: dict[str, Any] = {"k": family, "s": (good, "diffusion")}
    package = window_plant.package(candidates, architecture="window-head")
    manifest = apply_and_adopt_package(window_plant.home, package).manifest
    models = {entry.name: entry for entry in manifest.models}
    assert (models[HANDED_ON].origin, models[HANDED_ON].source) == ("k", SAME_FAMILY_SOURCE)
    tensors = store.load_model_tensors(window_plant.home, manifest, HANDED_ON)
    encoder = predict.load_encoder(window_plant.home, manifest)
    assert tensors["head.weight"].shape == (3, encoder.local_dimension)
    rng = np.random.default_rng(6)
    np.savetxt(tmp_path / "new.csv", waves(rng, 2, 1)[0].T, delimiter=",")
    data = predict.load_records(tmp_path / "new.csv", LABELS)
    features = predict.compute_model_inputs(window_plant.home, manifest, data)
    for name in (HANDED_ON, HANDED_ON_FINETUNED):
        rows = predict.predict(window_plant.home, manifest, name, features, data.names)
        assert len(rows) == 1
    short = candidates | {"k": ({k: v[..., 1:] for k, v in family[0].items()}, SAME_FAMILY_SOURCE)}
    with pytest.raises(DecodeError, match="candidate k: family"):
        wrong = window_plant.package(short, architecture="window-head")
        apply_and_adopt_package(window_plant.home, wrong)


def test_images_are_refused_where_the_encoder_is_for_windows(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = make_plant(frozen=False)
    plant.confirm(window_encoder)
    with pytest.raises(DataError, match="is for sensor windows; join a server"):
        plant.freeze()


@pytest.mark.parametrize("form", ["safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_exports_take_views_of_windows(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path, form: str
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    applied = apply_and_adopt_package(window_plant.home, package)
    out = tmp_path / "model"
    metadata = export_model(
        window_plant.home,
        applied.manifest,
        LOCAL_ONLY,
        form,  # type: ignore[arg-type]
        out,
    )
    assert metadata["input"] == "windows"
    assert "pixels" not in metadata
    if form == "safetensors":
        with safetensors.safe_open(out, framework="pt") as file:
            assert {"encoder.mean", "encoder.projection", "head.weight"} <= set(file.keys())
        return
    assert metadata["views"] == "n,2,2,128"
    found = waves(np.random.default_rng(7), 1, 5)
    views = torch.cat([window_trunk.window_views(window) for window in found])
    session = onnxruntime.InferenceSession(str(out))
    encoder = predict.load_encoder(window_plant.home, applied.manifest)
    (trunk,) = encoder.further_trunks
    fitted = torch.cat([trunk.prepare([window]) for window in found])
    (got,) = session.run(["logits"], {"windows": views.numpy(), trunk.label: fitted.numpy()})
    features = encoder.encode_local(list(found))
    expected = predict.model_logits(
        window_plant.home, applied.manifest, LOCAL_ONLY, features.astype(np.float64)
    )
    assert np.ptp(expected, axis=1).min() > 0.1
    np.testing.assert_allclose(got, expected, atol=2e-3, rtol=2e-3)


def test_weights_for_images_are_refused_where_there_are_windows(
    window_plant: TestPlant, good: LinearHead
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="lite0-head")
    with pytest.raises(VerificationError, match="is for images, this plant has windows"):
        apply_and_adopt_package(window_plant.home, package)
    assert not store.all_manifests(window_plant.home)


def private_head(plant: TestPlant) -> bytes:
    order = HeadOrder(request_id="1" * 32, epsilon="1", delta="1e-5")
    return release_private_head(plant.home, order, train_private_head, witness=plant.witness)


def test_a_private_head_of_windows_of_unknown_size_is_refused_before_the_charge(
    window_plant: TestPlant, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--window-shape CHANNELS SAMPLES"):
        check_private_head_exportable(window_plant.home, "onnx")
    words = ["models", "export", "--home", str(window_plant.home.root), "--private", "1"]
    done = CliRunner().invoke(main.group, [*words, "--out", str(tmp_path / "m.onnx")])
    assert isinstance(done.exception, ConfigError)
    assert read_plant_spending(window_plant.home, window_plant.config).charge_count == 0
    check_private_head_exportable(window_plant.home, "safetensors")
    check_private_head_exportable(window_plant.home, "onnx", (3, 1024))


@pytest.mark.parametrize("stated", [None, (3, 1024)])
def test_a_private_head_of_windows_has_no_size_of_a_record(
    window_plant: TestPlant,
    tmp_path: Path,
    stated: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The records have two channels of fewer samples, or there are none."""
    shown: list[Any] = []

    def record(*words: Any) -> bytes:
        shown.append(words[1:])
        return b"onnx"

    monkeypatch.setattr(export, "encode_onnx", record)
    data = private_head(window_plant)
    if stated is None:
        channels = ("a", "b", "c")
        log = SensorLogConfig(rate=1024.0, window_seconds=1.0, hop_seconds=1.0, channels=channels)
        reading = replace(window_plant.config.data.reading, log=log)
        window_plant.configure(data=replace(window_plant.config.data, reading=reading))
    shutil.rmtree(window_plant.home.snapshots)
    out = tmp_path / "m.onnx"
    metadata = export_private_head(window_plant.home, data, "onnx", out, stated)
    views = window_trunk.window_views(np.zeros((3, 1024), np.float32)).shape[1:]
    assert metadata["views"] == "n," + ",".join(map(str, views))
    assert json.loads(metadata["inputs"]) == {"windows": list(views)}
    ((examples, outputs, _),) = shown
    assert examples["windows"].shape[1:] == views and outputs == ("logits",)
