"""Rules of when a delivered network has the place that other models must surely win."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting import replacement
from wg_client.fitting.linear_head import Floats
from wg_client.methods.base import LabelledRecords, Model, Package

Ints = NDArray[np.int64]
ALWAYS, LOWER_LOSS, BOUND = "always", "lower log loss", "lower by Student's bound"
EVERY_LABEL = "lower log loss, all labels"
AVERAGE_BY_BOUND = "average by Student's bound"
"""The product's rule, but the average with local-only must win by a bound like other models."""
RULES = (ALWAYS, LOWER_LOSS, EVERY_LABEL, BOUND)
"""Rules of when a delivered network has its place: always; where its log loss is below that of the
shares of classes; the same where a class with labels has too few units to be judged, too; and where
that is shown by a bound."""


class Rule:
    """A rule of when a delivered network has the place that others must surely win.

    Args:
        name: One of ``RULES``.
        groups: Unit of each judged record.
    """

    def __init__(self, name: str, groups: Ints) -> None:
        self._name, self._groups = name, groups

    def __call__(self, losses: Floats, judged: Ints, labels: Ints) -> bool:
        """Arguments and result as of ``replacement.is_above_shares``."""
        if self._name == ALWAYS:
            return True
        counts = np.bincount(labels)
        classes = int(np.count_nonzero(counts))
        gains = -np.log(counts[judged] / len(labels)) - losses
        if self._name == EVERY_LABEL:
            return classes < 2 or float(gains.mean()) > 0
        above = replacement.is_above_shares(losses, judged, labels)
        unjudged = len(np.unique(judged)) < max(classes, 2)
        if self._name == LOWER_LOSS or unjudged or len(judged) != len(self._groups):
            return above
        errors = replacement.replacement_errors(len(np.unique(self._groups)), 1)
        return float(gains.mean()) > errors * replacement.standard_error(gains, self._groups)


@dataclass(frozen=True, slots=True)
class Fit:
    """A method whose model is there already."""

    name: str
    title: str
    reference: bool
    model: Model | None

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``."""
        del records, package
        return self.model
