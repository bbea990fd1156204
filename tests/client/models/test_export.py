"""Exported files say what the model says: images in, logits out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures
from tests.client.families import beside, family_head
from torch.nn.functional import interpolate

from wg_client.methods.method_names import HANDED_ON, LOCAL_ONLY
from wg_client.models import adoption, predict, store
from wg_client.models.export import export_model
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.nets import family_network
from wg_common.nets.assembly import build_head_model
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.errors import VerificationError


def _images(count: int) -> Any:
    gray = np.concatenate([pictures(np.random.default_rng(5), label, count) for label in range(3)])
    large = np.kron(gray, np.ones((1, 2, 2), np.uint8))
    return np.repeat(large[:, None], 3, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [HANDED_ON, LOCAL_ONLY])
def test_onnx_agrees_with_the_plant_s_own_predictions(
    make_plant: MakePlant, encoder_package: bytes, tmp_path: Path, name: str
) -> None:
    """With a network beside the encoder; local-only does without it."""
    plant = make_plant({0: 4, 1: 4, 2: 4})
    both = family_head(encoder_package, 3) | family_network.pack_network(beside(3))
    manifest = apply_and_adopt_package(
        plant.home, plant.package({"kin": (both, SAME_FAMILY_SOURCE)})
    ).manifest
    out = tmp_path / "model.onnx"
    export_model(plant.home, manifest, name, "onnx", out)
    program = onnx.load(out)
    onnx.checker.check_model(program)
    session = onnxruntime.InferenceSession(str(out))
    for count in (1, 4):  # the batch size is free
        images = _images(count)
        np.savez(tmp_path / "new.npz", x=images.transpose(0, 2, 3, 1).astype(np.uint8))
        data = predict.load_records(tmp_path / "new.npz", LABELS)
        features = predict.compute_model_inputs(plant.home, manifest, data)
        expected = predict.model_logits(plant.home, manifest, name, features)
        (logits,) = session.run(["logits"], {"images": images.astype(np.float32)})
        np.testing.assert_allclose(logits, expected, atol=1e-3, rtol=1e-3)
        assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()
    metadata = {item.key: item.value for item in program.metadata_props}
    assert json.loads(metadata["labels"]) == list(LABELS)


@pytest.mark.slow
def test_a_program_that_resizes_as_the_metadata_say_gets_the_plants_logits(
    plant: TestPlant, tmp_path: Path
) -> None:
    manifest, name = adoption.model_in_use(plant.home)
    out = tmp_path / "model.onnx"
    metadata = export_model(plant.home, manifest, name, "onnx", out)
    side = int(metadata["pixels"])
    assert "bicubic" in metadata["resize"] and "clamped to 0..255" in metadata["resize"]
    gray = np.random.default_rng(5).integers(0, 2, (2, 3 * side, 2 * side), np.uint8) * 255
    np.savez(tmp_path / "new.npz", x=gray)
    data = predict.load_records(tmp_path / "new.npz", LABELS)
    features = predict.compute_model_inputs(plant.home, manifest, data)
    batch = torch.from_numpy(gray[:, None]).float().repeat(1, 3, 1, 1)
    batch = interpolate(batch, size=(side, side), mode="bicubic", antialias=True).clamp(0, 255)
    (logits,) = onnxruntime.InferenceSession(str(out)).run(["logits"], {"images": batch.numpy()})
    expected = predict.model_logits(plant.home, manifest, name, features)
    np.testing.assert_allclose(logits, expected, atol=1e-3, rtol=1e-3)


def test_safetensors_hold_the_whole_network(plant: TestPlant, tmp_path: Path) -> None:
    manifest, name = adoption.model_in_use(plant.home)
    encoder = load_encoder(plant.home.encoder.read_bytes())
    tensors = store.load_model_tensors(plant.home, manifest, name)
    model = build_head_model("lite0-head", encoder, tensors, LABELS)
    images = torch.from_numpy(_images(2))
    with torch.inference_mode():
        expected = model(images)
    out = tmp_path / "model.safetensors"
    export_model(plant.home, manifest, name, "safetensors", out)
    for parameter in model.state_dict().values():
        parameter.zero_()
    model.load_state_dict(safetensors.torch.load_file(out))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), expected)


def test_another_encoder_is_refused(plant: TestPlant, tmp_path: Path) -> None:
    manifest, name = adoption.model_in_use(plant.home)
    plant.confirm(plant.home.encoder.read_bytes() + b" ")
    with pytest.raises(VerificationError, match="encoder"):
        export_model(plant.home, manifest, name, "onnx", tmp_path / "x.onnx")
    data = predict.load_records(Path(plant.config.data.path), LABELS)
    with pytest.raises(VerificationError, match="encoder"):
        predict.compute_model_inputs(plant.home, manifest, data)
