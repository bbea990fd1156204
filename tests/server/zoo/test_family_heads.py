"""Heads of the operator's families: fitted on own records at made-up sites."""

from __future__ import annotations

import numpy as np
import pytest

from wg_common.errors import ConfigError
from wg_common.inference.family_head import Layout
from wg_common.settings import parse
from wg_server.zoo.family_heads import Sites, fit
from wg_server.zoo.plan import ZooPlan

LAYOUT = Layout(3, (8, 6))


def _sites(count: int, seed: int = 0) -> Sites:
    """Three classes; each site has gains and offsets of its own on every feature."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).normal(0, 2, (3, 17))
    labels = np.tile(np.repeat(np.arange(3), 8), (count, 1))
    local = means[labels] + rng.normal(size=(count, 24, 17))
    local = local * np.exp(rng.normal(0, 0.5, (count, 1, 17))) + rng.normal(0, 6, (count, 1, 17))
    return Sites(local.astype(np.float32), labels)


def test_standardised_features_are_worth_their_while_at_held_out_sites() -> None:
    head, figures = fit(_sites(20), 3, LAYOUT)
    assert figures.standardised > 0.9 > figures.alike
    assert head.weight.shape == (3, 14)
    assert 0 < head.records[0] < 1  # sites differ by more than records do
    again, _ = fit(_sites(20), 3, LAYOUT)
    np.testing.assert_array_equal(again.weight, head.weight)


def test_too_few_made_up_sites_are_refused() -> None:
    plan = "seed: 1\nown_sites: 9\nsources: [{kind: procedural, families: 1}]\n"
    with pytest.raises(ConfigError, match="own_sites: 9, expected 10"):
        parse(plan.encode(), ZooPlan, "plan")
