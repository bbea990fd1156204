"""Multinomial logistic regression with offsets: many strengths and offsets on the same records.

Minimises, for each problem of a batch,

    f(W) = sum_i -log softmax(offset_i + W a_i)[y_i] + |W|^2 / 2,    a_i = sqrt(c) (x_i, sqrt(10)),

which is a penalty ``|W|^2 / 2C`` on the weights and a tenth of it on the bias. The minimiser lies
in the span of the records (representer theorem), so it is sought in the coordinates of a thin
singular value decomposition, which all problems share: strengths only scale it. There
``Z = U diag(s)`` is ``[n, r]`` with r at most n and d + 1, and the Hessian is close to diagonal.

Truncated Newton steps (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1): conjugate
gradients, preconditioned by ``1 + c s_j^2 mean_i p_ik (1 - p_ik)``, then halving until Armijo's
condition holds. f is 1-strongly convex, so ``f(W) - min f <= |grad f(W)|^2 / 2``: the stopping
rule is a bound and not a guess. Deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, Ints, LinearHead

LOSS_TOLERANCE = 1e-7
"""Largest suboptimality of a fit, relative to its loss, or in nats if the loss is below one."""
_BIAS_FEATURE = np.sqrt(10.0)
"""Constant appended to the features as a bias; the bias is penalised less by its square."""
_FORCING_TERM = 0.3
"""Relative residual, in the preconditioner's norm, at which conjugate gradients stop."""
_MOST_CONJUGATE_STEPS = 100  # Most steps of conjugate gradients


def fit_logistic_regressions(
    features: Floats,
    labels: Ints,
    class_count: int,
    strengths: Sequence[float],
    logit_offsets: Sequence[Floats],
) -> list[LinearHead]:
    """Fit logistic regressions of several strengths and offsets to the same records in one batch.

    Args:
        features: Scaled features, ``[n, d]``.
        labels: Labels of the records, ``[n]`` in 0..classes-1.
        class_count: Number of classes K.
        strengths: C of each of b fits.
        logit_offsets: Logits ``[n, K]`` of each fit's offset.

    Returns:
        Head of each fit; the model's logits are ``offset + head.logits(features)``.
    """
    if not len(strengths):
        return []
    n, d = features.shape
    augmented_features = np.hstack([features, np.full((n, 1), _BIAS_FEATURE)])
    records, right = _principal_coordinates(augmented_features)
    problem = _RegressionBatch(
        coordinates=records,
        squared_singular_values=np.sum(records**2, axis=0),
        one_hot_labels=np.eye(class_count)[:, None, labels],
        strengths=np.asarray(strengths, dtype=np.float64),
        offsets=np.stack([offset.T for offset in logit_offsets], axis=1),
    )
    minimisers = _minimise_batch(problem) * np.sqrt(problem.strengths)[:, None]
    weights = minimisers @ right  # [K, b, d + 1]
    return [
        LinearHead(weights[:, i, :d].copy(), _BIAS_FEATURE * weights[:, i, d])
        for i in range(len(strengths))
    ]


def _principal_coordinates(rows: Floats) -> tuple[Floats, Floats]:
    """Return coordinates ``[n, r]`` of rows in principal directions, and these as ``[r, D]``."""
    n, d = rows.shape
    if n < d:  # from products of rows: five times faster than a singular value decomposition
        squares, left_vectors = np.linalg.eigh(rows @ rows.T)
        nonzero = squares > 1e-12 * squares[-1]
        singular = np.sqrt(squares[nonzero])
        return left_vectors[:, nonzero] * singular, (left_vectors[:, nonzero] / singular).T @ rows
    _, vectors = np.linalg.eigh(rows.T @ rows)  # of many records: linear in their number
    return rows @ vectors, vectors.T


