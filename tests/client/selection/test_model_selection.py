"""Local-only against delivered weights, on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.discriminants import fit_lda
from tests.client.selected import Named, selected

from wg_client.fitting.finetune import constant_base_fitter, normalised_base_fitter
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import PlantRecords
from wg_client.methods.method_names import (
    GENERATED,
    GENERATED_FINETUNED,
    HANDED_ON,
    HANDED_ON_FINETUNED,
    LOCAL_ONLY,
)
from wg_client.selection.model_selection import SelectionOutcome
from wg_core.errors import NotAcceptedError
from wg_core.site.acceptance import AcceptanceConfig

K, D = 5, 16


def _world(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(K, D)) * 0.9


def _draw(
    means: Floats, per_class: int, seed: int, classes: range | list[int]
) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(classes), per_class)
    return means[labels] + rng.normal(size=(len(labels), D)), labels


def _good(means: Floats) -> LinearHead:
    x, y = _draw(means, 200, 99, range(K))
    return fit_lda(x, y, K, 0.1)


def _random(seed: int) -> LinearHead:
    rng = np.random.default_rng(seed)
    return LinearHead(rng.normal(size=(K, D)), rng.normal(size=K))


def _accuracy(outcome: SelectionOutcome, name: str, means: Floats) -> float:
    x, y = _draw(means, 400, 7, range(K))
    return float((outcome.models[name].head.logits(x).argmax(axis=1) == y).mean())


def _select(
    x: Floats,
    y: Ints,
    named: list[Named],
    policy: AcceptanceConfig | None = None,
    units: list[str] | None = None,
) -> SelectionOutcome:
    return selected(x, y, named, K, policy=policy, units=units)


@pytest.mark.parametrize("per_class", [3, 8, 40])
@pytest.mark.parametrize("source", ["diffusion", "kin"])
def test_random_weights_do_no_harm(source: str, per_class: int) -> None:
    differences = []
    for seed in range(6):
        means = _world(10 + seed)
        x, y = _draw(means, per_class, seed, range(K))
        candidates = [("a", source, _random(100 + seed)), ("c", "diffusion", _random(200 + seed))]
        outcome = _select(x, y, candidates)
        assert outcome.kept_name not in (GENERATED, HANDED_ON)
        differences.append(
            _accuracy(outcome, outcome.kept_name, means) - _accuracy(outcome, LOCAL_ONLY, means)
        )
    # seeds are fixed, so this does not flicker
    assert np.mean(differences) > -0.01


def test_the_better_of_two_candidates_starts_the_training() -> None:
    means = _world(3)
    x, y = _draw(means, 6, 4, range(K))
    candidates = [("bad", "diffusion", _random(1)), ("good", "diffusion", _good(means))]
    outcome = _select(x, y, candidates)
    assert outcome.models[GENERATED].origin_candidate == "good"
    assert outcome.models[GENERATED_FINETUNED].origin_candidate == "good"


def test_a_late_candidate_must_show_more() -> None:
    means = _world(4)
    x, y = _draw(means, 4, 5, range(K))
    head = _good(means)
    same = [(str(index), "diffusion", head) for index in range(5)]
    assert _select(x, y, same).models[GENERATED].origin_candidate == "0"


def test_classes_never_seen_keep_their_rows_and_can_be_predicted() -> None:
    means = _world(5)
    x, y = _draw(means, 10, 6, [0, 1, 2])
    outcome = _select(x, y, [("s", "diffusion", _good(means))])
    test_x, test_y = _draw(means, 300, 8, [3, 4])
    head = outcome.models[GENERATED_FINETUNED].head
    assert (head.logits(test_x).argmax(axis=1) == test_y).mean() > 0.4
    local = outcome.models[LOCAL_ONLY].head.logits(test_x).argmax(axis=1)
    assert set(local) <= {0, 1, 2}
    assert outcome.keeps_delivered_model


def test_unseen_rows_differ_from_the_delivered_ones_by_scale_and_bias_only() -> None:
    means = _world(6)
    x, y = _draw(means, 10, 6, [0, 1, 2])
    good = _good(means)
    outcome = _select(x, y, [("s", "diffusion", good)])
    found = outcome.models[GENERATED_FINETUNED]
    start = normalised_base_fitter(constant_base_fitter(good))(x, y)
    scale = float(found.head.weight[3, 0] / start.weight[3, 0])
    np.testing.assert_allclose(found.head.weight[3:], scale * start.weight[3:], atol=1e-9)
    gap = found.head.bias[3:] - scale * start.bias[3:]
    assert gap[0] == pytest.approx(gap[1])


def test_without_labels_the_server_s_first_is_kept_unchecked_or_nothing() -> None:
    means = _world(7)
    x, y = _draw(means, 4, 7, range(K))
    unlabelled = np.full_like(y, -1)
    candidates = [("c", "diffusion", _random(1)), ("s", "diffusion", _good(means))]
    outcome = _select(x, unlabelled, candidates)
    assert outcome.kept_name == GENERATED and "Nothing was measured here" in outcome.reason
    assert outcome.estimate_accuracy(GENERATED) is None and not outcome.comparisons
    with pytest.raises(NotAcceptedError):
        _select(x, unlabelled, candidates, AcceptanceConfig(checks={"WG-F11": "block"}))


@pytest.mark.parametrize(
    "labels", [[0], [0, 0], [0, 1], [0, 0, 0, 0], [0, 1, 2], [0, 1, 2, 3, 4], [0] * 9 + [1]]
)
def test_a_handful_of_labels_never_breaks_it(labels: list[int]) -> None:
    means = _world(8)
    y = np.array(labels)
    x = means[y] + np.random.default_rng(9).normal(size=(len(y), D))
    outcome = _select(x, y, [("s", "diffusion", _good(means)), ("c", "diffusion", _random(1))])
    for model in outcome.models.values():
        assert np.isfinite(model.head.weight).all() and np.isfinite(model.head.bias).all()
    assert outcome.kept_name in outcome.models


def test_constant_features_never_break_it() -> None:
    x = np.ones((12, D))
    outcome = _select(x, np.arange(12) % 3, [("s", "diffusion", _random(1))])
    assert outcome.kept_name in outcome.models


def test_units_are_kept_together() -> None:
    """Copies of one record under one unit must not vouch for each other."""
    rng = np.random.default_rng(10)
    y = np.repeat(rng.integers(0, 2, 12), 4)
    x = np.repeat(rng.normal(size=(12, D)), 4, axis=0)  # labels are noise, copies are not
    units = [str(index) for index in np.repeat(np.arange(12), 4)]
    together = _select(x, y, [("s", "diffusion", _random(1))], units=units)
    apart = _select(x, y, [("s", "diffusion", _random(1))])
    alone, whole = apart.estimate_accuracy(LOCAL_ONLY), together.estimate_accuracy(LOCAL_ONLY)
    assert alone is not None and whole is not None
    assert alone.mean > 0.9 > 0.8 > whole.mean
    assert whole.high - whole.low > alone.high - alone.low
    alike = PlantRecords(
        all_labels=y, class_count=2, encoder_features=TrunkFeatures(x), repetition_keys=units
    )
    assert alike.independent_record_count == 12
    assert alike.evaluated_unit_indices.tolist() == together.records.evaluated_unit_indices.tolist()


def test_model_selection_is_deterministic() -> None:
    means = _world(11)
    x, y = _draw(means, 5, 12, range(K))
    candidates = [("s", "diffusion", _good(means))]
    first, second = _select(x, y, candidates), _select(x, y, candidates)
    assert first.kept_name == second.kept_name
    for name in first.models:
        np.testing.assert_array_equal(
            first.models[name].head.weight, second.models[name].head.weight
        )


def test_one_seen_class_of_two_is_enough_to_take_a_good_head_and_to_refuse_a_bad_one() -> None:
    means = np.random.default_rng(4).normal(size=(2, D))
    x, y = _draw(means, 20, 5, [0])
    many, labels = _draw(means, 200, 99, range(2))
    good = fit_lda(many, labels, 2, 0.1)

    def kept(head: LinearHead) -> str:
        return selected(x, y, [("s", "diffusion", head)], 2).kept_name

    assert kept(good) != LOCAL_ONLY
    assert kept(LinearHead(-good.weight, -good.bias)) == LOCAL_ONLY


def test_labels_of_one_class_leave_the_word_to_others_if_they_bear_it_out() -> None:
    """What others know, unless most own records speak against it or nobody else does for it."""
    means = np.random.default_rng(4).normal(size=(2, D)) * 0.4
    x, y = _draw(means, 12, 5, [0])
    many, labels = _draw(means, 200, 99, range(2))
    weak = fit_lda(many, labels, 2, 0.1)
    named: list[Named] = [("s", "diffusion", weak)]
    outcome = selected(x, y, named, 2)
    assert outcome.kept_name != LOCAL_ONLY
    said = {f.code for f in outcome.findings if f.model == outcome.kept_name}
    assert "WG-F11" in said and "WG-F02" not in said
    (why,) = (f for f in outcome.findings if f.model == outcome.kept_name and f.code == "WG-F01")
    assert why.figures["recall"] >= why.figures["limit"] == 0.5
    assert outcome.estimate_accuracy(outcome.kept_name) is None  # of one class, it is no accuracy
    for refused in (
        selected(x, y, [("s", "diffusion", LinearHead(-weak.weight, -weak.bias))], 2),
        selected(x, y, named, 2, other_sites_released=False),
        selected(x, y, named, 2, policy=AcceptanceConfig(checks={"WG-F11": "block"})),
    ):
        assert refused.kept_name == LOCAL_ONLY


def test_a_head_of_the_plants_own_kind_need_only_be_better() -> None:
    means = _world(6)
    x, y = _draw(means, 4, 12, range(K))
    head = _good(means)
    others = _select(x, y, [("s", "diffusion", head)])
    own = _select(x, y, [("s", "kin", head)])
    gain = own.comparisons[HANDED_ON].gain
    assert 0 < gain.log_loss < 2 * gain.log_loss_se and gain.accuracy_gain > 0
    assert others.kept_name == LOCAL_ONLY and own.kept_name != LOCAL_ONLY
    asked = {
        finding.figures["standard_errors"] for finding in own.findings if finding.code == "WG-F01"
    }
    assert asked == {0.0}


def test_of_its_own_kind_the_head_that_is_trained_on_stands_for_the_one_as_delivered() -> None:
    """However much better that looks: the one trained on could have stayed it."""
    means = _world(6)
    x, y = _draw(means, 4, 1, range(K))
    outcome = _select(x, y, [("s", "kin", _good(means))])
    gains = {name: outcome.comparisons[name].gain for name in (HANDED_ON, HANDED_ON_FINETUNED)}
    assert gains[HANDED_ON].is_significant(0.0) and gains[HANDED_ON_FINETUNED].is_significant(0.0)
    assert gains[HANDED_ON].log_loss > gains[HANDED_ON_FINETUNED].log_loss
    assert outcome.kept_name == HANDED_ON_FINETUNED


def test_where_the_head_trained_on_may_not_be_kept_the_one_as_delivered_still_may() -> None:
    means = _world(8)
    x, y = _draw(means, 6, 11, range(K))
    outcome = _select(x, y, [("s", "kin", _good(means))])
    gains = {name: outcome.comparisons[name].gain for name in (HANDED_ON, HANDED_ON_FINETUNED)}
    assert gains[HANDED_ON].is_significant(0.0) and not gains[HANDED_ON_FINETUNED].is_significant(
        0.0
    )
    assert outcome.kept_name == HANDED_ON
