"""Linear heads against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.discriminants import fit_lda

from wg_client.fitting import linear_head
from wg_client.fitting.linear_head import (
    ABSENT_CLASS_BIAS,
    Floats,
    Ints,
    LinearHead,
    best_inverse_temperature,
    extend_to_classes,
    fit_standardisation,
    head_from_tensors,
    log_loss,
)
from wg_client.fitting.logistic import fit_logistic_regressions


def _blobs(
    seed: int, n: int = 90, d: int = 5, k: int = 3, spread_: float = 1.0
) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    means = rng.normal(size=(k, d)) * 2
    return means[labels] + spread_ * rng.normal(size=(n, d)), labels


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
def test_lda_separates_blobs_and_survives_one_record_a_class(shrinkage: float) -> None:
    x, y = _blobs(5, spread_=0.4)
    assert (fit_lda(x, y, 3, shrinkage).logits(x).argmax(1) == y).mean() > 0.9
    single = fit_lda(x[:3], y[:3], 3, shrinkage)
    assert np.isfinite(single.weight).all()
    assert (single.logits(x[:3]).argmax(1) == y[:3]).all()


def test_scaling_and_unscaling_do_not_change_the_function() -> None:
    x, y = _blobs(7)
    x = 100 + 5 * x
    scale = fit_standardisation(x)
    z = scale.apply(x)
    np.testing.assert_allclose([z.mean(), (z**2).mean()], [0, 1], atol=1e-9)
    head = fit_lda(z, y, 3, 0.5)
    np.testing.assert_allclose(scale.to_unscaled_head(head).logits(x), head.logits(z), atol=1e-8)
    assert fit_standardisation(np.ones((4, 3))).scale == 1.0


def test_spread_predicts_only_its_rows() -> None:
    x, y = _blobs(8)
    head = extend_to_classes(fit_lda(x, y, 3, 0.5), np.array([1, 3, 6]), 8)
    assert set(head.logits(x).argmax(1)) <= {1, 3, 6}
    assert head.bias[0] == ABSENT_CLASS_BIAS


def test_log_loss_is_bounded_by_even_odds() -> None:
    logits = np.array([[0.0, ABSENT_CLASS_BIAS], [0.0, ABSENT_CLASS_BIAS]])
    losses = log_loss(logits, np.array([0, 1]))
    assert losses[0] < 0.06 and losses[1] == pytest.approx(np.log(2 / 0.05))


def test_temperature_undoes_a_wrong_scale() -> None:
    x, y = _blobs(9, spread_=3.0)
    logits = fit_logistic_regressions(x, y, 3, [1.0], [np.zeros((len(x), 3))])[0].logits(x)
    assert best_inverse_temperature(50 * logits, y) == pytest.approx(
        best_inverse_temperature(logits, y) / 50, rel=0.5
    )


def test_temperatures_are_tried_in_parts_where_there_are_many_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = _blobs(7)
    logits = fit_lda(x, y, 3, 0.5).logits(x)
    whole = best_inverse_temperature(logits, y)
    monkeypatch.setattr(linear_head, "_NUMBERS_AT_ONCE", 3 * logits.size)
    assert best_inverse_temperature(logits, y) == whole


def test_a_head_survives_its_tensors_and_its_scale_changes_no_class() -> None:
    head = LinearHead(np.arange(6.0).reshape(2, 3), np.ones(2))
    again = head_from_tensors(head.tensors())
    np.testing.assert_array_equal(again.weight, head.weight)
    x = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(head.scale_logits(3.0).logits(x), 3 * head.logits(x))
