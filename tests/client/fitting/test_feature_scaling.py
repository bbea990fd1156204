import numpy as np
import pytest

from wg_client.fitting.feature_scaling import fit_feature_scaling
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.trunk_features import scale_encoder_features

RELEASED, SCALED, WIDTH = 8, 40, 100
BLOCKS = (20, 40)


def _features(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(n, WIDTH))
    found[:, SCALED:] = found[:, SCALED:] * np.geomspace(1e-4, 1e4, WIDTH - SCALED) + 50
    return found


def _head(width: int) -> LinearHead:
    rng = np.random.default_rng(1)
    return LinearHead(rng.normal(size=(3, width)), rng.normal(size=3))


@pytest.mark.parametrize("n", [1, 2, 30, 500])
def test_a_head_turned_back_says_of_any_record_what_it_said(n: int) -> None:
    found = fit_feature_scaling(_features(n), RELEASED, SCALED, BLOCKS)
    assert found is not None
    head = _head(RELEASED + sum(found.direction_counts))
    for features in (_features(n), _features(7, seed=9)):
        expected = head.logits(found.apply(features))
        np.testing.assert_allclose(found.to_local_head(head).logits(features), expected, atol=1e-6)


def test_released_features_stay_as_they_are() -> None:
    # A delivered head knows nothing else, and what completes it neither.
    features = _features(30)
    found = fit_feature_scaling(features, RELEASED, SCALED, BLOCKS)
    assert found is not None
    np.testing.assert_array_equal(found.apply(features)[:, :RELEASED], features[:, :RELEASED])
    assert found.apply(features).shape == (30, RELEASED + 20 + 29)


def test_units_of_features_without_a_public_scale_do_not_matter() -> None:
    features = _features(30)
    moved = features.copy()
    moved[:, SCALED:] = 1000 * moved[:, SCALED:] - 3
    trunks = [scale_encoder_features(x, RELEASED, SCALED, BLOCKS) for x in (features, moved)]
    grams = [t.features @ t.features.T for t in trunks]
    np.testing.assert_allclose(grams[0], grams[1], rtol=1e-6)


def test_blocks_vary_alike_and_more_than_released_features() -> None:
    features = _features(400)
    found = fit_feature_scaling(features, RELEASED, SCALED, BLOCKS)
    assert found is not None
    varied = []
    for start, size in ((SCALED, BLOCKS[0]), (SCALED + BLOCKS[0], BLOCKS[1])):
        one = np.zeros_like(features)
        one[:, start : start + size] = features[:, start : start + size]
        varied.append(found.apply(one)[:, RELEASED:].var(axis=0).sum())
    released = features[:, :RELEASED].var(axis=0).sum()
    np.testing.assert_allclose(np.array(varied) / released, 16, rtol=0.1)


def test_directions_of_few_records_are_theirs_and_no_rounding() -> None:
    trunk = scale_encoder_features(_features(6), RELEASED, SCALED, BLOCKS)
    assert trunk.block_sizes == (5, 5)
    for block in np.split(trunk.features[:, RELEASED:], 2, axis=1):
        assert np.linalg.matrix_rank(block) == 5


def test_many_records_are_not_all_needed() -> None:
    features = _features(5000)
    few = scale_encoder_features(features, RELEASED, SCALED, BLOCKS).features
    assert few.shape == (5000, RELEASED + sum(BLOCKS))
    assert np.isfinite(few).all()


def test_features_without_blocks_are_left_alone() -> None:
    features = _features(30)[:, :SCALED].astype(np.float32)
    trunk = scale_encoder_features(features, RELEASED, SCALED, ())
    np.testing.assert_array_equal(trunk.features, features)
    head = _head(SCALED)
    assert trunk.to_local_head(head) is head
