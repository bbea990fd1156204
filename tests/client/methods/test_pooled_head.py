"""What other sites know of classes: trained on where there are labels, as it is without any."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import MakePlant
from tests.client.posteriors import posterior, posterior_of_means
from tests.client.selected import Named, selected

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.base import PlantRecords, PreparedPackage
from wg_client.methods.method_names import (
    GENERATED,
    HANDED_ON,
    LOCAL_ONLY,
    POOLED,
    POOLED_FINETUNED,
)
from wg_client.models.store import load_model_tensors
from wg_client.selection import apply as applying
from wg_client.selection.delivery import apply_and_adopt_package
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.inference.posterior import Posterior
from wg_core.errors import DecodeError

K, D = 5, 16


def _means(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(K, D)) * 0.9


def _draw(means: Floats, counts: list[int], seed: int) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), counts)
    return means[y] + rng.normal(size=(len(y), D)), y


def _select(
    x: Floats, y: Ints, posterior: Posterior, named: list[Named] | None = None
) -> SelectionOutcome:
    return selected(x, y, named or [], K, posterior=posterior)


def _accuracy(head: LinearHead, means: Floats) -> float:
    x, y = _draw(means, [200] * K, 77)
    return float((head.logits(x).argmax(axis=1) == y).mean())


def test_where_nothing_is_known_of_the_classes_nothing_is_judged() -> None:
    means = _means(1)
    x, y = _draw(means, [3] * K, 2)
    by_names = posterior_of_means(means, 20.0)
    nothing = dataclasses.replace(by_names, weighted=0 * by_names.weighted)
    outcome = selected(x, y, [], K, posterior=nothing, other_sites_released=False)
    assert outcome.kept_name == LOCAL_ONLY and not outcome.comparisons
    assert "No other site has released" in outcome.reason
    outcome = selected(x, y, [], K, posterior=by_names, other_sites_released=False)
    assert outcome.kept_name == POOLED_FINETUNED


def test_a_wrong_prior_does_no_harm() -> None:
    differences = []
    for seed in range(4):
        means = _means(seed)
        x, y = _draw(means, [8] * K, 10 + seed)
        outcome = _select(x, y, posterior_of_means(_means(50 + seed), 20.0))
        kept = outcome.models[outcome.kept_name].head
        differences.append(
            _accuracy(kept, means) - _accuracy(outcome.models[LOCAL_ONLY].head, means)
        )
    assert np.mean(differences) > -0.01


def test_what_is_trained_on_beside_others_classes_knows_a_class_never_seen() -> None:
    means = _means(3)
    x, y = _draw(means + 2.0, [8, 8, 8, 8, 0], 4)
    outcome = _select(x, y, posterior_of_means(means, 20.0))
    assert outcome.kept_name == POOLED_FINETUNED
    assert outcome.comparisons[POOLED_FINETUNED].gain.unseen_recall > 0.5
    head = outcome.models[POOLED_FINETUNED].head
    assert (
        _accuracy(head, means + 2.0) > _accuracy(outcome.models[LOCAL_ONLY].head, means + 2.0) + 0.1
    )
    tx, ty = _draw(means + 2.0, [0, 0, 0, 0, 200], 5)
    assert (head.logits(tx).argmax(axis=1) == ty).mean() > 0.5


def test_a_mean_aligned_head_does_not_vouch_for_itself_by_its_one_seen_class() -> None:
    """Sisters who call good bad: a head around the good records would know them by that alone."""
    means = _means(3)[:2]
    rng = np.random.default_rng(4)
    x = means[0] + rng.normal(size=(20, D))
    y = np.zeros(20, dtype=np.int64)
    recalls = []
    for said in (means, means[::-1]):
        deviations = said - means.mean(axis=0)
        precision = np.tile(np.diag([5.0, 21.0, 21.0]), (D, 1, 1))
        centre = 5.0 * means.mean(axis=0)[:, None]
        weighted = np.concatenate([centre, 20.0 * deviations.T], axis=1)
        known = posterior(precision, weighted)
        outcome = selected(x, y, [], 2, posterior=known)
        found = outcome.comparisons
        recalls.append(found[POOLED_FINETUNED].gain.unseen_recall)
        assert (outcome.kept_name == LOCAL_ONLY) == (said is not means)
    assert recalls[0] > 0.4 > 0.1 > recalls[1]


def test_a_plant_without_any_record_takes_what_was_generated() -> None:
    means = _means(4)
    nothing = np.zeros((0, D)), np.zeros(0, dtype=np.int64)
    candidate = ("s", "diffusion", LinearHead(means, np.zeros(K)))
    assert _select(*nothing, posterior_of_means(means, 20.0), [candidate]).kept_name == GENERATED


def test_without_labels_the_posterior_head_is_taken() -> None:
    means = _means(4)
    x, _ = _draw(means + 3.0, [20] * K, 6)
    outcome = _select(x, np.full(len(x), -1), posterior_of_means(means, 20.0))
    assert outcome.kept_name == POOLED
    assert _accuracy(outcome.models[POOLED].head, means + 3.0) > 0.6


@pytest.mark.parametrize(
    ("source", "method", "kept"),
    [(SAME_FAMILY_SOURCE, HANDED_ON, HANDED_ON), ("diffusion", GENERATED, POOLED)],
)
def test_without_labels_a_head_of_the_plant_s_kind_goes_first(
    source: str, method: str, kept: str
) -> None:
    means = _means(4)
    x, _ = _draw(means, [20] * K, 6)
    candidate = ("s", source, LinearHead(means, np.zeros(K)))
    outcome = _select(x, np.full(len(x), -1), posterior_of_means(means, 20.0), [candidate])
    assert {POOLED, method} <= set(outcome.models)
    assert outcome.kept_name == kept


def test_a_package_with_class_means_is_applied_and_a_damaged_one_refused(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant({0: 6, 1: 6, 2: 6})
    k, d = good_head.weight.shape
    ones = np.ones(d)
    flat = Posterior(
        np.eye(d),
        ones,
        ones,
        ones,
        np.eye(d),
        np.tile(np.eye(k + 1), (d, 1, 1)),
        np.zeros((d, k + 1)),
        np.zeros(k),
    )
    weights: dict[str, tuple[Any, str]] = {
        "network": (good_head, "diffusion"),
        "posterior": (flat.tensors(), "posterior"),
    }
    manifest = apply_and_adopt_package(plant.home, plant.package(weights)).manifest
    heads = {e.name: load_model_tensors(plant.home, manifest, e.name) for e in manifest.models}
    # What was delivered uses released features only; what learnt here uses all.
    assert not heads[GENERATED]["head.weight"][:, d:].any()
    assert (
        heads[LOCAL_ONLY]["head.weight"][:, d:].any()
        and heads[POOLED_FINETUNED]["head.weight"][:, d:].any()
    )
    broken = dataclasses.replace(flat, precision=-flat.precision)
    weights["posterior"] = (broken.tensors(), "posterior")
    with pytest.raises(DecodeError, match=r"posterior.*precision"):
        apply_and_adopt_package(plant.home, plant.package(weights))


@pytest.mark.parametrize("memory", [0, 1])
def test_the_check_knows_who_has_released(
    make_plant: MakePlant, good_head: LinearHead, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    seen: list[PreparedPackage] = []

    def spy(records: PlantRecords, package: PreparedPackage, *others: Any) -> SelectionOutcome:
        seen.append(package)
        return select_model(records, package, *others)

    monkeypatch.setattr(applying, "select_model", spy)
    plant = make_plant({0: 6, 1: 6, 2: 6})
    package = plant.package({"network": (good_head, "diffusion")}, pool_releases=memory)
    apply_and_adopt_package(plant.home, package)
    assert seen[0].other_sites_released == bool(memory)
