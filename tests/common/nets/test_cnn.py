from __future__ import annotations

import numpy as np
import pytest
import torch

from wg_common.errors import ConfigError, DecodeError
from wg_common.nets import cnn, registry

LABELS = ("a", "b", "c")


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("architecture", "low", "high"),
    [("cnn-s", 20_000, 30_000), ("cnn-m", 70_000, 90_000), ("cnn-l", 400_000, 500_000)],
)
def test_sizes_are_those_of_the_registry(architecture: str, low: int, high: int) -> None:
    shapes = registry.tensor_shapes(architecture, 3, 64)
    assert low < sum(int(np.prod(shape)) for shape in shapes.values()) < high


@pytest.mark.parametrize("architecture", cnn.WIDTHS)
def test_tensors_survive_the_module(architecture: str) -> None:
    tensors = cnn.draw_trunk(architecture, _rng())
    again = cnn.trunk_tensors(cnn.load_trunk(architecture, tensors))
    assert list(again) == list(tensors) == list(cnn.trunk_shapes(architecture))
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)


def test_model_is_head_on_features() -> None:
    tensors = registry.initial_tensors("cnn-s", 3, 64, _rng())
    model = registry.build_model("cnn-s", None, tensors, LABELS)
    images = _rng().integers(0, 256, (5, 3, 64, 64)).astype(np.uint8)
    features = cnn.features(cnn.load_trunk("cnn-s", tensors), images)
    expected = features @ tensors["head.weight"].T + tensors["head.bias"]
    with torch.inference_mode():
        found = model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_records_do_not_change_each_other() -> None:
    trunk = cnn.load_trunk("cnn-s", cnn.draw_trunk("cnn-s", _rng()))
    images = _rng().integers(0, 256, (4, 3, 64, 64)).astype(np.uint8)
    together = cnn.features(trunk, images)
    np.testing.assert_allclose(together[:1], cnn.features(trunk, images[:1]), atol=1e-5)


def test_prepared_takes_any_size_and_colour() -> None:
    grey, colour = np.full((30, 50), 9, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    batch = cnn.prepared([grey, colour])
    assert batch.shape == (2, 3, 64, 64)
    assert (batch[0] == 9).all()
    assert (batch[1] == 200).all()


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    tensors = registry.initial_tensors("cnn-s", 3, 64, _rng())
    del tensors["trunk.blocks.0.conv.weight"]
    with pytest.raises(DecodeError, match=r"trunk\.blocks\.0\.conv\.weight"):
        registry.check_tensors("cnn-s", tensors, 3, 64)


def test_a_head_needs_its_encoder() -> None:
    tensors = registry.initial_tensors("lite0-head", 3, 64, _rng())
    with pytest.raises(ConfigError, match="encoder"):
        registry.build_model("lite0-head", None, tensors, LABELS)
