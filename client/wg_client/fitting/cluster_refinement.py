"""Unsupervised refinement of a head: clusters of unlabelled records, initialised by the head.

Expectation-maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1977) for a mixture of
one Gaussian per class, all with the same isotropic variance. The prior of a record's class is the
head's prediction times the class shares among the records. The variance is inflated by
``CLUSTER_INFLATION``: otherwise a single cluster would be split where most records are of one
class, or some classes have no record.
"""

import numpy as np
from scipy.special import softmax

from wg_client.fitting.linear_head import Floats, LinearHead

CLUSTER_INFLATION = 8.0
"""Factor by which the variance of clusters is inflated."""
_ITERATIONS = 20
_MOST_CLUSTERED_RECORDS = 4096  # Most records that are clustered, evenly spaced


def refine_by_clusters(head: LinearHead, features: Floats) -> LinearHead:
    """Return the head refined by clusters of unlabelled records.

    Args:
        head: Head over K classes, on the features.
        features: Features of records without labels, ``[n, d]``, n at least 1.

    Returns:
        A head on the same features; the same head if all records are alike.
    """
    rows = np.linspace(0, len(features) - 1, min(len(features), _MOST_CLUSTERED_RECORDS)).astype(
        int
    )
    centre = features[rows].mean(axis=0)
    x, base = features[rows] - centre, head.logits(features[rows])
    n, k = base.shape
    shares, trace = softmax(base, axis=1), float((x**2).sum()) / n
    if trace < 1e-9:
        return head
    square = float(((x @ x.T if n < x.shape[1] else x.T @ x) ** 2).sum()) / n**2
    for _ in range(_ITERATIONS):
        mass = shares.sum(axis=0)
        means = shares.T @ x / (mass + 1)[:, None]  # with one additional record at the centre
        # Variance tr S^2 / tr S of the wide directions, with S the scatter within clusters:
        # x'x / n minus the scatter between clusters.
        share, inner = mass / n, means @ means.T
        mean_squares = ((x @ means.T) ** 2).sum(axis=0) / n
        within = square - 2 * share @ mean_squares + share @ inner**2 @ share
        variance = CLUSTER_INFLATION * within / (trace - share @ np.diag(inner))
        weight, bias = means / variance, -0.5 * (means**2).sum(axis=1) / variance
        frequent = np.log((mass + 1) / (n + k))
        shares = softmax(base + x @ weight.T + bias + frequent, axis=1)
    return LinearHead(head.weight + weight, head.bias + bias - weight @ centre)
