"""A fitted head with its out-of-fold predictions: what every method hands to model selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from wg_client.fitting.folds import Folds, Predict, select
from wg_client.fitting.learners import RowIndex
from wg_client.fitting.leave_class_out import LeaveClassOut
from wg_client.fitting.linear_head import Floats, Ints, LinearHead


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model fitted on all labelled records.

    Attributes:
        head: Over the whole declared label domain.
        predictions: Out-of-fold class of each labelled record, int64 ``[repeats, n]``; -1 if
            nothing was held out.
        losses: Their log loss, nats, ``[repeats, n]``; zeros if nothing was held out.
        settings: What cross-validation chose, for the manifest.
        factor: Factor on the head's logits with the least out-of-fold loss.
        held_out: (repeat, fold) -> the head that predicted this fold, its logits scaled likewise;
            None if nothing was held out.
        logits: Out-of-fold logits, scaled likewise, ``[repeats, n, K]``; None where nobody asks.
        leave_class_out: How it does on classes without records.
    """

    head: LinearHead
    predictions: Ints
    losses: Floats
    settings: dict[str, str] = field(default_factory=dict)
    factor: float = 1.0
    held_out: Callable[[int, int], LinearHead] | None = None
    logits: Floats | None = None
    leave_class_out: LeaveClassOut = field(default_factory=LeaveClassOut)


Refit = Callable[[RowIndex | slice, int], LinearHead]
"""(training rows, configuration) -> the head."""


def cross_validated(
    predict: Predict, refit: Refit, labels: Ints, folds: Folds, prior: Floats
) -> tuple[Fitted, int]:
    """Choose a configuration by cross-validation and fit it on all records.

    Args:
        predict: As for ``folds.select``.
        refit: Fits one configuration.
        labels: ``[n]``.
        folds: From ``folds.stratified``; without two non-empty folds the prior alone decides.
        prior: Penalty of each configuration, nats.

    Returns:
        The fit, and the index of its configuration.
    """
    everything = slice(None)
    if not folds.usable:
        chosen = int(np.argmin(prior))
        nothing = np.full(folds.assignment.shape, -1, dtype=np.int64)
        return Fitted(refit(everything, chosen), nothing, np.zeros(nothing.shape)), chosen
    selection = select(predict, labels, folds, prior)

    def held_out(repeat: int, fold: int) -> LinearHead:
        choice = int(selection.choices[repeat, fold])
        train = np.flatnonzero(folds.assignment[repeat] != fold)
        return refit(train, choice).scaled(selection.factors[choice])

    fitted = Fitted(
        refit(everything, selection.chosen),
        selection.predictions,
        selection.record_losses,
        factor=float(selection.factors[selection.chosen]),
        held_out=held_out,
        logits=selection.logits,
    )
    return fitted, selection.chosen
