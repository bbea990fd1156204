"""What was delivered gives way to a model that is no better at the stated rate at most."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wg_client.fitting.network_replacement import (
    REPLACEMENT_RISK,
    choose_network_index,
    clustered_standard_error,
    required_standard_errors,
)

UNITS, RECORDS = 8, 5


def _losses(rng: np.random.Generator, models: int) -> np.ndarray:
    """Log losses of models that are equally good, alike within units."""
    by_unit = rng.normal(size=(models, UNITS)).repeat(RECORDS, axis=1)
    return by_unit + 0.3 * rng.normal(size=(models, UNITS * RECORDS))


@pytest.mark.parametrize("models", [2, 5, 17])
def test_models_that_are_no_better_seldom_replace_the_delivered_one(models: int) -> None:
    rng = np.random.default_rng(1)
    groups = np.arange(UNITS).repeat(RECORDS)
    taken = sum(choose_network_index(_losses(rng, models), groups) > 0 for _ in range(1000))
    # Beyond 1.5 times the rate of 50 with a probability below 1e-3, were it met exactly
    assert taken <= 1.5 * REPLACEMENT_RISK * 1000


def test_a_model_that_is_better_on_every_unit_replaces_the_delivered_one() -> None:
    groups = np.arange(UNITS).repeat(RECORDS)
    losses = _losses(np.random.default_rng(2), 3)
    losses[2] = losses[0] - 1 - 0.1 * np.random.default_rng(3).random(losses.shape[1])
    assert choose_network_index(losses, groups) == 2


def test_records_of_one_unit_replace_nothing_however_many_they_are() -> None:
    losses = np.stack([np.ones(500), np.zeros(500)])
    assert choose_network_index(losses, np.zeros(500, dtype=np.int64)) == 0
    assert required_standard_errors(1, 1) == math.inf
    assert clustered_standard_error(np.arange(3.0), np.zeros(3, dtype=np.int64)) == math.inf


def test_a_model_alone_stays() -> None:
    assert choose_network_index(np.ones((1, 4)), np.arange(4)) == 0
