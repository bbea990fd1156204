"""Feature-space regression: from class means of the encoder to a head on a network's base.

The base was taught to give the encoder's features, and gives them in part. How class deviations and
site means carry over is fitted on the zoo by ridge regression; what they leave open counts as noise
beside the spread of records within classes. The head is linear discriminant analysis with both, in
closed form, from the same T-BLUP prediction that heads on the encoder come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import centred, class_means, ridged_inverse, row_length
from wg_common.inference.posterior import discriminant
from wg_server.generator.prior.blup import RIDGE, Prediction
from wg_server.generator.weights.zoo_network import ZooNetwork

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureRegression:
    """Linear maps between two feature spaces, with what they leave open.

    Attributes:
        deviations: Class deviations of the encoder to those of the base, ``[d, F]``.
        centre: Site means, ``[d + 1, F]``; the last row is the offset.
        whitener: Inverse of the ridged covariance within classes and of the map, ``[F, F]``.
        scale: Typical length of a trained head row in the zoo.
    """

    deviations: Floats
    centre: Floats
    whitener: Floats
    scale: float

    def centre_of(self, estimate: Prediction) -> Floats:
        """The base's mean feature at a site, ``[F]``."""
        return np.asarray(estimate.centre @ self.centre[:-1] + self.centre[-1])

    def rows(self, estimate: Prediction) -> Floats:
        """Head rows and, last, biases on centred features, ``[K, F + 1]``."""
        deviations = estimate.deviations @ self.deviations
        weight, bias = discriminant(deviations, self.whitener)
        weight, bias = centred(weight, bias)
        rows: Floats = np.concatenate([weight, bias[:, None]], axis=1)
        return rows * (self.scale / float(row_length(weight)))


def fit_regression(networks: Sequence[ZooNetwork]) -> FeatureRegression:
    """Fit on the zoo's tasks."""
    inputs, outputs, centres, targets, within = [], [], [], [], []
    for network in networks:
        y, classes = network.task.y, len(network.task.labels)
        means = class_means(network.task.features, y, classes)
        base = network.base_features.astype(np.float64)
        base_means = class_means(base, y, classes)
        inputs.append(means - means.mean(axis=0))
        outputs.append(base_means - base_means.mean(axis=0))
        centres.append(means.mean(axis=0))
        targets.append(base.mean(axis=0))
        residuals = base - base_means[y]
        within.append(residuals.T @ residuals / max(len(y) - classes, 1))
    x, z = np.concatenate(inputs), np.concatenate(outputs)
    deviations = _ridge(x, z, 0.1)
    fit_residuals = z - x @ deviations
    covariance = np.mean(within, axis=0) + fit_residuals.T @ fit_residuals / len(fit_residuals)
    whitener = ridged_inverse(covariance, RIDGE)
    padded = np.concatenate([np.array(centres), np.ones((len(centres), 1))], axis=1)
    lengths = [np.sqrt(np.mean(np.sum(n.rows[:, :-1] ** 2, axis=1))) for n in networks]
    return FeatureRegression(
        deviations, _ridge(padded, np.array(targets), 0.1), whitener, float(np.median(lengths))
    )


def _ridge(x: Floats, y: Floats, share: float) -> Floats:
    """Ridge regression; the penalty is a share of the mean of ``x'x``'s diagonal."""
    gram = x.T @ x
    penalty = share * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ y))
