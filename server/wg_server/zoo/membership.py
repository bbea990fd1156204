"""What handed-on weights tell of the records that they were trained on: a loss attack.

Records of low loss are taken for members of the training (Yeom et al., *Privacy Risk in Machine
Learning*, CSF 2018), and the figure is the area under that attack's curve: .5 is a guess. Members
and other records are compared within their class, so that their mixture of classes tells nothing.
Not guaranteed: that no stronger attack exists; one that trains models of its own finds more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_FEWEST = 2  # Members, and other records, of a class that counts


@dataclass(frozen=True, slots=True)
class Membership:
    """Area under the attack's curve, and its standard error; NaN where no class has records."""

    area: float
    error: float

    def figures(self) -> tuple[str, str]:
        """Both as decimal strings; empty without them."""
        if not np.isfinite(self.area):
            return "", ""
        return f"{self.area:.4f}", f"{self.error:.4f}"


def attack(
    losses: NDArray[np.float64], is_member: NDArray[np.bool_], labels: NDArray[np.int64]
) -> Membership:
    """Attack records by their loss, ``[n]`` each.

    The error is that of DeLong et al. (Biometrics 1988), class by class.
    """
    areas, variances, weights = [], [], []
    for label in np.unique(labels):
        of_class = labels == label
        members, strangers = losses[of_class & is_member], losses[of_class & ~is_member]
        if min(len(members), len(strangers)) < _FEWEST:
            continue
        below = _shares_above(members, strangers)
        above = 1 - _shares_above(strangers, members)
        areas.append(below.mean())
        variances.append(below.var(ddof=1) / len(below) + above.var(ddof=1) / len(above))
        weights.append(len(members) * len(strangers))
    if not weights:
        return Membership(float("nan"), float("nan"))
    share = np.array(weights) / sum(weights)
    return Membership(float(share @ areas), float(np.sqrt(share**2 @ variances)))


def by_record(
    records: NDArray[np.int64], losses: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Mean loss of each record over all views of it, and the records' numbers, in order."""
    numbers, place = np.unique(records, return_inverse=True)
    return numbers, np.bincount(place, losses) / np.bincount(place)


def _shares_above(values: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the limits above each value; ties count half."""
    ranks = rankdata(np.concatenate([values, limits]))[: len(values)]
    below = ranks - rankdata(values)
    return np.asarray(1 - below / len(limits), dtype=np.float64)
