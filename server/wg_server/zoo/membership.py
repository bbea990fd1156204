"""Membership inference attack by the loss of records, on models that are handed on to plants.

The attack takes records with a low loss for members of the training set (Yeom et al., *Privacy Risk
in Machine Learning*, CSF 2018). Its result is the area under its ROC curve; 0.5 is chance. Members
and non-members are compared only within a class, so that different class proportions of the two
sets do not count as success. *Not guaranteed:* that no stronger attack exists; attacks that train
models of their own find more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_MIN_RECORDS_PER_CLASS = 2
"""Smallest number of members, and of non-members, of a class; other classes are left out."""


@dataclass(frozen=True, slots=True)
class MembershipAttackResult:
    """Area under a membership attack's ROC curve, and its standard error; NaN for few records."""

    roc_area: float
    standard_error: float

    def format_area_and_error(self) -> tuple[str, str]:
        """Return area and error of the ROC curve as decimal strings; empty if they are NaN."""
        if not np.isfinite(self.roc_area):
            return "", ""
        return f"{self.roc_area:.4f}", f"{self.standard_error:.4f}"


def attack_by_loss(
    losses: NDArray[np.float64], is_member: NDArray[np.bool_], labels: NDArray[np.int64]
) -> MembershipAttackResult:
    """Measure how well a model's losses on records tell members from non-members of its training.

    The standard error follows DeLong et al. (Biometrics 1988), class by class.

    Args:
        losses: Loss of each record, ``[n]``.
        is_member: True for a record of the training set, ``[n]``.
        labels: Class of each record, ``[n]``; only records of one class are compared.
    """
    areas, variances, weights = [], [], []
    for label in np.unique(labels):
        of_class = labels == label
        members, strangers = losses[of_class & is_member], losses[of_class & ~is_member]
        if min(len(members), len(strangers)) < _MIN_RECORDS_PER_CLASS:
            continue
        below = _shares_above(members, strangers)
        above = 1 - _shares_above(strangers, members)
        areas.append(below.mean())
        variances.append(below.var(ddof=1) / len(below) + above.var(ddof=1) / len(above))
        weights.append(len(members) * len(strangers))
    if not weights:
        return MembershipAttackResult(float("nan"), float("nan"))
    share = np.array(weights) / sum(weights)
    return MembershipAttackResult(float(share @ areas), float(np.sqrt(share**2 @ variances)))


def mean_loss_by_record(
    record_numbers: NDArray[np.int64], losses: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Average losses by record; return the sorted record numbers, and the mean loss of each."""
    numbers, place = np.unique(record_numbers, return_inverse=True)
    return numbers, np.bincount(place, losses) / np.bincount(place)


def _shares_above(
    values: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return, for each value, the share of ``thresholds`` above it; an equal one counts half."""
    ranks = rankdata(np.concatenate([values, thresholds]))[: len(values)]
    below = ranks - rankdata(values)
    return np.asarray(1 - below / len(thresholds), dtype=np.float64)
