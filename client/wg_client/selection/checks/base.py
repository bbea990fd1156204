"""The seam of acceptance checks: a comparison of a model with local-only in, a finding out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wg_client.fitting.replacement import replacement_errors
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_client.models.manifest import Finding
from wg_client.selection.gain import Gain
from wg_common.language import text
from wg_core.site.acceptance import AcceptanceConfig

CONFIDENCE = 0.95  # Of every one-sided bound


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Comparison:
    """A model against local-only on the plant's labelled records.

    Attributes:
        name: Name of the model's method.
        model: The challenger.
        local: Local-only; None if no labelled record is judged.
        alternatives: Number of models that may be kept in its place.
        is_incumbent: Whether it was made for the stated machine, and labels must show another to be
            better (``fitting.replacement``).
        gain: Gain of the model over local-only, estimated; ``gain.UNKNOWN`` if none is judged.
        records: The records.
        package: The package.
        policy: The plant's acceptance policy.
        labels: Names of the classes; empty where they have none.
    """

    name: str
    model: Model
    local: Model | None
    gain: Gain
    records: LabelledRecords
    package: Package
    policy: AcceptanceConfig
    labels: Sequence[str] = ()
    alternatives: int = 1
    is_incumbent: bool = False

    @property
    def errors_asked(self) -> float:
        """By how many of its standard errors the gain must be above zero.

        None are asked of what was made for this kind of plant, from records that the operator owns,
        or of what was trained on from a network for the machine that it states. Half as many, but
        not fewer than one, where some classes, but not all but one, have no record: local-only
        never names these.
        """
        if self.model.of_kind:
            return 0.0
        errors = self.policy.standard_errors
        some_missing = self.records.unseen_mass and not self.records.one_class
        return max(errors / 2, min(1.0, errors)) if some_missing else errors

    @property
    def replacement_errors(self) -> float:
        """By how many of its standard errors another model must gain over one that stays."""
        units = len(np.unique(self.records.judged_groups))
        return replacement_errors(units, self.alternatives)

    @property
    def one_class(self) -> bool:
        """True if labels cannot say which model is better, and others' word counts instead."""
        return (
            self.records.one_class
            and self.package.is_known_elsewhere
            and self.policy.without_labels
        )

    @property
    def least_recall(self) -> float:
        """Share of a class's records that must be recognised: that of guessing."""
        return 1 / self.records.classes

    def label(self, index: int) -> str:
        """A class in a sentence: its name, or its number where there are no names."""
        if not self.labels:
            return text("class {number}", number=index + 1)
        return f"'{self.labels[index]}'"


class AcceptanceCheck(Protocol):
    """One check. It must not change what it is given."""

    def __call__(self, comparison: Comparison) -> Finding | None:
        """Look at one model; None where the check cannot be made, for want of labels or records."""
