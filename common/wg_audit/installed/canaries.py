"""Canary audit: a lower bound on epsilon from records that are in a data set with probability 1/2.

The score of a canary (such a record) is the inner product of a release with the canary's
contribution, in standard deviations of the stated noise. If a release is mu-GDP as charged, the
scores of canaries in and not in the data are at most as distinguishable as N(mu, 1) and N(0, 1)
(Dong, Roth and Su 2022). Each canary lies far beyond the clip radius along its own axis, and alone
in its class. So it attains the sensitivity up to rounding, and canaries are orthogonal, so that one
release tests many (Steinke, Nasr and Jagielski 2023).
"""

import math
from dataclasses import dataclass

import numpy as np

from wg_audit.installed.audited_plant import Floats
from wg_core.privacy import calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsilonBounds:
    """Lower bounds on epsilon, measured by canaries in a random half of data sets.

    Attributes:
        canaries: Number of scores, of canaries in the data (members) and of canaries left out.
        mu_claimed: Gaussian DP parameter mu of the claimed epsilon and delta.
        mu_measured: Difference of the two groups' mean scores over their standard deviation.
        clopper_pearson: Lower bound on epsilon at 95 % confidence, from error counts at a threshold
            selected on the other half of the scores, without assumptions on their distribution.
        parametric: Lower bound on epsilon at 99.999 % confidence, for normal scores.
    """

    canaries: int
    mu_claimed: float
    mu_measured: float
    clopper_pearson: float
    parametric: float


def epsilon_bounds(
    member_scores: Floats, non_member_scores: Floats, epsilon: float, delta: float
) -> EpsilonBounds:
    """Compute lower bounds on the epsilon of releases from the scores of canaries.

    Args:
        member_scores: Scores of canaries in the data, in an order that does not depend on the
            scores.
        non_member_scores: Scores of canaries not in the data, in an order that does not depend on
            them.
        epsilon: Claimed epsilon.
        delta: Delta of the claim and of the bounds.
    """
    parametric_confidence = 1 - 1e-5
    clopper_pearson_confidence = 0.95
    from scipy.special import ndtri

    distance = _standardised_distance(member_scores, non_member_scores)
    n, m = len(member_scores), len(non_member_scores)
    # Hedges and Olkin 1985, chapter 5: for independent normal scores.
    error = math.sqrt(1 / n + 1 / m + distance**2 / (2 * (n + m)))
    lower = distance - float(ndtri(parametric_confidence)) * error
    counted_mu = clopper_pearson_mu(member_scores, non_member_scores, clopper_pearson_confidence)
    return EpsilonBounds(
        canaries=n + m,
        mu_claimed=calibration.largest_mu(epsilon, delta),
        mu_measured=distance,
        clopper_pearson=_epsilon_of_mu(counted_mu, delta),
        parametric=_epsilon_of_mu(lower, delta),
    )


def clopper_pearson_mu(
    member_scores: Floats, non_member_scores: Floats, confidence: float
) -> float:
    """Return a lower confidence bound on mu from the error rates of a threshold test.

    The threshold is selected on the first half of the scores and evaluated on the second half. With
    true error rates (alpha, beta), a mechanism is mu-GDP only if ``mu >= z(1 - alpha) - z(beta)``;
    z is the standard normal quantile. Both rates are bounded from above (Clopper and Pearson 1934).

    Args:
        member_scores: Scores of canaries in the data, in an order that does not depend on them.
        non_member_scores: Scores of canaries not in the data, in such an order too.
        confidence: Confidence of the bound on mu; the bound on each of the two rates is wrong with
            a probability of at most ``(1 - confidence) / 2``.
    """
    half, other_half = len(member_scores) // 2, len(non_member_scores) // 2
    risk = (1 - confidence) / 2

    def bound(inside: Floats, outside: Floats, threshold: float) -> float:
        from scipy.special import ndtri

        false_alarms = int((outside > threshold).sum())
        misses = int((inside <= threshold).sum())
        alpha = _upper_rate_bound(false_alarms, len(outside), risk)
        beta = _upper_rate_bound(misses, len(inside), risk)
        return float(-ndtri(alpha) - ndtri(beta))

    scores = np.concatenate([member_scores[:half], non_member_scores[:other_half]])
    thresholds = np.quantile(scores, np.linspace(0.02, 0.98, 49))
    best = max(
        thresholds,
        key=lambda t: bound(member_scores[:half], non_member_scores[:other_half], float(t)),
    )
    return bound(member_scores[half:], non_member_scores[other_half:], float(best))


def _standardised_distance(member_scores: Floats, non_member_scores: Floats) -> float:
    """Return the difference of two groups' means over their pooled standard deviation."""
    freedom = len(member_scores) + len(non_member_scores) - 2
    squares = member_scores.var() * len(member_scores) + non_member_scores.var() * len(
        non_member_scores
    )
    return float((member_scores.mean() - non_member_scores.mean()) / math.sqrt(squares / freedom))


def _upper_rate_bound(events: int, trials: int, risk: float) -> float:
    """Return the upper Clopper-Pearson bound on a rate, which fails with probability ``risk``."""
    from scipy.special import betaincinv

    return 1.0 if events == trials else float(betaincinv(events + 1, trials - events, 1 - risk))


def _epsilon_of_mu(mu: float, delta: float) -> float:
    return calibration.gaussian_epsilon(mu, delta) if mu > 0 else 0.0
