"""The report says one thing, and no more than its figures: every state has a sentence."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.client.discriminants import fit_lda
from tests.client.selected import selected

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.verdict import (
    AccuracyChange,
    SelectionBasis,
    UnseenClassClaims,
    UnseenClasses,
    classify_accuracy_change,
    describe_unseen_classes,
    report_verdict,
    selection_basis,
)
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.language import english_text

STATES = list(product(SelectionBasis, AccuracyChange, UnseenClassClaims))


@pytest.mark.parametrize(("basis", "change", "reach"), STATES)
def test_every_state_has_a_sentence_that_its_figures_bear_out(
    basis: SelectionBasis, change: AccuracyChange, reach: UnseenClassClaims
) -> None:
    said = report_verdict(basis, change, reach)
    words = f"{english_text(said.advice)}. {english_text(said.reason)}"
    compared = basis is SelectionBasis.COMPARED
    more = "It classifies more of your own records correctly" in words
    assert more == (compared and change is AccuracyChange.HIGHER)
    assert ("fewer" in words) == (compared and change is AccuracyChange.LOWER)
    assert ("can recognise" in words) == (compared and reach is UnseenClassClaims.POSSIBLE)
    assert said.recommends_delivered == words.startswith("Use this model")
    if compared and said.recommends_delivered:
        shown = change is AccuracyChange.HIGHER or reach is UnseenClassClaims.POSSIBLE
        assert shown or "is not shown" in words
    if not compared:
        assert said == report_verdict(basis, AccuracyChange.HIGHER, UnseenClassClaims.NONE)


@pytest.mark.parametrize(
    ("ends", "change"),
    [
        ((0.01, 0.2), AccuracyChange.HIGHER),
        ((0.0, 0.2), AccuracyChange.NOT_SHOWN),
        ((-0.1, 0.05), AccuracyChange.NOT_SHOWN),
        ((-0.2, -0.01), AccuracyChange.LOWER),
    ],
)
def test_an_interval_shows_a_change_where_zero_is_outside(
    ends: tuple[float, float], change: AccuracyChange
) -> None:
    assert classify_accuracy_change(*ends) is change


def test_a_class_that_nobody_has_released_is_not_promised() -> None:
    sure = (0.5, 0.7, 0.9)
    assert UnseenClasses().allowed_claims is UnseenClassClaims.NONE
    assert (
        UnseenClasses(supported_classes=("dent",), recall_interval=sure).allowed_claims
        is UnseenClassClaims.POSSIBLE
    )
    assert (
        UnseenClasses(unsupported_classes=("dent",), recall_interval=sure).allowed_claims
        is UnseenClassClaims.DOUBTFUL
    )
    assert (
        UnseenClasses(supported_classes=("dent",), recall_interval=(0.0, 0.3, 0.8)).allowed_claims
        is UnseenClassClaims.DOUBTFUL
    )
    assert UnseenClasses(supported_classes=("dent",)).allowed_claims is UnseenClassClaims.DOUBTFUL


@pytest.mark.parametrize("source", ["diffusion", SAME_FAMILY_SOURCE])
def test_classes_without_records_are_known_where_somebody_labelled_them(source: str) -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=(5, 24)) * 1.5
    many = np.repeat(np.arange(5), 200)
    good = fit_lda(means[many] + rng.normal(size=(1000, 24)), many, 5, 0.1)
    y = np.repeat(np.arange(4), 12)
    x = means[y] + rng.normal(size=(48, 24))
    outcome = selected(x, y, [("s", source, LinearHead(good.weight, good.bias))], 5)
    assert selection_basis(outcome) is SelectionBasis.COMPARED
    unseen = describe_unseen_classes(outcome, tuple("abcde"))
    assert unseen.labels == ("e",)
    assert unseen.supported_classes == (("e",) if source == SAME_FAMILY_SOURCE else ())
    assert (
        unseen.recall_interval is not None
        and 0 <= unseen.recall_interval[0] <= unseen.recall_interval[1]
    )
