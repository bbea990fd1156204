"""Delivered heads: which is taken, and in which order its rows are."""

from __future__ import annotations

import numpy as np

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.base import Candidate
from wg_client.methods.delivered import first_or_best, reordered

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
    return first_or_best([Candidate("c", source, Trunk(x), head)] * 2)(x, y)


def test_labels_put_rows_of_a_family_s_head_in_order() -> None:
    np.testing.assert_array_equal(taken(SHUFFLED, "kin").weight, RIGHT.weight)
    assert taken(RIGHT, "kin") is RIGHT
    assert taken(SHUFFLED, "diffusion") is SHUFFLED


def test_an_order_must_pay_for_itself() -> None:
    x, y = records(1)
    rng = np.random.default_rng(3)
    kept = 0
    for _ in range(20):  # heads that know nothing
        head = LinearHead(rng.normal(size=(K, D)) * 0.01, np.zeros(K))
        both = [Candidate("c", "kin", Trunk(x), head)] * 2
        kept += first_or_best(both)(x, y) is head
    assert kept >= 18


def test_classes_without_records_take_the_rows_that_are_left() -> None:
    x, y = records(5)
    some = y < 3
    found = reordered(SHUFFLED, x[some], y[some])
    assert found is not None
    np.testing.assert_array_equal(found.weight[:3], RIGHT.weight[:3])
    assert sorted(found.bias.tolist()) == sorted(RIGHT.bias.tolist())
