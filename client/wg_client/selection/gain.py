"""The estimated gain of a model over local-only, and how sure the estimate is.

Let ``d_i``, for labelled record i, be ``0.4`` times the out-of-fold log loss of the local-only
model minus that of the challenger and its optimism l, in nats, averaged over repeats of
cross-validation; n the number of labelled records; K the declared classes, U of them without a
local record; and ``m = unseen_share * U / K`` the share of future records that the policy expects
from those. Then

    q     = (sum_c r_c + p) / (C + 1)
    gain  = (1 - m) * (sum_i d_i / (n + n0) - cost) + m * h * q
    sd^2  = (1 - m)^2 * (sum_i (d_i - mean d)^2 + n0 * v0) / (n + n0)^2
            + m^2 * h^2 * q * (1 - q) / (C + 1)

with ``n0 = prior_records`` records' worth of belief that nothing changes, of variance v0 = 0.1;
``r_c`` the recall of seen class c when it is left out (C classes tried, one pseudo-class of recall
p, q their mean); h the ``recall_weight`` and ``cost`` the ``accuracy_cost`` of ``LeaveClassOut``
(docs/decisions/0090, 0091). p, ``prior_recall``, is 0, but with one of two classes seen it is 0.8
times the probability that the other sites mean by it what the plant means
(``class_agreement``). Local-only never predicts an unseen class: its recall there is 0.

The gain is one of accuracy, but log loss is what it is read from: each right answer counts by how
sure it was, so that ten records say more, and a lucky answer or two less. A nat is worth 0.4 of a
right answer: the slope of test accuracy over log loss on real data (docs/decisions/0056).

*Optimism.* Delivered weights were conditioned on noisy statistics of the records that check them.
What they claim for it is taken off: ``l = g * max(0, mean_i b_i)``, with b_i by how many nats the
closed-form head claims more on record i than its counterpart that is made at the plant from exact
records, out of fold, and g the share of a release that speaks of records and not of noise, or 1
where no other site has released (docs/decisions/0091).

Not guaranteed: that a model of positive gain is better on every future record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.leave_class_out import LeaveClassOut
from wg_client.fitting.linear_head import Floats
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_common.inference.posterior import own_share

ACCURACY_OF_NAT = 0.4
"""Gain in accuracy for a nat of log loss less, on average over data sets, plants and releases."""
PRIOR_VARIANCE = 0.1
"""Variance v0 of a record's difference under the prior."""
TRUSTED_RECALL = 0.8
"""Recall of a class never seen where other sites' classes are the plant's."""
_PRIOR_ODDS, _LIKELIHOOD_RATIO, _COUNTED = 4.0, 0.85 / 0.15, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """An estimate of the gain in accuracy over local-only.

    Attributes:
        mean: 0.01 = one point.
        sd: Its standard deviation.
        log_loss: Out-of-fold log loss of local-only minus the challenger's, nats, summed over
            records.
        unseen_recall: Estimated recall on classes without local records, q.
    """

    mean: float
    sd: float
    log_loss: float
    unseen_recall: float


UNKNOWN = Gain(mean=math.nan, sd=math.nan, log_loss=math.nan, unseen_recall=math.nan)
"""Without any labelled record."""


def estimated_gain(
    challenger: Floats,
    local: Floats,
    *,
    prior_records: float,
    unseen_mass: float = 0.0,
    leave_class_out: LeaveClassOut,
    optimism: float = 0.0,
    prior_recall: float = 0.0,
) -> Gain:
    """Estimate a gain; the module says how.

    Args:
        challenger: Its out-of-fold log losses, nats, ``[repeats, n]``, n at least 1.
        local: Those of local-only, ``[repeats, n]``; the numbers of repeats may differ.
        prior_records: n0.
        unseen_mass: m.
        leave_class_out: Of the challenger.
        optimism: l, nats a record.
        prior_recall: p.
    """
    gain = local.mean(axis=0) - challenger.mean(axis=0) - optimism
    difference = ACCURACY_OF_NAT * gain
    total = len(gain) + prior_records
    seen = float(difference.sum()) / total - leave_class_out.accuracy_cost
    scatter = float(np.sum((difference - difference.mean()) ** 2))
    seen_variance = (scatter + prior_records * PRIOR_VARIANCE) / total**2
    recalls = leave_class_out.recalls
    recall = (float(recalls.sum()) + prior_recall) / (len(recalls) + 1)
    recall_variance = recall * (1 - recall) / (len(recalls) + 1)
    weight = unseen_mass * leave_class_out.recall_weight
    variance = (1 - unseen_mass) ** 2 * seen_variance + weight**2 * recall_variance
    return Gain(
        mean=(1 - unseen_mass) * seen + weight * recall,
        sd=float(np.sqrt(variance)),
        log_loss=float(gain.sum()),
        unseen_recall=recall if unseen_mass else 0.0,
    )


def class_agreement(recall: float, records: int) -> float:
    """Probability that other sites' classes are the plant's, by the one of two that it has seen.

    Of two beliefs one holds: that their heads recognise 85 in 100 of its records, or 15 in 100,
    with 4 to 1 for the first before any is looked at. Records of a class are alike, so that no more
    than five of them count (docs/decisions/0091).

    Args:
        recall: Share of the class's records that the head as delivered recognises.
        records: How many there are.
    """
    likelihood: float = _LIKELIHOOD_RATIO ** ((2 * recall - 1) * min(records, _COUNTED))
    odds = _PRIOR_ODDS * likelihood
    return odds / (1 + odds)


def prior_recall(leave_class_out: LeaveClassOut, records: LabelledRecords) -> float:
    """p: what one seen class of two says of the other; 0 elsewhere."""
    if len(leave_class_out.recalls) != 1 or records.classes != 2:
        return 0.0
    return TRUSTED_RECALL * class_agreement(float(leave_class_out.recalls[0]), len(records.labels))


def optimism(
    model: Model, models: Mapping[str, Model], records: LabelledRecords, package: Package
) -> float:
    """l: nats a record that a model owes to having been conditioned on these records.

    What the closed form claims more than its counterpart, in the share of a release that is not
    noise; in whole where no other site has released, since the counterpart then knows all that the
    closed form knows, and without noise.
    """
    posterior, noise = package.posterior, package.release_noise
    losses = [models[n].fitted.losses.mean() for n in model.reused or () if n in models]
    if posterior is None or math.isinf(noise) or len(losses) < 2:
        return 0.0
    share = 1.0
    if package.others_released:
        counts = np.bincount(records.labels, minlength=records.classes)
        share = own_share(posterior, counts, noise)
    closed, exact = losses
    return share * max(0.0, float(exact - closed))
