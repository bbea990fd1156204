"""Networks of a family in a package: how they are named, and that they stand side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.families import ARCHITECTURES, beside

from wg_common.nets import family_network, network
from wg_common.nets.family_network import FamilyNetwork, TrunkBeside
from wg_core.errors import DecodeError

Tensors = dict[str, NDArray[np.float32]]
SETTINGS = {"pixels": "128"}


ONE, OTHER = ARCHITECTURES


def _of_package() -> Tensors:
    return _without_prefix(family_network.packed(beside(3)))


def _without_prefix(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(family_network.PREFIX): value for name, value in tensors.items()}


def _records(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(3).integers(0, 256, (count, 70, 70, 3)).astype(np.uint8))


def test_what_is_packed_is_read_again() -> None:
    sent, tensors = beside(3), _of_package()
    read = family_network.unpacked(tensors, ARCHITECTURES, 3)
    assert [each.architecture for each in read] == list(ARCHITECTURES)
    for one, other in zip(sent, read, strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        for name, value in one.tensors().items():
            np.testing.assert_array_equal(value, other.tensors()[name])
    assert family_network.unpacked({}, ARCHITECTURES, 3) == ()
    assert family_network.unpacked({}, (), 3) == ()


def test_in_half_precision_networks_take_half_the_bytes() -> None:
    sent = beside(3)
    half, whole = family_network.in_half(sent), family_network.packed(sent)
    assert half.keys() == whole.keys()
    assert sum(v.nbytes for v in half.values()) < 0.51 * sum(v.nbytes for v in whole.values())
    read = family_network.unpacked(_without_prefix(half), ARCHITECTURES, 3)
    for one, other in zip(sent, read, strict=True):
        for name, value in one.tensors().items():
            np.testing.assert_allclose(value, other.tensors()[name], rtol=6e-4, atol=4e-8)


def test_what_half_precision_has_no_number_for_stays_as_it_is() -> None:
    """Nothing becomes infinite."""
    one = beside(3)[0]
    name = next(iter(one.trunk))
    large = {**one.trunk, name: np.full_like(one.trunk[name], 65505 * 1.01)}
    found = family_network.in_half([dataclasses.replace(one, trunk=large)])
    kept = found[f"{family_network.PREFIX}{ONE}.{name}"]
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, large[name])


def _module(*several: FamilyNetwork) -> TrunkBeside:
    return TrunkBeside(ARCHITECTURES, family_network.trunk_tensors(several), SETTINGS)


def test_features_of_several_networks_stand_side_by_side() -> None:
    several, records = beside(3), _records(5)
    both = _module(*several)
    found = both.features(records)
    assert both.widths == [network.feature_count(name) for name in ARCHITECTURES]
    assert found.shape == (5, both.width)
    parts = np.split(found, np.cumsum(both.widths)[:-1], axis=1)
    for part, own in zip(parts, several, strict=True):
        np.testing.assert_allclose(part, _module(own).features(records), atol=1e-5)


@pytest.mark.parametrize("of", range(len(ARCHITECTURES)))
def test_each_network_is_standardised_by_the_site_s_records(of: int) -> None:
    """Darker records at a darker site have the features of before."""
    one, records = beside(3)[of], _records(40)
    dark = [(0.4 * record).astype(np.uint8) for record in records]
    seen = [_module(one.at(site, SETTINGS)).features(site) for site in (records, dark)]
    plain = _module(one)
    moved = np.abs(seen[1] - seen[0]).mean() / seen[0].std()
    before = np.abs(plain.features(dark) - plain.features(records)).mean()
    assert moved < before / plain.features(records).std() / 2


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {k.replace(ONE, "cnn-x"): v for k, v in t.items()},
        lambda t: {k.replace(ONE, "lite0"): v for k, v in t.items()},
        lambda t: {k.partition(".")[2]: v for k, v in t.items()},
        lambda t: {f"0.{k}": v for k, v in t.items()},
        lambda t: t | {"x": np.zeros(1, np.float32)},
        lambda t: t | {f"{ONE}.trunk.more": np.zeros(1, np.float32)},
        lambda t: {k: v for k, v in t.items() if k != f"{OTHER}.norms"},
        lambda t: t | {f"{ONE}.inner": np.full((16, 33), np.inf, np.float32)},
    ],
)
def test_networks_that_are_none_are_refused(change: Callable[[Tensors], Tensors]) -> None:
    with pytest.raises(DecodeError):
        family_network.unpacked(change(_of_package()), ARCHITECTURES, 3)


def test_a_network_alone_is_read_too() -> None:
    alone = {k: v for k, v in _of_package().items() if k.startswith(OTHER)}
    (read,) = family_network.unpacked(alone, ARCHITECTURES, 3)
    assert read.architecture == OTHER
