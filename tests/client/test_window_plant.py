"""A plant of sensor windows does everything that a plant of images does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors
import torch

from wg_client import model_store, predict
from wg_client import plant as plants
from wg_client.apply import apply_package
from wg_client.check import check
from wg_client.dataset import commitment, load_dataset, record_digests
from wg_client.export import export_model
from wg_client.heads import LinearHead, fit_lda, scaling
from wg_client.release import dataset_record
from wg_common import signing
from wg_common.errors import DataError
from wg_common.ledger.store import Ledger
from wg_common.nets import windows
from wg_common.nets.encoder import fit_window_encoder, load_encoder, raw_window_features

from .conftest import LABELS, MakePlant, TestPlant


def _waves(rng: np.random.Generator, label: int, count: int) -> np.ndarray:
    """Noisy tones of one of three pitches on two channels."""
    turn = (2 + 5 * label) * np.linspace(0, 2 * np.pi, 64) + rng.uniform(0, 6, (count, 2, 1))
    return np.asarray(np.sin(turn) + rng.normal(0, 0.4, (count, 2, 64)), dtype=np.float32)


@pytest.fixture(scope="module")
def window_encoder() -> bytes:
    rng = np.random.default_rng(3)
    found = np.concatenate([_waves(rng, label, 40) for label in range(3)])
    labels = np.repeat(np.arange(3), 40)
    groups = np.arange(120) % 2
    return fit_window_encoder(raw_window_features(found), groups, labels, dimension=16)


@pytest.fixture
def window_plant(make_plant: MakePlant, window_encoder: bytes) -> TestPlant:
    """The images of a test plant, replaced by windows in class folders, before anything is read."""
    plant = make_plant(name="plant-w")
    plant.home.encoder.write_bytes(window_encoder)
    rng = np.random.default_rng(4)
    folder = plant.home.root / "data"
    for label, name in enumerate(LABELS):
        (folder / name).mkdir(parents=True)
        for number, window in enumerate(_waves(rng, label, 6)):
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
    data = load_dataset(folder, LABELS)
    digest = commitment(plant.home.load_secret(), record_digests(data))
    with Ledger.open(plant.home.ledger, key=signing.load(plant.home.ledger_key)) as ledger:
        ledger.register_dataset(dataset_record(plant.config, digest))
    return plant


def _replaced(plant: TestPlant, folder: Path) -> object:
    from dataclasses import replace

    return replace(plant.config.data, name="windows", path=str(folder))


@pytest.fixture
def good(window_encoder: bytes) -> LinearHead:
    rng = np.random.default_rng(5)
    found = np.concatenate([_waves(rng, label, 40) for label in range(3)])
    features = load_encoder(window_encoder).encode(list(found)).astype(np.float64)
    scale = scaling(features)
    labels = np.repeat(np.arange(3), 40)
    return scale.unscale(fit_lda(scale.apply(features), labels, 3, 0.5))


def test_check_names_the_records_for_what_they_are(window_plant: TestPlant) -> None:
    found = check(window_plant.home)
    assert found.data.modality == "windows"
    assert found.data.record_sizes == {"2x64": 18}


def test_a_package_is_applied_and_predicts_windows(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    applied = apply_package(window_plant.home, package)
    assert applied.manifest.architecture == "window-head"
    rng = np.random.default_rng(6)
    np.savetxt(tmp_path / "new.csv", _waves(rng, 2, 1)[0].T, delimiter=",")
    data = predict.load_records(tmp_path / "new.csv", LABELS, split=None)
    features = predict.encode_records(window_plant.home, applied.manifest, data)
    (row,) = predict.predict(
        window_plant.home, applied.manifest, model_store.KEPT, features, data.names
    )
    assert row.label == LABELS[2]


def test_images_are_refused_where_the_encoder_is_for_windows(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = make_plant()
    plant.home.encoder.write_bytes(window_encoder)
    with pytest.raises(DataError, match="is for sensor windows; join a server"):
        plants.encode(plant.home, plants.open_plant(plant.home))


@pytest.mark.parametrize("form", ["safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_exports_take_views_of_windows(
    window_plant: TestPlant, good: LinearHead, tmp_path: Path, form: str
) -> None:
    package = window_plant.package({"s": (good, "diffusion")}, architecture="window-head")
    applied = apply_package(window_plant.home, package)
    out = tmp_path / "model"
    metadata = export_model(
        window_plant.home,
        applied.manifest,
        model_store.KEPT,
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
    found = _waves(np.random.default_rng(7), 1, 5)
    views = torch.cat([windows.prepare(window) for window in found])
    session = onnxruntime.InferenceSession(str(out))
    (got,) = session.run(None, {"windows": views.numpy()})
    features = load_encoder(window_plant.home.encoder.read_bytes()).encode(list(found))
    expected = predict.logits(
        window_plant.home, applied.manifest, model_store.KEPT, features.astype(np.float64)
    )
    np.testing.assert_allclose(got, expected, atol=1e-3, rtol=1e-3)
