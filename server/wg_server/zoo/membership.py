"""Membership inference attack on handed-on weights, by the loss of records.

Records with low loss are taken for members of the training set (Yeom et al., *Privacy Risk in
Machine Learning*, CSF 2018), and the result is the area under this attack's ROC curve: 0.5 is
chance. Members and non-members are compared within their class, so that class proportions reveal
nothing. Not guaranteed: that no stronger attack exists; attacks that train their own models find
more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_MIN_RECORDS_PER_CLASS = 2
"""Smallest number of members, and of non-members, in a class that is used."""


@dataclass(frozen=True, slots=True)
class MembershipAttack:
    """Area under the attack's ROC curve, and its standard error; NaN without enough records."""

    area: float
    error: float

    def format_figures(self) -> tuple[str, str]:
        """Return area and error of the ROC curve as decimal strings; empty if they are NaN."""
        if not np.isfinite(self.area):
            return "", ""
        return f"{self.area:.4f}", f"{self.error:.4f}"


def attack_by_loss(
    losses: NDArray[np.float64], is_member: NDArray[np.bool_], labels: NDArray[np.int64]
) -> MembershipAttack:
    """Return the result of telling training records from others by their loss, ``[n]`` each.

    The standard error follows DeLong et al. (Biometrics 1988), class by class.
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
        return MembershipAttack(float("nan"), float("nan"))
    share = np.array(weights) / sum(weights)
    return MembershipAttack(float(share @ areas), float(np.sqrt(share**2 @ variances)))


def mean_loss_by_record(
    records: NDArray[np.int64], losses: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the sorted record numbers, and the mean loss of each record over its views."""
    numbers, place = np.unique(records, return_inverse=True)
    return numbers, np.bincount(place, losses) / np.bincount(place)


def _shares_above(values: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of limits above each value; ties count half."""
    ranks = rankdata(np.concatenate([values, limits]))[: len(values)]
    below = ranks - rankdata(values)
    return np.asarray(1 - below / len(limits), dtype=np.float64)
