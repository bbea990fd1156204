"""A head of the plant's family beside what the plant learns on by itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_client.fitting.family_features import FamilyNetworkHead, append_family_logits
from wg_client.fitting.linear_head import Floats, LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures, scale_encoder_features
from wg_common.inference.family_head import FamilyHead, FeatureLayout

RELEASED = 2


def placed(trunk: TrunkFeatures, local: NDArray[np.floating]) -> Floats:
    """What a head stands on, of any records."""
    assert trunk.feature_map is not None
    return trunk.feature_map.apply(local)


@pytest.mark.parametrize("layout", [FeatureLayout(4, (6, 5)), FeatureLayout(15, ())])
def test_heads_there_say_the_same_of_local_features(layout: FeatureLayout) -> None:
    rng, size = np.random.default_rng(3), sum(layout.head_block_sizes)
    family = FamilyHead(
        reference=np.zeros((2, size)),
        records=np.array([2.0]),
        weight=rng.normal(size=(3, size)),
        bias=rng.normal(size=3),
    )
    local, more = (rng.normal(5, 3, (n, 15)).astype(np.float32) for n in (30, 7))
    own = scale_encoder_features(local, RELEASED, layout.scaled_count, layout.block_sizes)
    trunk, head = append_family_logits(family, local, layout, own, RELEASED)
    np.testing.assert_allclose(placed(trunk, local), trunk.features, atol=1e-6)
    weight, bias = family.adapt_to_site(local, layout)
    np.testing.assert_allclose(head.logits(placed(trunk, more)), more @ weight.T + bias, atol=1e-6)
    another = LinearHead(rng.normal(size=(2, trunk.features.shape[1])), rng.normal(size=2))
    outward = trunk.to_local_head(another)
    assert outward.weight.shape == (2, 15)
    expected = another.logits(placed(trunk, more))
    np.testing.assert_allclose(outward.logits(more.astype(np.float64)), expected, atol=1e-6)
    beside = trunk.features[:, -3:].var(axis=0).sum()
    assert beside == pytest.approx(local[:, :RELEASED].var(axis=0).sum(), rel=1e-4)


def test_logits_of_a_network_beside_the_encoder_count_as_much_as_those_of_the_head() -> None:
    rng, layout = np.random.default_rng(5), FeatureLayout(4, (6, 5))
    family, unlike = (
        FamilyHead(
            reference=np.zeros((2, size)),
            records=np.array([2.0]),
            weight=rng.normal(size=(3, size)),
            bias=rng.normal(size=3),
        )
        for size in (11, 8)
    )
    local, network_features = (
        rng.normal(5, 3, (30, width)).astype(np.float32) for width in (15, 8)
    )
    new_features, columns = rng.normal(5, 3, (7, 23)), np.hstack([local, network_features])
    own = scale_encoder_features(local, RELEASED, layout.scaled_count, layout.block_sizes)
    trunk, head = append_family_logits(
        family, local, layout, own, RELEASED, FamilyNetworkHead(unlike, network_features)
    )
    np.testing.assert_allclose(placed(trunk, columns), trunk.features, atol=1e-6)
    first = LinearHead(*family.adapt_to_site(local, layout)).logits(new_features[:, :15])
    mean = (
        first
        + LinearHead(*unlike.adapt_to_site(network_features, FeatureLayout(8, ()))).logits(
            new_features[:, 15:]
        )
    ) / 2
    np.testing.assert_allclose(head.logits(placed(trunk, new_features)), mean, atol=1e-6)
    outward = trunk.to_local_head(head)
    assert outward.weight.shape == (3, 23)
    np.testing.assert_allclose(outward.logits(new_features), mean, atol=1e-6)
    released = local[:, :RELEASED].var(axis=0).sum()
    for logits in np.split(trunk.features[:, -6:], 2, axis=1):
        assert logits.var(axis=0).sum() == pytest.approx(released, rel=1e-4)