@dataclass(frozen=True, slots=True, eq=False)
class _RegressionBatch:
    """Batch of b logistic regressions in rotated coordinates, with unknowns ``[K, b, r]``.

    Classes come first: sums over them are then sums of long vectors.

    Attributes:
        coordinates: Records in rotated coordinates, Z above, ``[n, r]``.
        squared_singular_values: Squared singular values, ``[r]``.
        one_hot_labels: Labels as 0 and 1, ``[K, 1, n]``.
        strengths: C of each fit, ``[b]``.
        offsets: Logits of each fit's offset, ``[K, b, n]``.
    """

    coordinates: Floats
    squared_singular_values: Floats
    one_hot_labels: Floats
    strengths: Floats
    offsets: Floats

    def select_fits(self, keep: NDArray[np.bool_]) -> _RegressionBatch:
        """Return the batch with only some of its fits."""
        return _RegressionBatch(
            self.coordinates,
            self.squared_singular_values,
            self.one_hot_labels,
            self.strengths[keep],
            self.offsets[:, keep],
        )

    def forward(self, x: Floats) -> Floats:
        """Return the logits ``[K, b, n]`` of unknowns x ``[K, b, r]``, without the offsets."""
        k, b, r = x.shape
        flat = (x * np.sqrt(self.strengths)[:, None]).reshape(k * b, r) @ self.coordinates.T
        return flat.reshape(k, b, -1)

    def backward(self, v: Floats) -> Floats:
        """Apply the transpose of ``forward`` to v ``[K, b, n]``; return ``[K, b, r]``."""
        k, b, n = v.shape
        flat = v.reshape(k * b, n) @ self.coordinates
        return flat.reshape(k, b, -1) * np.sqrt(self.strengths)[:, None]

    def loss_and_probabilities(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the loss of each fit, ``[b]``, and the class probabilities, ``[K, b, n]``."""
        logits = self.offsets + self.forward(x)
        logits -= logits.max(axis=0)
        chances = np.exp(logits)
        total = chances.sum(axis=0)
        chances /= total
        true_logits = (logits * self.one_hot_labels).sum(axis=0)
        return (np.log(total) - true_logits).sum(axis=1) + 0.5 * _inner_products(x, x), chances

    def gradient(self, x: Floats, probabilities: Floats) -> Floats:
        """Return the gradient of the losses at the unknowns x, ``[K, b, r]``."""
        return self.backward(probabilities - self.one_hot_labels) + x

    def newton_direction(self, probabilities: Floats, gradient: Floats) -> Floats:
        """Return a Newton direction ``[K, b, r]``, with relative residual ``_FORCING_TERM``."""
        spread = np.mean(probabilities * (1 - probabilities), axis=2)  # [K, b]
        curvature = (self.strengths * spread)[:, :, None] * self.squared_singular_values + 1
        direction = np.zeros_like(gradient)
        residual = -gradient
        scaled_residual = residual / curvature
        along = scaled_residual
        size = _inner_products(residual, scaled_residual)
        enough = _FORCING_TERM**2 * size
        for _ in range(_MOST_CONJUGATE_STEPS):
            logit_step = self.forward(along)
            logit_step -= (probabilities * logit_step).sum(axis=0)
            logit_step *= probabilities
            image = self.backward(logit_step) + along
            # A fit that is solved exactly has no direction left: 0 / tiny stays 0.
            step = (size / np.maximum(_inner_products(along, image), 1e-300))[:, None]
            direction = direction + step * along
            residual = residual - step * image
            scaled_residual = residual / curvature
            new = _inner_products(residual, scaled_residual)
            if np.all(new <= enough):
                break
            along = scaled_residual + (new / np.maximum(size, 1e-300))[:, None] * along
            size = new
        return direction


def _minimise_batch(batch: _RegressionBatch, *, steps: int = 200) -> Floats:
    """Return the minimisers, ``[K, b, r]``; converged fits are taken out of the batch."""
    fits = len(batch.strengths)
    minimisers = np.zeros((len(batch.one_hot_labels), fits, len(batch.squared_singular_values)))
    unfinished_fits = np.arange(fits)
    x = minimisers.copy()
    loss, chances = batch.loss_and_probabilities(x)
    for _ in range(steps):
        gradient = batch.gradient(x, chances)
        going = 0.5 * _inner_products(gradient, gradient) > LOSS_TOLERANCE * np.maximum(loss, 1)
        minimisers[:, unfinished_fits] = x
        if not going.any():
            break
        if not going.all():
            unfinished_fits, batch = unfinished_fits[going], batch.select_fits(going)
            x, gradient, chances = x[:, going], gradient[:, going], chances[:, going]
            loss = loss[going]
        x, loss, chances = _newton_step(batch, x, loss, chances, gradient)
    minimisers[:, unfinished_fits] = x
    return minimisers


def _newton_step(
    batch: _RegressionBatch, x: Floats, loss: Floats, probabilities: Floats, gradient: Floats
) -> tuple[Floats, Floats, Floats]:
    direction = batch.newton_direction(probabilities, gradient)
    slope = _inner_products(gradient, direction)
    length = np.ones(len(loss))
    while True:
        candidate = x + length[:, None] * direction
        new, probabilities = batch.loss_and_probabilities(candidate)
        # The last term allows for rounding, which dominates differences of losses near the minimum.
        worse = new > loss + 1e-4 * length * slope + 1e-12 * np.maximum(loss, 1)
        if not worse.any():
            return candidate, new, probabilities
        length = np.where(worse, length / 2, length)


def _inner_products(a: Floats, b: Floats) -> Floats:
    """Return the inner product of each fit, ``[b]``."""
    products: Floats = np.einsum("kbr,kbr->b", a, b)
    return products
