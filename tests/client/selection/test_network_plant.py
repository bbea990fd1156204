"""Whole networks from package to prediction and export: small networks, few images, few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures

from wg_client.fitting import network_tuning
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.network_tuning import fine_tune
from wg_client.methods.names import (
    GENERATED_FINETUNED,
    LOCAL,
)
from wg_client.models import predict, store
from wg_client.models.export import FORMATS, Format, export_model
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.delivery import take_package
from wg_common.nets import assembly, network, tensor_set
from wg_core.errors import DecodeError
from wg_core.privacy.schema import DIMENSION

NET = "cnn-m"
Network = dict[str, NDArray[np.float32]]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 3: 0.0})


@pytest.fixture(scope="module")
def base() -> Network:
    trunk = network.draw_trunk(NET, np.random.default_rng(1))
    head = LinearHead(np.zeros((3, DIMENSION)), np.zeros(3))
    return {**trunk, **head.tensors()}


@pytest.fixture(scope="module")
def good(base: Network) -> Network:
    """A network trained on many records that no plant has: what a good server would send."""
    rng = np.random.default_rng(2)
    images = network.prepared(NET, np.concatenate([pictures(rng, label, 60) for label in range(3)]))
    labels = np.repeat(np.arange(3), 60)
    head = LinearHead(rng.normal(size=(3, DIMENSION)) / 8, np.zeros(3))
    (end,) = fine_tune(NET, base, head, images, labels, (60,), rng)
    return {**end.trunk, **end.head.tensors()}


Weights = dict[str, tuple[Network, str]]


@pytest.fixture
def weights(base: Network, good: Network) -> Weights:
    closed = {**base, "head.weight": good["head.weight"], "head.bias": good["head.bias"]}
    return {
        "sample-0": (good, "diffusion"),
        "sample-1": (closed, "diffusion"),
        "base": (base, "base"),
    }


def _apply(plant: TestPlant, weights: Weights, **changes: Any) -> ModelsManifest:
    data = plant.package(weights, architecture=NET, **changes)
    return take_package(plant.home, data).manifest


def test_a_good_network_is_kept_and_every_model_is_a_whole_network(
    make_plant: MakePlant, weights: Weights, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    manifest = _apply(plant, weights)
    assert manifest.accepted and manifest.architecture == NET
    shapes = tensor_set.tensor_shapes(NET, 3, 0)
    for entry in manifest.models:
        tensors = store.load_tensors(plant.home, manifest, entry.name)
        assert {name: value.shape for name, value in tensors.items()} == shapes
    page = plant.home.report.read_text(encoding="utf-8")
    assert NET in page
    rng = np.random.default_rng(9)
    x = np.concatenate([pictures(rng, label, 30) for label in range(3)])
    np.savez(tmp_path / "test.npz", x=x, y=np.repeat(range(3), 30), classes=np.array(LABELS))
    data = predict.load_records(tmp_path / "test.npz", LABELS)
    inputs = predict.encode_records(plant.home, manifest, data)
    found = {row.model: row for row in predict.evaluate(plant.home, manifest, inputs, data)}
    assert found[manifest.kept].accuracy > found[LOCAL].accuracy + 0.05
    rows = predict.predict(plant.home, manifest, "kept", inputs, data.names)
    right = [row.label == LABELS[label] for row, label in zip(rows, data.labels, strict=True)]
    assert np.mean(right) == pytest.approx(found[manifest.kept].accuracy)


def test_local_only_stands_on_the_public_base(
    make_plant: MakePlant, weights: Weights, base: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0})
    plant = make_plant({0: 3, 1: 3})
    manifest = _apply(plant, weights)
    tensors = store.load_tensors(plant.home, manifest, LOCAL)
    for name in network.trunk_shapes(NET):
        np.testing.assert_array_equal(tensors[name], base[name])
    assert manifest.entry(LOCAL).settings["steps"] == "0"


def test_a_delivered_trunk_is_left_alone_where_a_class_has_no_records(
    make_plant: MakePlant, weights: Weights, good: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 1: -1e6})  # training is wanted
    plant = make_plant({0: 3, 1: 3})
    manifest = _apply(plant, weights)
    tuned = store.load_tensors(plant.home, manifest, "generated-finetuned")
    for name in network.trunk_shapes(NET):
        np.testing.assert_array_equal(tuned[name], good[name])
    assert manifest.entry(LOCAL).settings["steps"] == "1"  # it cannot predict that class anyway


def test_without_labels_the_delivered_network_is_kept_as_it_came(
    make_plant: MakePlant, weights: Weights, good: Network
) -> None:
    plant = make_plant({-1: 5})
    manifest = _apply(plant, weights)
    tensors = store.load_tensors(plant.home, manifest, "kept")
    for name in good:
        np.testing.assert_array_equal(tensors[name], good[name])


def test_a_package_without_the_base_or_with_another_trunk_is_refused(
    make_plant: MakePlant, weights: Weights
) -> None:
    plant = make_plant()
    with pytest.raises(DecodeError, match="source 'base'"):
        _apply(plant, {"sample-0": weights["sample-0"]})
    wrong = {name: value for name, value in weights["base"][0].items() if "project" not in name}
    with pytest.raises(DecodeError, match="candidate sample-0"):
        _apply(plant, weights | {"sample-0": (wrong, "diffusion")})
    assert not store.all_manifests(plant.home) and not plant.home.report.exists()


@pytest.mark.parametrize(("source", "judged"), [("diffusion", False), ("kin", True)])
def test_a_network_of_the_family_is_judged_whoever_has_released(
    make_plant: MakePlant, weights: Weights, good: Network, source: str, judged: bool
) -> None:
    """Labels say only which family it is; of a network of no family they are a part."""
    plant = make_plant({0: 4, 1: 4, 2: 4})
    changes = {"own_release": "bb" * 16, "pool_releases": 0}
    found = {"network": (good, source), "base": weights["base"]}
    manifest = _apply(plant, found, **changes)
    names = {entry.name for entry in manifest.models}
    assert (GENERATED_FINETUNED in names) == judged
    assert manifest.accepted == judged


def test_exports_agree_with_the_plant_s_own_predictions_and_need_no_encoder(
    make_plant: MakePlant, weights: Weights, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    manifest = _apply(plant, weights)
    plant.home.encoder.unlink()
    images = network.prepared(NET, pictures(np.random.default_rng(5), 1, 4))
    expected = predict.logits(plant.home, manifest, "kept", images)
    model = assembly.build_model(
        NET, None, store.load_tensors(plant.home, manifest, "kept"), LABELS
    )
    files: dict[Format, Path] = {form: tmp_path / f"m{end}" for end, form in FORMATS.items()}
    for form, out in files.items():
        metadata = export_model(plant.home, manifest, "kept", form, out)
        assert metadata["pixels"] == "64" and "encoder" not in metadata
    onnx.checker.check_model(onnx.load(files["onnx"]))
    session = onnxruntime.InferenceSession(str(files["onnx"]))
    for count in (1, 4):  # the batch size is free
        (got,) = session.run(None, {"images": images[:count].astype(np.float32)})
        np.testing.assert_allclose(got, expected[:count], atol=1e-3, rtol=1e-3)
    found = {item.key: item.value for item in onnx.load(files["onnx"]).metadata_props}
    assert json.loads(found["labels"]) == list(LABELS) and found["architecture"] == NET
    for parameter in model.state_dict().values():
        parameter.zero_()
    model.load_state_dict(safetensors.torch.load_file(files["safetensors"]))
    with torch.inference_mode():
        got = model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-4)
