"""What holds for all networks, and how images are prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.common.nets.random_tensors import draw_trunk, initial_tensors

from wg_common import catalogue
from wg_common.nets import network, tensor_set
from wg_core.errors import DecodeError

NET = "lite0-low"


def _rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _records(count: int) -> list[Any]:
    """Records of several sizes."""
    rng = _rng()
    return [rng.integers(0, 256, (40 + i, 64), dtype=np.uint8) for i in range(count)]


@pytest.mark.parametrize(
    "architecture", list(catalogue.PACKAGE_NETWORKS | catalogue.FAMILY_NETWORKS)
)
def test_tensors_survive_the_module(architecture: str) -> None:
    tensors = draw_trunk(architecture, _rng())
    again = network.trunk_tensors(network.load_trunk(architecture, tensors))
    assert list(again) == list(tensors) == list(network.trunk_shapes(architecture))
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)


def test_records_do_not_change_each_other() -> None:
    trunk = network.load_trunk(NET, draw_trunk(NET, _rng()))
    records = _records(4)
    together = network.compute_trunk_features(trunk, network.prepare_batch(NET, records))
    alone = network.compute_trunk_features(trunk, network.prepare_batch(NET, records[:1]))
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_no_records_are_an_empty_batch() -> None:
    trunk = network.load_trunk(NET, draw_trunk(NET, _rng()))
    features = network.compute_trunk_features(trunk, network.prepare_batch(NET, []))
    assert features.shape == (0, network.feature_count(NET))


def test_prepared_takes_images_of_any_size_and_colour() -> None:
    grey, colour = np.full((30, 50), 9, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    batch = network.prepare_batch(NET, [grey, colour])
    assert batch.shape == (2, 3, 64, 64)
    assert (batch[0] == 9).all()
    assert (batch[1] == 200).all()


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    tensors = initial_tensors("spectrum-lines", 3, 64, _rng())
    del tensors["trunk.second.bias"]
    with pytest.raises(DecodeError, match=r"trunk\.second\.bias"):
        tensor_set.check_tensors("spectrum-lines", tensors, 3, 64)


def test_trunks_of_records_give_features_of_any_number_of_them_side_by_side() -> None:
    tensors = [draw_trunk("spectrum-lines", np.random.default_rng(seed)) for seed in (1, 2)]
    trunk = network.NetworkTrunks("spectrum-lines", tensors)
    windows = [_rng().normal(size=(2, 900 + 100 * i)) for i in range(70)]
    found = trunk.features(iter(windows))
    assert found.shape == (70, trunk.width) and trunk.features([]).shape == (0, trunk.width)
    batch = network.prepare_batch("spectrum-lines", windows)
    each = [
        network.compute_trunk_features(network.load_trunk("spectrum-lines", part), batch)
        for part in tensors
    ]
    np.testing.assert_allclose(found, np.hstack(each), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 11])
def test_trunks_are_read_as_they_are_named(count: int) -> None:
    trunks = [{"trunk.a": np.full(1, number, np.float32)} for number in range(count)]
    named = network.number_trunk_tensors(trunks)
    assert len(named) == count
    assert network.split_by_trunk(named) == trunks


def test_inputs_of_a_network_that_has_no_way_to_standardise_them_are_refused() -> None:
    tensors = {"trunk.a": np.zeros(1, np.float32)}
    batch = np.zeros((1, 3, 64, 64), np.float32)
    assert network.adapt_trunk("lite0-low", tensors, "raw", batch) == tensors
    with pytest.raises(DecodeError, match="lite0-low: its inputs are not standardised"):
        network.adapt_trunk("lite0-low", tensors, "standardised", batch)
