"""The network of a family in a package: how it is named, and what a plant makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.families import ARCHITECTURE, beside

from wg_common.nets import family_network, network
from wg_common.nets.family_network import FamilyNetwork, FamilyTrunk
from wg_core.errors import DecodeError

Tensors = dict[str, NDArray[np.float32]]
SETTINGS = {"pixels": "128"}


def _of_package() -> Tensors:
    return _without_prefix(family_network.pack_network(beside(3)))


def _without_prefix(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(family_network.TENSOR_PREFIX): value for name, value in tensors.items()
    }


def _records(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(3).integers(0, 256, (count, 70, 70, 3)).astype(np.uint8))


def test_what_is_packed_is_read_again() -> None:
    sent, tensors = beside(3), _of_package()
    read = family_network.unpack_network(tensors, ARCHITECTURE, 3)
    assert read is not None and read.architecture == ARCHITECTURE
    assert sent.tensors().keys() == read.tensors().keys()
    for name, value in sent.tensors().items():
        np.testing.assert_array_equal(value, read.tensors()[name])
    assert family_network.unpack_network({}, ARCHITECTURE, 3) is None
    assert family_network.unpack_network({}, "", 3) is None


def test_in_half_precision_a_network_takes_half_the_bytes() -> None:
    sent = beside(3)
    half, whole = family_network.pack_half_precision(sent), family_network.pack_network(sent)
    assert half.keys() == whole.keys()
    assert sum(v.nbytes for v in half.values()) < 0.51 * sum(v.nbytes for v in whole.values())
    read = family_network.unpack_network(_without_prefix(half), ARCHITECTURE, 3)
    assert read is not None
    for name, value in sent.tensors().items():
        np.testing.assert_allclose(value, read.tensors()[name], rtol=6e-4, atol=4e-8)


def test_what_half_precision_has_no_number_for_stays_as_it_is() -> None:
    """Nothing becomes infinite."""
    sent = beside(3)
    name = next(iter(sent.trunk_tensors))
    large = {**sent.trunk_tensors, name: np.full_like(sent.trunk_tensors[name], 65505 * 1.01)}
    tensors = family_network.pack_half_precision(dataclasses.replace(sent, trunk_tensors=large))
    trunk = tensors[f"{family_network.TENSOR_PREFIX}{ARCHITECTURE}.{name}"]
    assert trunk.dtype == np.float32
    np.testing.assert_array_equal(trunk, large[name])


def _module(sent: FamilyNetwork) -> FamilyTrunk:
    return FamilyTrunk(sent.architecture, sent.trunk_tensors, SETTINGS)


def test_a_stored_trunk_gives_the_features_of_before_and_no_other_is_read() -> None:
    sent, records = beside(3), _records(5)
    stored = {f"{ARCHITECTURE}.{name}": value for name, value in sent.trunk_tensors.items()}
    again = family_network.rebuild_stored_trunk(ARCHITECTURE, stored, SETTINGS)
    expected = _module(sent).features(records)
    assert expected.shape == (5, network.feature_count(ARCHITECTURE))
    np.testing.assert_array_equal(again.features(records), expected)
    with pytest.raises(DecodeError, match="expected another"):
        family_network.rebuild_stored_trunk("another", stored, SETTINGS)


def test_the_network_is_standardised_by_the_site_s_records() -> None:
    """Darker records at a darker site have the features of before."""
    sent, records = beside(3), _records(40)
    dark = [(0.4 * record).astype(np.uint8) for record in records]
    seen = [_module(sent.adapt_to_site(site, SETTINGS)).features(site) for site in (records, dark)]
    plain = _module(sent)
    moved = np.abs(seen[1] - seen[0]).mean() / seen[0].std()
    before = np.abs(plain.features(dark) - plain.features(records)).mean()
    assert moved < before / plain.features(records).std() / 2


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {k.replace(ARCHITECTURE, "lite0-lower"): v for k, v in t.items()},
        lambda t: {k.replace(ARCHITECTURE, "lite0"): v for k, v in t.items()},
        lambda t: {k.partition(".")[2]: v for k, v in t.items()},
        lambda t: {f"0.{k}": v for k, v in t.items()},
        lambda t: t | {"x": np.zeros(1, np.float32)},
        lambda t: t | {f"{ARCHITECTURE}.trunk.more": np.zeros(1, np.float32)},
        lambda t: {k: v for k, v in t.items() if k != f"{ARCHITECTURE}.norms"},
        lambda t: t | {f"{ARCHITECTURE}.inner": np.full((8, 65), np.inf, np.float32)},
    ],
)
def test_a_network_that_is_none_is_refused(change: Callable[[Tensors], Tensors]) -> None:
    with pytest.raises(DecodeError):
        family_network.unpack_network(change(_of_package()), ARCHITECTURE, 3)


def test_where_records_have_no_networks_none_is_read() -> None:
    with pytest.raises(DecodeError, match="expected none"):
        family_network.unpack_network(_of_package(), "", 3)
