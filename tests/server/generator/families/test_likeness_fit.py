"""The test of a plant's records against a family's: its rate, what it catches, what it cannot."""

import numpy as np
import pytest
from tests.client.families import likeness as constant

from wg_common.inference import family_likeness as tests
from wg_common.inference.family_likeness import (
    FEWEST_TESTED_RECORDS,
    REFUSED_SHARE,
    description_size,
    likeness_test_from_tensors,
    site_description,
)
from wg_core.errors import DecodeError
from wg_server.generator.families import likeness_fit

D, RECORDS = 6, 30


def _sites(family: int, count: int, seed: int, records: int = RECORDS) -> list[np.ndarray]:
    """Sites of a family, each moved and scaled by a camera of its own."""
    mixing = np.random.default_rng(family).normal(size=(D, D))
    rng = np.random.default_rng((family, seed))
    sites = []
    for _ in range(count):
        x = rng.normal(size=(records, D)) @ mixing
        sites.append(x * rng.uniform(0.5, 2, D) + rng.normal(size=D))
    return sites


@pytest.fixture(scope="module")
def fitted() -> likeness_fit.FittedLikeness:
    own = {f"family-{family}": _sites(family, 200, seed=0) for family in range(4)}
    return likeness_fit.fit_likeness_test(
        "family-1", own, [s for f in range(10, 40) for s in _sites(f, 2, seed=0)]
    )


def test_the_family_is_refused_at_the_stated_rate(fitted: likeness_fit.FittedLikeness) -> None:
    """More than 8 % of 500 new sites have a chance of 1e-6 at this rate."""
    refused = [
        fitted.test.unlikeness(site) > tests.UNLIKENESS_THRESHOLD for site in _sites(1, 500, seed=1)
    ]
    assert np.mean(refused) < 0.08
    assert fitted.own_refusal_rate == pytest.approx(REFUSED_SHARE, abs=0.01)


def test_families_that_nobody_has_seen_are_caught(fitted: likeness_fit.FittedLikeness) -> None:
    unseen_sites = [site for family in range(50, 60) for site in _sites(family, 20, seed=2)]
    caught = np.mean(
        [fitted.test.unlikeness(site) > tests.UNLIKENESS_THRESHOLD for site in unseen_sites]
    )
    assert caught > 0.8
    assert 0.8 < fitted.other_refusal_rate <= 1


def test_a_few_records_are_judged_by_a_wider_limit_and_fewer_by_none(
    fitted: likeness_fit.FittedLikeness,
) -> None:
    few = [
        fitted.test.unlikeness(s) > tests.UNLIKENESS_THRESHOLD
        for s in _sites(1, 500, 3, records=FEWEST_TESTED_RECORDS)
    ]
    assert np.mean(few) < 0.08
    assert fitted.test.unlikeness(_sites(50, 1, 4, records=FEWEST_TESTED_RECORDS - 1)[0]) == 0


def test_what_describes_a_site_does_not_depend_on_the_order_of_records() -> None:
    (site,) = _sites(1, 1, seed=5)
    np.testing.assert_allclose(site_description(site), site_description(site[::-1]), atol=1e-12)
    assert len(site_description(site)) == description_size(D)
    assert description_size(64) == description_size(500) == 2144


def test_tensors_go_around_and_wrong_ones_are_refused() -> None:
    tensors = {
        n.removeprefix(tests.TENSOR_PREFIX): v for n, v in constant(D, 0.5).tensors().items()
    }
    assert likeness_test_from_tensors(tensors, D).unlikeness(np.zeros((40, D))) == 0.5
    for wrong in ({"bias": np.full(1, np.nan)}, {"width": np.full(1, 2.0)}, {"more": np.ones(1)}):
        with pytest.raises(DecodeError, match="likeness"):
            likeness_test_from_tensors({**tensors, **wrong}, D)
