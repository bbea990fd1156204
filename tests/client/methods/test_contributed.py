"""Another plant's head: recalibrated, trained on, judged, and refused when it is bad."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods import contributed
from wg_client.methods.base import Candidate, LabelledRecords, Package
from wg_client.methods.names import (
    CONTRIBUTED,
    CONTRIBUTED_FINETUNED,
    GENERATED,
    GENERATED_FINETUNED,
    LOCAL,
)
from wg_client.selection.model_selection import Outcome, select_model
from wg_core.errors import NotAcceptedError
from wg_core.site.config import AcceptanceConfig

K, D, WIDTH = 4, 8, 12
MEANS = np.random.default_rng(1).normal(size=(K, D))
RIGHT = LinearHead(MEANS, -0.5 * (MEANS**2).sum(axis=1))


def records(each: int, seed: int, moved: float = 0.0) -> tuple[Floats, Ints]:
    """Noisy records; of the features that stay on site none says anything."""
    rng, y = np.random.default_rng(seed), np.repeat(np.arange(K), each)
    x = MEANS[y] + 1.2 * rng.normal(size=(len(y), D)) + moved
    return np.hstack([x, rng.normal(size=(len(y), WIDTH - D))]), y


def selected(
    heads: list[LinearHead], x: Floats, y: Ints, classes: int = K, *, others: bool = False
) -> Outcome:
    trunk = Trunk(x)
    given = [
        Candidate(f"contribution-{n}", "contribution", trunk, head.padded(WIDTH))
        for n, head in enumerate(heads)
    ]
    zeros = LinearHead(np.zeros((classes, WIDTH)), np.zeros(classes))
    return select_model(
        LabelledRecords(all_labels=y, classes=classes, public=trunk),
        Package(
            candidates=[Candidate("base", "base", trunk, zeros), *given],
            own_release=True,
            others_released=others,
        ),
        AcceptanceConfig(standard_errors=1.0),  # less than usual: hostile heads have it easier
    )


def accuracy(outcome: Outcome, name: str, moved: float = 0.0) -> float:
    x, y = records(200, 9, moved)
    return float((outcome.models[name].head.logits(x).argmax(axis=1) == y).mean())


def test_a_good_head_is_kept_and_its_candidate_is_named() -> None:
    bad = LinearHead(RIGHT.weight[[1, 2, 3, 0]], RIGHT.bias)
    outcome = selected([bad, RIGHT], *records(6, 2))
    assert outcome.kept in (CONTRIBUTED, CONTRIBUTED_FINETUNED)
    assert outcome.models[outcome.kept].origin == "contribution-1"
    assert accuracy(outcome, outcome.kept) > accuracy(outcome, LOCAL) + 0.02


def test_other_equipment_is_undone_by_constants() -> None:
    x, y = records(6, 2, moved=3.0)
    outcome = selected([RIGHT], x, y)
    test, labels = records(200, 9, moved=3.0)
    as_it_came = (RIGHT.padded(WIDTH).logits(test).argmax(axis=1) == labels).mean()
    assert accuracy(outcome, CONTRIBUTED, moved=3.0) > as_it_came + 0.1


@pytest.mark.parametrize(
    "head",
    [
        LinearHead(RIGHT.weight[[1, 2, 3, 0]], RIGHT.bias[[1, 2, 3, 0]]),
        LinearHead(np.full((K, D), 3e38), np.zeros(K)),
        LinearHead(-1e30 * RIGHT.weight, -1e30 * RIGHT.bias),
        LinearHead(np.random.default_rng(3).normal(size=(K, D)) * 1e6, np.zeros(K)),
        LinearHead(np.zeros((K, D)), np.array([0, 0, 0, 3e38])),
    ],
    ids=["rotated labels", "all the same and huge", "against", "noise", "one class always"],
)
@pytest.mark.parametrize("others", [False, True])
def test_a_hostile_head_changes_nothing(head: LinearHead, others: bool) -> None:
    x, y = records(6, 2)
    outcome = selected([head] * 8, x, y, others=others)
    alone = selected([], x, y, others=others)
    own, same = outcome.models[LOCAL].head, alone.models[LOCAL].head
    np.testing.assert_array_equal(own.weight, same.weight)
    assert outcome.kept == LOCAL or accuracy(outcome, outcome.kept) >= accuracy(outcome, LOCAL)
    assert all(np.isfinite(model.head.weight).all() for model in outcome.models.values())


def test_without_labels_it_is_not_kept() -> None:
    x, _ = records(6, 2)
    with pytest.raises(NotAcceptedError):
        selected([RIGHT], x, np.full(len(x), -1))


def test_with_labels_of_one_class_it_is_not_kept_before_what_many_say() -> None:
    """A head that always names that class has all of them right."""
    x, y = records(6, 2)
    trunk, one = Trunk(x[y == 0]), y[y == 0]
    flatterer = LinearHead(np.zeros((K, D)), np.array([30.0, 0, 0, 0])).padded(WIDTH)
    many = Candidate("network", "network", trunk, RIGHT.padded(WIDTH))
    outcome = select_model(
        LabelledRecords(all_labels=one, classes=K, public=trunk),
        Package(candidates=[many, Candidate("contribution-0", "contribution", trunk, flatterer)]),
        AcceptanceConfig(),
    )
    assert {CONTRIBUTED, CONTRIBUTED_FINETUNED} <= set(outcome.comparisons)
    assert outcome.kept in (GENERATED, GENERATED_FINETUNED)


def test_classes_never_seen_keep_the_constants_that_came() -> None:
    x, y = records(6, 2)
    some = y < 3
    outcome = selected([RIGHT], x[some], y[some])
    head = outcome.models[CONTRIBUTED].head
    gaps = head.bias - head.bias[0]
    scale = np.linalg.norm(head.weight) / np.linalg.norm(RIGHT.weight)
    np.testing.assert_allclose(gaps, scale * (RIGHT.bias - RIGHT.bias[0]))
    recall = (head.logits(records(200, 9)[0]).argmax(axis=1) == 3)[600:].mean()
    assert recall > 0.3 and outcome.kept != LOCAL


def test_recalibration_finds_what_was_added() -> None:
    x, y = records(500, 4)
    logits = RIGHT.logits(x[:, :D])
    added = np.array([2.0, -1.0, 0.0, -1.0])
    factor, found = contributed.recalibration(7.0 * logits + added, y)
    plain, without = contributed.recalibration(logits, y)
    assert factor == pytest.approx(plain / 7, rel=0.01)
    np.testing.assert_allclose(found - without, -added * factor, atol=0.03)
