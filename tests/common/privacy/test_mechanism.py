"""The mechanism: calibrated to the last ledger unit, and refusing what protects nothing."""

from __future__ import annotations

import numpy as np
import pytest

from wg_common.errors import PolicyRefused
from wg_common.privacy import accounting, mechanism
from wg_common.privacy.events import gaussian_event
from wg_common.privacy.schema import default_schema

SCHEMA = default_schema(encoder="ab" * 32, dimension=8, labels=("a", "b"), clip_radius=2.0)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0, 16.0])
def test_a_release_costs_at_most_what_was_asked_for(epsilon: float) -> None:
    sigma = mechanism.sigma_for(SCHEMA, epsilon, 1e-5)
    event = gaussian_event(int(SCHEMA.sensitivity_squared()), sigma)
    assert 0.9999 * epsilon < accounting.epsilon([event], 1e-5) <= epsilon


def test_noise_below_a_tenth_of_the_sensitivity_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="refused"):
        mechanism.sigma_for(SCHEMA, 200.0, 1e-5)


def test_opendp_noise_has_the_scale_that_was_asked_for() -> None:
    # 20,000 draws: the deviation of the sample's standard deviation is 0.5 %; 5 of them, 6e-7.
    noise = mechanism.release(np.zeros(20_000, dtype=np.int64), 1e9)
    assert noise.std() == pytest.approx(1e9, rel=0.025)
    assert abs(noise.mean()) < 5 * 1e9 / np.sqrt(20_000)
