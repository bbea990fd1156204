"""Delivered heads: which is taken, and in which order its rows are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures, scale_encoder_features
from wg_client.methods.base import DeliveredCandidate, PlantRecords, PreparedPackage
from wg_client.methods.delivered_head import candidate_selector, match_rows_to_classes
from wg_client.methods.method_names import GENERATED, GENERATED_FINETUNED
from wg_client.methods.network_choice import choose_networks, choose_networks_without_labels
from wg_client.methods.registry import METHODS
from wg_common.catalogue import InputScaling

AS_DELIVERED, FINETUNED = (
    next(method for method in METHODS if method.name == name)
    for name in (GENERATED, GENERATED_FINETUNED)
)
K, D = 5, 8
RNG = np.random.default_rng(1)
MEANS = RNG.normal(size=(K, D))
RIGHT = LinearHead(MEANS, -0.5 * (MEANS**2).sum(axis=1))
ORDER = np.array([2, 0, 1, 4, 3])
SHUFFLED = LinearHead(RIGHT.weight[ORDER], RIGHT.bias[ORDER])


def records(each: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(K), each)
    return MEANS[y] + 0.3 * RNG.normal(size=(len(y), D)), y


def taken(head: LinearHead, source: str, each: int = 5) -> LinearHead:
    x, y = records(each)
    return candidate_selector([DeliveredCandidate("c", source, TrunkFeatures(x), head)] * 2, K)(
        x, y
    )


def test_labels_put_rows_of_a_family_s_head_in_order() -> None:
    np.testing.assert_array_equal(taken(SHUFFLED, "kin").weight, RIGHT.weight)
    assert taken(RIGHT, "kin") is RIGHT
    np.testing.assert_array_equal(taken(SHUFFLED, "catalogue").weight, RIGHT.weight)
    assert taken(SHUFFLED, "diffusion") is SHUFFLED


def test_an_order_must_pay_for_itself() -> None:
    x, y = records(1)
    rng = np.random.default_rng(3)
    kept = 0
    for _ in range(20):  # heads that know nothing
        head = LinearHead(rng.normal(size=(K, D)) * 0.01, np.zeros(K))
        both = [DeliveredCandidate("c", "kin", TrunkFeatures(x), head)] * 2
        kept += candidate_selector(both, K)(x, y) is head
    assert kept >= 18


def test_classes_without_records_take_the_rows_that_are_left() -> None:
    x, y = records(5)
    some = y < 3
    found = match_rows_to_classes(SHUFFLED, x[some], y[some], K)
    np.testing.assert_array_equal(found.weight[:3], RIGHT.weight[:3])
    assert sorted(found.bias.tolist()) == sorted(RIGHT.bias.tolist())


def test_labels_say_which_rows_of_a_family_of_more_classes_are_the_plant_s() -> None:
    x, y = records(5)
    more = np.random.default_rng(9).normal(size=(3, D))
    weight = np.vstack([more, SHUFFLED.weight])
    wide = LinearHead(weight, -0.5 * (weight**2).sum(axis=1))
    base = candidate_selector([DeliveredCandidate("c", "catalogue", TrunkFeatures(x), wide)], K)
    np.testing.assert_array_equal(base(x, y).weight, RIGHT.weight)
    assert base(x[:0], y[:0]).weight.shape == (K, D), "without a label some rows stand in"


def networks(x: np.ndarray, right: int, count: int = 6) -> list[DeliveredCandidate]:
    """Networks with a trunk each, of which one suits the records."""
    rng = np.random.default_rng(7)
    found = []
    for number in range(count):
        blurred = 0.0 if number == right else 2.0
        features = x + blurred * rng.normal(size=x.shape)
        head = LinearHead(RIGHT.weight * (1 - 0.35 * blurred), RIGHT.bias * (1 - 0.35 * blurred))
        found.append(
            DeliveredCandidate(f"sheet-{number}", "diffusion", TrunkFeatures(features), head)
        )
    return found


def recipient(x: np.ndarray, labels: np.ndarray) -> PlantRecords:
    """A plant whose encoder sees noise."""
    noise = np.random.default_rng(11).normal(size=(len(x), 2))
    return PlantRecords(
        all_labels=labels, class_count=K, encoder_features=scale_encoder_features(noise, 2, 2, ())
    )


def treated(candidate: DeliveredCandidate, inputs: InputScaling) -> DeliveredCandidate:
    return replace(candidate, input_scaling=inputs, architecture="spectrum-lines")


def test_without_labels_the_server_s_first_stands_first() -> None:
    x, _ = records(10)
    unlabelled = recipient(x, np.full(len(x), -1))
    chosen = choose_networks(networks(x, right=4), unlabelled, unlabelled.encoder_features)
    assert chosen.indices == (0,) and chosen.averaged_candidate.name == "sheet-0"
    package = PreparedPackage(candidates=[chosen.averaged_candidate])
    model = AS_DELIVERED.fit(unlabelled, package)
    assert model is not None and model.origin_candidate == "sheet-0"
    assert model.trunk is chosen.averaged_candidate.trunk
    assert FINETUNED.fit(unlabelled, package) is None


def test_a_standardised_network_takes_part_where_its_answers_say_more_of_records() -> None:
    x, _ = records(10)
    blurred, suited = networks(x, right=1, count=2)
    raw_first = [treated(blurred, "raw"), treated(suited, "standardised")]
    assert choose_networks_without_labels(raw_first) == (0, 1)
    assert choose_networks_without_labels(
        [treated(suited, "raw"), treated(blurred, "standardised")]
    ) == (0,)
    assert choose_networks_without_labels([treated(suited, "standardised")] * 2) == (0,)
    unlabelled = recipient(x, np.full(len(x), -1))
    both = choose_networks(raw_first, unlabelled, unlabelled.encoder_features)
    logits = both.averaged_candidate.head.logits(both.averaged_candidate.trunk.features)
    each = [candidate.head.logits(candidate.trunk.features) for candidate in raw_first]
    np.testing.assert_allclose(logits, np.mean(each, axis=0))
    assert both.indices == (0, 1)


def test_labels_choose_among_networks_out_of_fold() -> None:
    x, y = records(6)
    rows = np.arange(15) * 2
    few = recipient(x[rows], y[rows])
    chosen = choose_networks(networks(x[rows], right=5), few, few.encoder_features)
    package = PreparedPackage(candidates=[chosen.averaged_candidate])
    model = AS_DELIVERED.fit(few, package)
    assert chosen.indices == (5,) and model is not None and model.origin_candidate == "sheet-5"
    assert (
        model.fitted_model.head.weight.shape == (K, 2 + D)
        and model.fitted_model.out_of_fold is not None
    )
    assert not model.fitted_model.head.weight[:, :2].any()
    assert model.fitted_model.correct_share.mean() > 0.7
    averaged, local = FINETUNED.fit(few, package), few.local_only_model
    assert (
        averaged is not None and local is not None and averaged.fitted_model.out_of_fold is not None
    )
    mean = (local.head.pad_features(2 + D).weight + model.fitted_model.head.weight) / 2
    share = averaged.fitted_model.head.weight / mean
    np.testing.assert_allclose(share, share[0, 0])
