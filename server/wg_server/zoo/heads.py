"""Fit of linear heads on frozen features."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

Floats = NDArray[np.float64]


def fit_head(
    features: NDArray[np.floating], labels: NDArray[np.int64], classes: int, *, penalty: float = 0.3
) -> tuple[Floats, Floats]:
    """Fit a multinomial logistic regression with an L2 penalty on standardised features.

    Args:
        features: Features, ``[n, d]``.
        labels: Classes from 0 to K - 1, ``[n]``.
        classes: Number of classes K.
        penalty: Factor on half the sum of squared weights, which is added to the sum of losses.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` for unstandardised features, centred over classes.
    """
    x = np.asarray(features, dtype=np.float64)
    n, d = x.shape
    mean = x.mean(axis=0)
    scale = float(np.sqrt(np.mean((x - mean) ** 2))) or 1.0
    z = np.hstack([(x - mean) / scale, np.ones((n, 1))])
    hot = np.eye(classes)[labels]

    def objective(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(classes, d + 1)
        logits = z @ w.T
        total = logsumexp(logits, axis=1, keepdims=True)
        loss = float(total.sum() - (logits * hot).sum() + penalty / 2 * (w[:, :d] ** 2).sum())
        gradient = (np.exp(logits - total) - hot).T @ z
        gradient[:, :d] += penalty * w[:, :d]
        return loss, gradient.ravel()

    start = np.zeros(classes * (d + 1))
    optimum = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    w = optimum.x.reshape(classes, d + 1)
    w = w - w.mean(axis=0)
    weight = w[:, :d] / scale
    return weight, w[:, d] - weight @ mean


def head_accuracy(
    weight: Floats, bias: Floats, features: NDArray[np.floating], labels: NDArray[np.int64]
) -> float:
    """Return a head's accuracy, 0 to 1, on features ``[n, d]`` with class indices ``[n]``."""
    return float(((features @ weight.T + bias).argmax(axis=1) == labels).mean())
