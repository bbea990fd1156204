"""Networks of a family in a package: how they are named, and that they stand side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.families import ARCHITECTURE, beside

from wg_common.errors import DecodeError
from wg_common.nets import family_network, network
from wg_common.nets.family_network import MEMBER_LIMIT, TrunkBeside

Tensors = dict[str, NDArray[np.float32]]
SETTINGS = {"pixels": "128"}


def _of_package(count: int = 2) -> Tensors:
    cut = len(family_network.PREFIX)
    several = (beside(3) * count)[:count]
    return {name[cut:]: value for name, value in family_network.packed(several).items()}


def _records(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(3).integers(0, 256, (count, 70, 70, 3)).astype(np.uint8))


def test_what_is_packed_is_read_again() -> None:
    sent, tensors = beside(3), _of_package()
    read = family_network.unpacked(tensors, ARCHITECTURE, 3)
    assert len(read) == len(sent)
    for one, other in zip(sent, read, strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        for name, value in one.tensors().items():
            np.testing.assert_array_equal(value, other.tensors()[name])
    assert family_network.unpacked({}, ARCHITECTURE, 3) == ()


def test_features_of_several_networks_stand_side_by_side() -> None:
    several, records = beside(3), _records(5)
    both = TrunkBeside(ARCHITECTURE, family_network.trunk_tensors(several), SETTINGS)
    found = both.features(records)
    assert found.shape == (5, both.width) == (5, 2 * network.feature_count(ARCHITECTURE))
    for part, own in zip(np.split(found, 2, axis=1), several, strict=True):
        alone = TrunkBeside(ARCHITECTURE, family_network.trunk_tensors([own]), SETTINGS)
        np.testing.assert_allclose(part, alone.features(records), atol=1e-5)


def test_each_network_is_standardised_by_the_site_s_records() -> None:
    """Darker records at a darker site have the features of before."""
    (one, _), records = beside(3), _records(40)
    dark = [(0.4 * record).astype(np.uint8) for record in records]
    seen = [
        TrunkBeside(
            ARCHITECTURE, family_network.trunk_tensors([one.at(of, SETTINGS)]), SETTINGS
        ).features(of)
        for of in (records, dark)
    ]
    plain = TrunkBeside(ARCHITECTURE, family_network.trunk_tensors([one]), SETTINGS)
    moved = np.abs(seen[1] - seen[0]).mean() / seen[0].std()
    assert moved < np.abs(plain.features(dark) - plain.features(records)).mean() / seen[0].std() / 2


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {k: v for k, v in t.items() if not k.startswith("0.")},
        lambda t: {k.replace("1.", "2.", 1): v for k, v in t.items()},
        lambda t: {k.partition(".")[2]: v for k, v in t.items()},
        lambda t: t | {"x": np.zeros(1, np.float32)},
        lambda t: t | {"00.bias": np.zeros(3, np.float32)},
        lambda t: {k: v for k, v in t.items() if k != "1.outer"},
        lambda t: t | {"1.inner": np.full((16, 33), np.inf, np.float32)},
        lambda _: _of_package(MEMBER_LIMIT + 1),
    ],
)
def test_networks_that_are_none_are_refused(change: Callable[[Tensors], Tensors]) -> None:
    with pytest.raises(DecodeError):
        family_network.unpacked(change(_of_package()), ARCHITECTURE, 3)
    assert len(family_network.unpacked(_of_package(MEMBER_LIMIT), ARCHITECTURE, 3)) == MEMBER_LIMIT
