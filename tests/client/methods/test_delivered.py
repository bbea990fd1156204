"""Delivered heads: which is taken, and in which order its rows are."""

from __future__ import annotations

import numpy as np

from wg_client.fitting.backbone import Trunk, encoder_trunk
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.base import Candidate, LabelledRecords, Package
from wg_client.methods.delivered import first_or_best, reordered
from wg_client.methods.generated import AS_DELIVERED, FINETUNED
from wg_client.methods.network_choice import by_information, choose

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
    return first_or_best([Candidate("c", source, Trunk(x), head)] * 2, K)(x, y)


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
        both = [Candidate("c", "kin", Trunk(x), head)] * 2
        kept += first_or_best(both, K)(x, y) is head
    assert kept >= 18


def test_classes_without_records_take_the_rows_that_are_left() -> None:
    x, y = records(5)
    some = y < 3
    found = reordered(SHUFFLED, x[some], y[some], K)
    np.testing.assert_array_equal(found.weight[:3], RIGHT.weight[:3])
    assert sorted(found.bias.tolist()) == sorted(RIGHT.bias.tolist())


def test_labels_say_which_rows_of_a_family_of_more_classes_are_the_plant_s() -> None:
    x, y = records(5)
    more = np.random.default_rng(9).normal(size=(3, D))
    weight = np.vstack([more, SHUFFLED.weight])
    wide = LinearHead(weight, -0.5 * (weight**2).sum(axis=1))
    base = first_or_best([Candidate("c", "catalogue", Trunk(x), wide)], K)
    np.testing.assert_array_equal(base(x, y).weight, RIGHT.weight)
    assert base(x[:0], y[:0]).weight.shape == (K, D), "without a label some rows stand in"


def networks(x: np.ndarray, right: int, count: int = 6) -> list[Candidate]:
    """Networks with a trunk each, of which one suits the records."""
    rng = np.random.default_rng(7)
    found = []
    for number in range(count):
        blurred = 0.0 if number == right else 1.0
        features = x + blurred * rng.normal(size=x.shape)
        head = LinearHead(RIGHT.weight * (1 - 0.7 * blurred), RIGHT.bias * (1 - 0.7 * blurred))
        found.append(Candidate(f"sheet-{number}", "diffusion", Trunk(features), head))
    return found


def recipient(x: np.ndarray, labels: np.ndarray) -> LabelledRecords:
    """A plant whose encoder sees noise."""
    noise = np.random.default_rng(11).normal(size=(len(x), 2))
    return LabelledRecords(all_labels=labels, classes=K, public=encoder_trunk(noise, 2, 2, ()))


def test_unlabelled_records_put_the_network_that_suits_them_first() -> None:
    x, _ = records(10)
    samples = networks(x, right=4)
    assert by_information(samples)[0] is samples[4]
    few = networks(x[:19], right=4)
    assert by_information(few) == few and by_information([]) == []
    unlabelled = recipient(x, np.full(len(x), -1))
    number, chosen = choose(samples, unlabelled, unlabelled.public)
    assert number == 4
    model = AS_DELIVERED.fit(unlabelled, Package(candidates=[chosen]))
    assert model is not None and model.origin == "sheet-4" and model.trunk is chosen.trunk
    assert FINETUNED.fit(unlabelled, Package(candidates=[chosen])) is None


def test_labels_choose_among_networks_out_of_fold() -> None:
    x, y = records(6)
    rows = np.arange(15) * 2  # too few to put in order without labels
    few = recipient(x[rows], y[rows])
    number, chosen = choose(networks(x[rows], right=5), few, few.public)
    package = Package(candidates=[chosen])
    model = AS_DELIVERED.fit(few, package)
    assert number == 5 and model is not None and model.origin == "sheet-5"
    assert model.fitted.head.weight.shape == (K, 2 + D) and model.fitted.out_of_fold is not None
    assert not model.fitted.head.weight[:, :2].any()
    assert model.fitted.right.mean() > 0.7
    averaged, local = FINETUNED.fit(few, package), few.local
    assert averaged is not None and local is not None and averaged.fitted.out_of_fold is not None
    mean = (local.head.padded(2 + D).weight + model.fitted.head.weight) / 2
    share = averaged.fitted.head.weight / mean
    np.testing.assert_allclose(share, share[0, 0])
