"""Do no harm: when delivered weights replace what the plant can do alone.

The rule, exactly. Let ``d_i``, for labelled record i, be ``0.4`` times the out-of-fold log loss of
the local-only model minus that of the challenger and a leak l, in nats, averaged over repeats of
cross-validation; n the number of labelled records; K the declared classes, U of them without a
local record; and ``m = unseen_share * U / K`` the share of future records that the policy expects
from those. Then

    q     = (sum_c r_c + p) / (C + 1)
    gain  = (1 - m) * (sum_i d_i / (n + n0) - lost) + m * h * q
    sd^2  = (1 - m)^2 * (sum_i (d_i - mean d)^2 + n0 * v0) / (n + n0)^2
            + m^2 * h^2 * q * (1 - q) / (C + 1)

with ``n0 = prior_records`` records' worth of belief that nothing changes, of variance v0 = 0.1;
``r_c`` the recall of seen class c when the challenger must do without its local records (C classes
tried, one pseudo-class of recall p, q their mean); ``h = 0.7``, the share that was found to come
true of what is delivered or trained on from there, or 1 for what is completed at the plant from
other sites' statistics (docs/decisions/0090, 0091); ``lost`` the accuracy on seen classes that
predicting unseen ones costs. With fewer than three seen classes ``r_c`` is the delivered head's own
recall (``left_out``). p is 0, but with one of two classes seen it is 0.8 times the probability that
the other sites mean by it what the plant means (``trusted``). The local-only model never predicts
an unseen class: its recall there is 0.

The gain is one of accuracy, but log loss is what it is read from: each right answer counts by how
sure it was, so that ten records say more, and a lucky answer or two less. A nat is worth 0.4 of a
right answer: the slope of test accuracy over log loss on real data (docs/decisions/0056).

A challenger is *accepted* if ``gain - caution * sd > 0``; without caution where it is averaged with
local-only (``blend``) and so loses little if the estimate errs, and other sites have released.
Among the accepted the one with the largest ``gain - caution * sd`` is kept; otherwise local-only
is. Without any labelled record the policy's ``without_labels`` decides, and the report says that
nothing was checked.

The leak: delivered weights were conditioned on noisy statistics of the records that check them.
``contest`` charges them for it, ``l = g * max(0, mean_i b_i)``: b_i by how many nats the
closed-form head claims more on record i than its twin that is made at the plant, out of fold, and
g the share of a release that speaks of records and not of noise, or 1 where no other site has
released (docs/decisions/0091).

Not guaranteed: that the kept model is better on every future record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.leave_class_out import SHAPED
from wg_client.fitting.linear_head import Floats, Ints
from wg_client.site.config import AcceptanceConfig

ACCURACY_OF_NAT = 0.4
"""Gain in accuracy for a nat of log loss less, on average over data sets, plants and releases."""
TRUSTED_RECALL = 0.8
"""Recall of a class never seen where other sites' classes are the plant's."""
_BEFORE, _LIKELIER, _COUNTED = 4.0, 0.85 / 0.15, 5
PRIOR_VARIANCE = 0.1
"""Variance v0 of a record's difference under the prior."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A challenger against local-only.

    Attributes:
        name: The challenger.
        gain: Estimated gain in accuracy, 0.01 = one point.
        sd: Standard deviation of the gain.
        lower: ``gain - caution * sd``.
        caution: Standard deviations that were taken off.
        accepted: Whether the rule accepts it.
        nats: Out-of-fold log loss of local-only minus the challenger's, summed over records.
        unseen_recall: Estimated recall on classes without local records, q.
    """

    name: str
    gain: float
    sd: float
    lower: float
    caution: float
    accepted: bool
    nats: float
    unseen_recall: float


def unseen_mass(config: AcceptanceConfig, *, declared: int, seen: int) -> float:
    """Share m of future records expected from declared classes without local records."""
    return config.unseen_share * (declared - seen) / declared


def correctness(predictions: Ints, labels: Ints) -> Floats:
    """Share of repeats in which each record was right: ``[repeats, n]``, ``[n]`` -> ``[n]``."""
    return np.asarray((predictions == labels).mean(axis=0), dtype=np.float64)


def trusted(recall: float, records: int) -> float:
    """Probability that other sites' classes are the plant's, by the one of two that it has seen.

    Of two beliefs one holds: that their heads recognise 85 in 100 of its records, or 15 in 100,
    with 4 to 1 for the first before any is looked at. Records of a class are alike, so that no more
    than five of them count (docs/decisions/0091).

    Args:
        recall: Share of the class's records that the head as delivered recognises.
        records: How many there are.
    """
    odds: float = _BEFORE * _LIKELIER ** ((2 * recall - 1) * min(records, _COUNTED))
    return odds / (1 + odds)


def compare(
    name: str,
    challenger: Floats,
    local: Floats,
    config: AcceptanceConfig,
    *,
    mass: float,
    recalls: Floats,
    lost: float,
    counts: float = SHAPED,
    leak: float = 0.0,
    pseudo: float = 0.0,
) -> Evidence:
    """Weigh a challenger against local-only; the module says how.

    Args:
        name: The challenger.
        challenger: Its out-of-fold log losses, nats, ``[repeats, n]``, n at least 1.
        local: Those of local-only, ``[repeats, n]``; the numbers of repeats may differ.
        config: The plant's acceptance policy.
        mass: Share m.
        recalls: Leave-class-out recalls ``r_c``, ``[C]``.
        lost: Accuracy lost to unseen classes.
        counts: Share h of the recalls that counts.
        leak: Nats a record that the challenger owes to having seen these records, l.
        pseudo: Recall p of the pseudo-class.
    """
    nats = local.mean(axis=0) - challenger.mean(axis=0) - leak
    difference = ACCURACY_OF_NAT * nats
    total = len(nats) + config.prior_records
    seen = float(difference.sum()) / total - lost
    scatter = float(np.sum((difference - difference.mean()) ** 2))
    seen_variance = (scatter + config.prior_records * PRIOR_VARIANCE) / total**2
    recall = (float(recalls.sum()) + pseudo) / (len(recalls) + 1)
    recall_variance = recall * (1 - recall) / (len(recalls) + 1)
    gain = (1 - mass) * seen + mass * counts * recall
    sd = float(np.sqrt((1 - mass) ** 2 * seen_variance + (mass * counts) ** 2 * recall_variance))
    lower = gain - config.caution * sd
    return Evidence(
        name=name,
        gain=gain,
        sd=sd,
        lower=lower,
        caution=config.caution,
        accepted=lower > 0,
        nats=float(nats.sum()),
        unseen_recall=recall if mass else 0.0,
    )


def keep(evidence: Sequence[Evidence]) -> str | None:
    """Name of the accepted challenger with the largest lower bound, or None: local-only."""
    accepted = [item for item in evidence if item.accepted]
    return max(accepted, key=lambda item: item.lower).name if accepted else None
