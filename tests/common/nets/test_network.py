"""What holds for whole networks of every kind, and how images are prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.common.nets.random_tensors import initial_tensors

from wg_common import catalogue
from wg_common.nets import assembly, network, tensor_set
from wg_core.errors import ConfigError, DataError, DecodeError

LABELS = ("a", "b", "c")
SMALL = ("cnn-s", "cnn1d-s")


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _records(architecture: str, count: int) -> list[Any]:
    """Records of several sizes."""
    rng = _rng()
    if catalogue.known(architecture).modality == "images":
        return [rng.integers(0, 256, (40 + i, 64), dtype=np.uint8) for i in range(count)]
    return [rng.normal(size=(1 + i % 3, 40 + i)).astype(np.float32) for i in range(count)]


@pytest.mark.parametrize(
    ("architecture", "low", "high"),
    [
        ("cnn-s", 20_000, 30_000),
        ("cnn-m", 70_000, 90_000),
        ("cnn-l", 400_000, 500_000),
        ("spectrum-lines", 100_000, 115_000),
        ("cnn1d-s", 20_000, 45_000),
        ("cnn1d-m", 60_000, 100_000),
        ("lite0", 50_000, 55_000),
    ],
)
def test_sizes_are_those_of_the_registry(architecture: str, low: int, high: int) -> None:
    shapes = tensor_set.tensor_shapes(architecture, 3, 64)
    assert low < sum(int(np.prod(shape)) for shape in shapes.values()) < high


@pytest.mark.parametrize("architecture", list(catalogue.NETWORKS))
def test_tensors_survive_the_module(architecture: str) -> None:
    tensors = network.draw_trunk(architecture, _rng())
    again = network.trunk_tensors(network.load_trunk(architecture, tensors))
    assert list(again) == list(tensors) == list(network.trunk_shapes(architecture))
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("architecture", SMALL)
def test_model_is_head_on_features(architecture: str) -> None:
    tensors = initial_tensors(architecture, 3, 64, _rng())
    model = assembly.build_model(architecture, None, tensors, LABELS)
    batch = network.prepared(architecture, _records(architecture, 5))
    features = network.features(network.load_trunk(architecture, tensors), batch)
    expected = features @ tensors["head.weight"].T + tensors["head.bias"]
    with torch.inference_mode():
        found = model(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("architecture", SMALL)
def test_records_do_not_change_each_other(architecture: str) -> None:
    trunk = network.load_trunk(architecture, network.draw_trunk(architecture, _rng()))
    records = _records(architecture, 4)
    together = network.features(trunk, network.prepared(architecture, records))
    alone = network.features(trunk, network.prepared(architecture, records[:1]))
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


@pytest.mark.parametrize("architecture", SMALL)
def test_batches_of_several_shapes_run_together_in_their_order(architecture: str) -> None:
    trunk = network.load_trunk(architecture, network.draw_trunk(architecture, _rng()))
    records = _records(architecture, 4)
    parts = [network.prepared(architecture, records[start : start + 1]) for start in range(4)]
    with torch.inference_mode():
        found = network.together(trunk, parts).numpy()
    each = np.concatenate([network.features(trunk, part) for part in parts])
    np.testing.assert_allclose(found, each, atol=1e-5)


@pytest.mark.parametrize("architecture", SMALL)
def test_records_of_the_other_kind_are_refused(architecture: str) -> None:
    other = "cnn1d-s" if architecture == "cnn-s" else "cnn-s"
    with pytest.raises(DataError):
        network.prepared(architecture, _records(other, 2))


@pytest.mark.parametrize("architecture", SMALL)
def test_no_records_are_an_empty_batch(architecture: str) -> None:
    trunk = network.load_trunk(architecture, network.draw_trunk(architecture, _rng()))
    assert network.features(trunk, network.prepared(architecture, [])).shape == (0, 64)


def test_prepared_takes_images_of_any_size_and_colour() -> None:
    grey, colour = np.full((30, 50), 9, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    batch = network.prepared("cnn-s", [grey, colour])
    assert batch.shape == (2, 3, 64, 64)
    assert (batch[0] == 9).all()
    assert (batch[1] == 200).all()


@pytest.mark.parametrize("architecture", SMALL)
def test_a_missing_or_misshapen_tensor_is_named(architecture: str) -> None:
    tensors = initial_tensors(architecture, 3, 64, _rng())
    del tensors["trunk.blocks.0.conv.weight"]
    with pytest.raises(DecodeError, match=r"trunk\.blocks\.0\.conv\.weight"):
        tensor_set.check_tensors(architecture, tensors, 3, 64)


def test_a_head_needs_its_encoder() -> None:
    tensors = initial_tensors("lite0-head", 3, 64, _rng())
    with pytest.raises(ConfigError, match="encoder"):
        assembly.build_model("lite0-head", None, tensors, LABELS)


def test_the_registry_says_what_each_architecture_takes() -> None:
    found = {name: known.modality for name, known in catalogue.architectures().items()}
    assert found == {
        "lite0-head": "images",
        "window-head": "windows",
        "text-head": "texts",
        "cnn-s": "images",
        "cnn-m": "images",
        "cnn-l": "images",
        "spectrum-lines": "windows",
        "cnn1d-s": "windows",
        "cnn1d-m": "windows",
        "lite0": "images",
    }
