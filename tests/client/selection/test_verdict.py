"""The report says one thing, and no more than its figures: every state has a sentence."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.client.discriminants import fit_lda
from tests.client.selected import selected

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.verdict import (
    Basis,
    Change,
    Reach,
    Unseen,
    basis_of,
    change_of,
    unseen_classes,
    verdict,
)
from wg_common.catalogue import SAME_FAMILY
from wg_common.language import plain

STATES = list(product(Basis, Change, Reach))


@pytest.mark.parametrize(("basis", "change", "reach"), STATES)
def test_every_state_has_a_sentence_that_its_figures_bear_out(
    basis: Basis, change: Change, reach: Reach
) -> None:
    said = verdict(basis, change, reach)
    words = f"{plain(said.advice)}. {plain(said.why)}"
    compared = basis is Basis.COMPARED
    more = "It names more of your own records right" in words
    assert more == (compared and change is Change.MORE)
    assert ("fewer" in words) == (compared and change is Change.FEWER)
    assert ("possible" in words) == (compared and reach is Reach.POSSIBLE)
    assert said.use == words.startswith("Use this model")
    if compared and said.use:
        shown = change is Change.MORE or reach is Reach.POSSIBLE
        assert shown or "is not shown" in words
    if not compared:
        assert said == verdict(basis, Change.MORE, Reach.NONE)


@pytest.mark.parametrize(
    ("ends", "change"),
    [
        ((0.01, 0.2), Change.MORE),
        ((0.0, 0.2), Change.NOT_SHOWN),
        ((-0.1, 0.05), Change.NOT_SHOWN),
        ((-0.2, -0.01), Change.FEWER),
    ],
)
def test_an_interval_shows_a_change_where_zero_is_outside(
    ends: tuple[float, float], change: Change
) -> None:
    assert change_of(*ends) is change


def test_a_class_that_nobody_has_released_is_not_promised() -> None:
    sure = (0.5, 0.7, 0.9)
    assert Unseen().reach is Reach.NONE
    assert Unseen(known=("dent",), recall=sure).reach is Reach.POSSIBLE
    assert Unseen(unknown=("dent",), recall=sure).reach is Reach.DOUBTFUL
    assert Unseen(known=("dent",), recall=(0.0, 0.3, 0.8)).reach is Reach.DOUBTFUL
    assert Unseen(known=("dent",)).reach is Reach.DOUBTFUL


@pytest.mark.parametrize("source", ["diffusion", SAME_FAMILY])
def test_classes_without_records_are_known_where_somebody_labelled_them(source: str) -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=(5, 24)) * 1.5
    many = np.repeat(np.arange(5), 200)
    good = fit_lda(means[many] + rng.normal(size=(1000, 24)), many, 5, 0.1)
    y = np.repeat(np.arange(4), 12)
    x = means[y] + rng.normal(size=(48, 24))
    outcome = selected(x, y, [("s", source, LinearHead(good.weight, good.bias))], 5)
    assert basis_of(outcome) is Basis.COMPARED
    unseen = unseen_classes(outcome, tuple("abcde"))
    assert unseen.labels == ("e",)
    assert unseen.known == (("e",) if source == SAME_FAMILY else ())
    assert unseen.recall is not None and 0 <= unseen.recall[0] <= unseen.recall[1]
