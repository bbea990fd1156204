"""Delivered heads, as they came and trained on with the plant's records."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.fitted import Fitted
from wg_client.fitting.leave_class_out import LeaveClassOut, class_means
from wg_client.fitting.linear_head import best_temperature, log_loss
from wg_client.methods.base import (
    Candidate,
    LabelledRecords,
    Model,
    Package,
    correctness,
)
from wg_common.catalogue import SAME_FAMILY


def as_delivered(candidate: Candidate, records: LabelledRecords) -> Fitted:
    """A candidate as it came, at the temperature that suits the records.

    A temperature changes no prediction, and makes the probabilities mean something.
    """
    labels, repeats = records.labels, len(records.folds.assignment)
    logits = candidate.head.logits(records.features(candidate.trunk))
    predictions = np.tile(logits.argmax(axis=1), (repeats, 1))
    factor = best_temperature(logits, labels) if len(labels) else 1.0
    leave_class_out = LeaveClassOut()
    if records.unseen_mass and len(labels):
        leave_class_out = LeaveClassOut(
            recalls=class_means(correctness(predictions, labels), labels)
        )
    return Fitted(
        candidate.head.scaled(factor),
        predictions,
        np.tile(log_loss(logits * factor, labels), (repeats, 1)),
        {"temperature": f"{1 / factor:.4g}"},
        logits=np.tile(logits * factor, (repeats, 1, 1)),
        leave_class_out=leave_class_out,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredMethod:
    """The best candidate of some sources.

    Attributes:
        sources: Of candidates.
        reused: See ``Model``; heads of the plant's family come from records of others.
        trained: Whether it is trained on with local records.
        unchecked_rank: See ``Model``.
        alone_rank: The same of a head of the plant's family, or where the plant has no record.
    """

    name: str
    title: str
    sources: Collection[str]
    reused: tuple[str, str]
    trained: bool = False
    unchecked_rank: int | None = None
    alone_rank: int | None = None
    reference: bool = False

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``.

        The trunk is left alone where a declared class has no records: steps on the others cost what
        the delivered head knows of it (docs/decisions/0055).
        """
        candidate = package.best(self.sources, records)
        if candidate is None or (self.trained and not len(records.labels)):
            return None
        trunk, family = candidate.trunk, candidate.source == SAME_FAMILY
        if not self.trained:
            fitted = as_delivered(candidate, records)
        else:
            fitted = fit_finetuned(
                fixed(candidate.head),
                records.features(trunk),
                records.labels,
                records.folds,
                unseen_mass=records.unseen_mass,
            )
            if records.every_class_seen:
                trunk, fitted = records.tune(trunk, fitted)
        return Model(
            trunk=trunk,
            fitted=fitted,
            origin=candidate.name,
            reused=None if family else self.reused,
            unchecked_rank=(
                self.alone_rank if family or not len(records.all_labels) else self.unchecked_rank
            ),
        )
