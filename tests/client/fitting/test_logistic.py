"""The logistic solver against a slow general-purpose one, and against its own stopping rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from wg_client.fitting import logistic
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, fit_standardisation
from wg_client.fitting.logistic import fit_logistic_regressions


def fit_logistic(
    features: Floats, labels: Ints, classes: int, c: float, offset: Floats | None = None
) -> LinearHead:
    """One fit, around zero unless an offset is given."""
    base = np.zeros((len(labels), classes)) if offset is None else offset
    return fit_logistic_regressions(features, labels, classes, [c], [base])[0]


def _objective(
    flat: Floats, x: Floats, y: Ints, k: int, c: float, offset: Floats
) -> tuple[float, NDArray[np.float64]]:
    """The penalised loss and its gradient, written down as in the docstring."""
    n, d = x.shape
    weights = flat.reshape(k, d + 1)
    penalty = np.full((k, d + 1), 1 / c)
    penalty[:, d] = 0.1 / c
    inputs = np.hstack([x, np.ones((n, 1))])
    logits = offset + inputs @ weights.T
    logits -= logits.max(axis=1, keepdims=True)
    total = logsumexp(logits, axis=1)
    loss = float(np.sum(total - logits[np.arange(n), y]) + 0.5 * np.sum(penalty * weights**2))
    errors = np.exp(logits - total[:, None]) - np.eye(k)[y]
    return loss, (errors.T @ inputs + penalty * weights).ravel()


def _flat(head: LinearHead) -> Floats:
    return np.hstack([head.weight, head.bias[:, None]]).ravel()


def _least(x: Floats, y: Ints, k: int, c: float, offset: Floats) -> float:
    """The least loss that scipy finds, from zero."""
    found = minimize(
        _objective,
        np.zeros(k * (x.shape[1] + 1)),
        args=(x, y, k, c, offset),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "gtol": 1e-8, "ftol": 1e-15},
    )
    return float(found.fun)


def _problem(
    seed: int, n: int, d: int, k: int, apart: float, extreme: float
) -> tuple[Floats, Ints, Floats]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, max(n - k, 0))])
    x = apart * rng.normal(size=(k, d))[y] + rng.normal(size=(len(y), d))
    return fit_standardisation(x).apply(x), y, extreme * rng.normal(size=(len(y), k))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 60),
    d=st.integers(1, 40),
    k=st.integers(2, 12),
    c=st.sampled_from([0.003, 0.03, 0.3, 1.0]),
    apart=st.sampled_from([0.0, 1.0, 10.0]),
    extreme=st.sampled_from([0.0, 1.0, 10.0, 1e3]),
)
@settings(max_examples=200, deadline=None)
def test_the_least_loss_is_reached(
    seed: int, n: int, d: int, k: int, c: float, apart: float, extreme: float
) -> None:
    x, y, offset = _problem(seed, n, d, k, apart, extreme)
    head = fit_logistic(x, y, k, c, offset)
    got, gradient = _objective(_flat(head), x, y, k, c, offset)
    least = _least(x, y, k, c, offset)
    assert got <= least + 1e-6 * max(least, 1e-1)
    # The stopping rule itself: in units of the penalty's square root, half the squared gradient.
    unit = np.full((k, d + 1), np.sqrt(c))
    unit[:, d] = np.sqrt(10 * c)
    bound = 0.5 * float(np.sum((gradient * unit.ravel()) ** 2))
    assert bound <= 1.01 * logistic.LOSS_TOLERANCE * max(got, 1) + 1e-9


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_batch_is_the_same_as_one_by_one(seed: int) -> None:
    x, y, offset = _problem(seed, 25, 12, 4, 2.0, 3.0)
    strengths = [0.003, 0.3, 1.0]
    offsets = [offset, 0 * offset, -10 * offset]
    together = fit_logistic_regressions(x, y, 4, strengths, offsets)
    for head, c, base in zip(together, strengths, offsets, strict=True):
        alone = fit_logistic(x, y, 4, c, base)
        least = _least(x, y, 4, c, base)
        for found in (head, alone):
            assert _objective(_flat(found), x, y, 4, c, base)[0] <= least + 1e-6 * max(least, 1)
        # Within the gap, weights are within its root.
        np.testing.assert_allclose(head.weight, alone.weight, atol=5e-3)


def test_the_same_problem_gives_the_same_bytes() -> None:
    x, y, offset = _problem(1, 30, 20, 5, 1.0, 1.0)
    one, two = (fit_logistic(x, y, 5, 0.3, offset) for _ in range(2))
    assert one.weight.tobytes() == two.weight.tobytes()
    assert one.bias.tobytes() == two.bias.tobytes()


def test_repeated_records_constant_features_and_one_class() -> None:
    x = np.zeros((6, 3))
    head = fit_logistic(x, np.array([0, 0, 0, 0, 1, 1]), 2, 1e6)
    assert np.all(head.weight == 0)
    assert head.bias[0] - head.bias[1] == pytest.approx(np.log(2), abs=1e-3)
    single = fit_logistic(np.ones((2, 3)), np.zeros(2, dtype=np.int64), 1, 1.0)
    assert not single.weight.any() and not single.bias.any()
    assert fit_logistic_regressions(x, np.zeros(6, dtype=np.int64), 1, [], []) == []


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_enormous_offsets_end(size: float) -> None:
    x, y, offset = _problem(3, 40, 10, 6, 1.0, size)
    head = fit_logistic(x, y, 6, 1.0, offset)
    least = _least(x, y, 6, 1.0, offset)
    assert _objective(_flat(head), x, y, 6, 1.0, offset)[0] <= least * (1 + 1e-6)


def test_logistic_regression_agrees_with_scikit_learn() -> None:
    x, y, _ = _problem(0, 90, 5, 3, 2.0, 0.0)
    ours = fit_logistic(x, y, 3, 0.5)
    theirs = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(x, y)
    got = np.exp(ours.logits(x) - logsumexp(ours.logits(x), axis=1, keepdims=True))
    # scikit-learn leaves the bias free, we shrink it a little: close, not equal.
    assert np.abs(got - theirs.predict_proba(x)).max() < 0.05


def test_a_strong_penalty_keeps_the_offset() -> None:
    x, y, _ = _problem(4, 90, 5, 3, 2.0, 0.0)
    head = fit_logistic(x, y, 3, 1e-9, np.zeros((90, 3)))
    assert np.abs(head.weight).max() < 1e-5
