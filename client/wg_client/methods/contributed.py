"""Heads that other plants trained with DP-SGD and gave: what is made of them here.

A head comes as another plant's camera or sensors saw its records. A change of equipment that moves
all records by one vector adds one constant to each logit, whatever the record; so do other shares
of the classes. These constants are fitted to the plant's labels, the weights are left as they are
(recalibration; Steyerberg et al. 2004, *Statistics in Medicine* 23(16)). Where a class has no
record here, its constant would be a guess, and all are left alone.

The plant's labels choose among several heads, fit the constants, and judge what comes out, each
fold by the others. Without labels nothing is kept: a contribution is another plant's word, and
there is no other check of it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.leave_class_out import BaseHead
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_client.methods.delivered import first_or_best, fit_delivered
from wg_common.catalogue import CONTRIBUTED

_TINY = 1e-300
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributedMethod:
    """The best contributed head.

    Attributes:
        trained: Whether it is trained on with local records.
        reference: See ``Method``.
    """

    name: str
    title: str
    trained: bool = False
    reference: bool = False

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``."""
        eligible = [c for c in package.candidates if c.source == CONTRIBUTED]
        if not eligible or not len(records.labels):
            return None
        best, trunk = first_or_best(eligible), eligible[0].trunk
        base = recalibrated(best) if records.every_class_seen else best
        features, labels = records.features(trunk), records.labels
        if self.trained:
            mass = records.unseen_mass
            fitted = fit_finetuned(base, features, labels, records.folds, unseen_mass=mass)
        else:
            fitted = fit_delivered(base, features, records)
        taken = best(features, labels)
        return Model(
            trunk=trunk,
            fitted=fitted,
            origin=next(c.name for c in eligible if c.head is taken),
            of_others=True,
        )


AS_DELIVERED = ContributedMethod(name=names.CONTRIBUTED, title="another plant's head")
FINETUNED = ContributedMethod(
    name=names.CONTRIBUTED_FINETUNED, title="another plant's head + local training", trained=True
)


def recalibrated(base: BaseHead) -> BaseHead:
    """The same heads at the temperature, and with the constants, that suit the records."""

    def moved(features: Floats, labels: Ints) -> LinearHead:
        head = base(features, labels)
        factor, constants = recalibration(head.logits(features), labels)
        scaled = head.scaled(factor)
        return LinearHead(scaled.weight, scaled.bias + constants)

    return moved


def recalibration(logits: Floats, labels: Ints) -> tuple[float, Floats]:
    """Factor on logits ``[n, K]``, and constants ``[K]`` added to them, that fit labels best.

    Constants are penalised as normal ones of one nat, since each is fitted to a few records.
    """
    k = logits.shape[1]
    middle = logits - logits.mean(axis=1, keepdims=True)
    largest = max(float(np.abs(logits).max()), _TINY)
    size = largest * float(np.sqrt(np.mean((middle / largest) ** 2)))
    alike = size <= _ROUNDING * largest  # rows that are all the same say nothing
    unit, targets = (0.0 if alike else 1.0 / size) * middle, np.eye(k)[labels]

    def loss(values: Floats) -> tuple[float, Floats]:
        factor, constants = values[0], values[1:]
        moved = factor * unit + constants
        excess = softmax(moved, axis=1) - targets
        total = logsumexp(moved, axis=1).sum() - (moved * targets).sum()
        slope = np.append((excess * unit).sum(), excess.sum(axis=0) + constants)
        return float(total + 0.5 * constants @ constants), slope

    bounds = [(0.0, None), *[(None, None)] * k]
    found = minimize(loss, np.append(1.0, np.zeros(k)), jac=True, method="L-BFGS-B", bounds=bounds)
    return 0.0 if alike else float(found.x[0]) / size, np.asarray(found.x[1:])
