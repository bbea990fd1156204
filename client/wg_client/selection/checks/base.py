"""Interface of acceptance checks: from the comparison of a model with local-only to a finding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage
from wg_client.models.manifest import CheckFinding
from wg_client.selection.gain import EstimatedGain
from wg_common.language import text
from wg_core.site.acceptance import AcceptanceConfig

CONFIDENCE = 0.95  # Confidence of all one-sided bounds


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModelComparison:
    """Comparison of a model with local-only on the plant's labelled records.

    Attributes:
        name: Name of the model's method.
        model: The model.
        local_only: Local-only; None if no labelled record can be evaluated.
        prior_score: Score before any label, if the package has a network for the declared machine
            (``selection.precedence``); otherwise None.
        gain: Estimated gain over local-only; ``gain.UNKNOWN_GAIN`` without evaluated records.
        records: The plant's records.
        package: The package that the model was made with.
        policy: The plant's acceptance policy.
        class_names: Names of the classes; empty if there are no names.
    """

    name: str
    model: FittedMethod
    local_only: FittedMethod | None
    gain: EstimatedGain
    records: PlantRecords
    package: PreparedPackage
    policy: AcceptanceConfig
    class_names: Sequence[str] = ()
    prior_score: float | None = None

    @property
    def required_standard_errors(self) -> float:
        """Number of standard errors by which the gain must be above zero.

        In general it is the number in the plant's policy. It is 0 for models made for this kind of
        plant from the operator's records, and for models fine-tuned from a network for the declared
        machine. If several classes have records but others have none, so that local-only never
        predicts the others, it is half the policy's number; halving does not lower it below one.
        """
        if self.model.made_for_plant_kind:
            return 0.0
        errors = self.policy.standard_errors
        some_missing = self.records.unseen_mass and not self.records.has_single_class
        return max(errors / 2, min(1.0, errors)) if some_missing else errors

    @property
    def evaluated_unit_count(self) -> int:
        """Number of units with evaluated records."""
        return len(np.unique(self.records.evaluated_unit_indices))

    @property
    def accepts_single_class(self) -> bool:
        """True if a delivered model may be kept although all labels are of one class."""
        return (
            self.records.has_single_class
            and self.package.has_outside_knowledge
            and self.policy.accepts_without_labels
        )

    @property
    def least_recall(self) -> float:
        """Lowest acceptable recall of a class: that of guessing, 1 / (number of classes)."""
        return 1 / self.records.class_count

    def quoted_label(self, index: int) -> str:
        """Return a class's name in quotes, or its number if there are no names."""
        if not self.class_names:
            return text("class {number}", number=index + 1)
        return f"'{self.class_names[index]}'"


class AcceptanceCheck(Protocol):
    """Interface of a check, which must not change its argument."""

    def __call__(self, comparison: ModelComparison) -> CheckFinding | None:
        """Return the finding about one model; None if labels or records for it are missing."""
