"""Heads of the operator's families: fitted on own records at made-up sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_core.errors import ConfigError
from wg_core.yaml_settings import parse_yaml
from wg_server.zoo.family_heads import (
    SimulatedSites,
    SiteRecords,
    evaluate_head_at_sites,
    fit_family_head,
)
from wg_server.zoo.plan import ZooPlan

LAYOUT = FeatureLayout(3, (8, 6))


def _sites(count: int, seed: int = 0) -> SimulatedSites:
    """Three classes; each site has gains and offsets of its own on every feature."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(9).normal(0, 2, (3, 17))
    labels = np.tile(np.repeat(np.arange(3), 8), (count, 1))
    local = means[labels] + rng.normal(size=(count, 24, 17))
    local = local * np.exp(rng.normal(0, 0.5, (count, 1, 17))) + rng.normal(0, 6, (count, 1, 17))
    return SimulatedSites(list(local.astype(np.float32)), list(labels))


def _fit(_: Sequence[int], sites: SimulatedSites) -> FamilyHead:
    return fit_family_head(sites, 3, LAYOUT)


def _fit_two(_: Sequence[int], sites: SimulatedSites) -> FamilyHead:
    return fit_family_head(sites, 2, LAYOUT)


def test_standardised_features_are_worth_their_while_at_held_out_sites() -> None:
    sites = _sites(20)
    head = fit_family_head(sites, 3, LAYOUT)
    held = np.arange(24) % 5 == np.full((20, 1), 4)
    shown = SiteRecords(np.tile(np.arange(24), (20, 1)), held)
    assert evaluate_head_at_sites(sites, shown, LAYOUT, _fit)[0] > 0.9
    alike = replace(head, records=np.array([np.inf]))  # no site's own records count
    weight, bias = alike.adapt_to_site(sites.local_features[0], LAYOUT)
    assert (
        (sites.local_features[0] @ weight.T + bias).argmax(axis=1) == sites.labels[0]
    ).mean() < 0.9
    assert head.weight.shape == (3, 14)
    assert 0 < head.records[0] < 1  # sites differ by more than records do
    again = fit_family_head(_sites(20), 3, LAYOUT)
    np.testing.assert_array_equal(again.weight, head.weight)


def test_too_few_made_up_sites_are_refused() -> None:
    plan = "seed: 1\nown_sites: 9\nsources: [{kind: procedural, families: 1}]\n"
    with pytest.raises(ConfigError, match="own_sites: 9, expected 10"):
        parse_yaml(plan.encode(), ZooPlan, "plan")


def test_figures_are_of_records_that_no_fit_has_seen() -> None:
    """Where features say only which record it is, a head is right by heart, and no more."""
    rng = np.random.default_rng(4)
    records = rng.normal(size=(30, 17)).astype(np.float32)
    labels = np.arange(30) % 2
    rows = np.stack([rng.permutation(30)[:20] for _ in range(30)])
    sites = SimulatedSites(list(records[rows]), list(labels[rows]))
    held = rows % 10 < 2
    none = np.zeros_like(held)
    none[4::5] = True  # judged are all records of held-out sites; the fit has seen them elsewhere
    assert evaluate_head_at_sites(sites, SiteRecords(rows, none), LAYOUT, _fit_two)[0] > 0.75
    accuracy, found = evaluate_head_at_sites(sites, SiteRecords(rows, held), LAYOUT, _fit_two)
    assert accuracy < 0.7
    assert found.roc_area - found.standard_error > 0.5  # what is known by heart is found
