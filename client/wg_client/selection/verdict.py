"""Verdict of the report: the recommendation, and the figures that support it.

It is looked up by three facts: the evidence behind the model's selection, the interval of the
difference in accuracy on classes with records, and the evidence on the other classes. The report
promises no class that other sites or the operator have no records of, whatever the model predicts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy.special import stdtrit

from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models.calls import ONE_CLASS_WARNING
from wg_client.selection import gain
from wg_client.selection.checks import few_sites
from wg_client.selection.model_selection import SelectionOutcome
from wg_common.language import Text, text


class SelectionBasis(StrEnum):
    """Evidence behind the selection of the kept model."""

    NOTHING_DELIVERED = "alone"  # Local-only is kept: nothing was delivered
    NONE_BETTER = "own"  # Local-only is kept: no delivered model was better
    TOO_FEW_LABELS = "too few"  # Local-only is kept: too few labels to evaluate it
    LOCAL_OF_ONE_CLASS = "own class"  # Local-only is kept: all labels are of one class
    NO_LABELS = "unlabelled"  # A delivered model is kept: there are no labels
    DELIVERED_OF_ONE_CLASS = "one class"  # A delivered model is kept: all labels are of one class
    TOO_FEW_UNITS = "unjudged"  # A delivered model is kept: labels are of too few units
    COMPARED = "compared"  # A delivered model is kept: it was better than local-only


class AccuracyChange(StrEnum):
    """Change in accuracy on classes with records, from local-only to the kept model."""

    HIGHER = "more"
    NOT_SHOWN = "not shown"
    LOWER = "fewer"


class UnseenClassClaims(StrEnum):
    """Claims that the evidence allows on classes without a local record."""

    NONE = "none"
    POSSIBLE = "possible"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class ReportVerdict:
    """Recommendation of the report in a few words, with its reason in a sentence.

    Attributes:
        advice: Recommendation.
        reason: Reason, with the figures that support it.
        recommends_delivered: True if the recommendation is to use a delivered model.
    """

    advice: Text
    reason: Text
    recommends_delivered: bool


_KEEP_OWN_MODEL = text("Keep your own model")
_USE_THIS_MODEL = text("Use this model")
_VERDICT_BY_BASIS: Mapping[SelectionBasis, ReportVerdict] = {
    SelectionBasis.NOTHING_DELIVERED: ReportVerdict(
        text("Use your own model"),
        text("It was trained on your own labels alone; no weights were delivered yet."),
        False,
    ),
    SelectionBasis.NONE_BETTER: ReportVerdict(
        _KEEP_OWN_MODEL,
        text("No delivered model was shown to be better on your own records."),
        False,
    ),
    SelectionBasis.TOO_FEW_LABELS: ReportVerdict(
        text("Label more records"),
        text("There are too few labels for a model: begin with ten records of each class."),
        False,
    ),
    SelectionBasis.LOCAL_OF_ONE_CLASS: ReportVerdict(
        text("Use your own model only to find records that are unlike yours"),
        ONE_CLASS_WARNING,
        False,
    ),
    SelectionBasis.NO_LABELS: ReportVerdict(
        text("Use this model, and have a person check every prediction"),
        text("None of your records has a label, so the model could not be checked."),
        True,
    ),
    SelectionBasis.DELIVERED_OF_ONE_CLASS: ReportVerdict(
        _USE_THIS_MODEL,
        text(
            "All labelled records are of one class, so the model could not be checked on "
            "the others."
        ),
        True,
    ),
    SelectionBasis.TOO_FEW_UNITS: ReportVerdict(
        text("Use this model, and have a person check every prediction"),
        text("Each class has labels from too few units to check the model."),
        True,
    ),
}
_VERDICT_BY_COMPARISON: Mapping[tuple[AccuracyChange, UnseenClassClaims], ReportVerdict] = {
    (AccuracyChange.HIGHER, UnseenClassClaims.NONE): ReportVerdict(
        _USE_THIS_MODEL,
        text("It classifies more of your own records correctly than your own model does."),
        True,
    ),
    (AccuracyChange.HIGHER, UnseenClassClaims.POSSIBLE): ReportVerdict(
        _USE_THIS_MODEL,
        text(
            "It classifies more of your own records correctly than your own model does, and"
            " can recognise classes that yours cannot."
        ),
        True,
    ),
    (AccuracyChange.HIGHER, UnseenClassClaims.DOUBTFUL): ReportVerdict(
        _USE_THIS_MODEL,
        text(
            "It classifies more of your own records correctly than your own model does. It "
            "is not shown to recognise classes of which you have no record."
        ),
        True,
    ),
    (AccuracyChange.NOT_SHOWN, UnseenClassClaims.NONE): ReportVerdict(
        _USE_THIS_MODEL,
        text(
            "Its probabilities are more reliable. It is not shown to classify more of your "
            "own records correctly."
        ),
        True,
    ),
    (AccuracyChange.NOT_SHOWN, UnseenClassClaims.POSSIBLE): ReportVerdict(
        text("Use this model if you need the classes that you have no record of"),
        text("It can recognise these classes. No change is shown on the other classes."),
        True,
    ),
    (AccuracyChange.NOT_SHOWN, UnseenClassClaims.DOUBTFUL): ReportVerdict(
        text("Use your own model, and run this one in shadow"),
        text(
            "It is shown neither to classify more of your own records correctly nor to "
            "recognise classes of which you have no record."
        ),
        False,
    ),
    (AccuracyChange.LOWER, UnseenClassClaims.NONE): ReportVerdict(
        text("Use your own model, and run this one in shadow"),
        text(
            "The rule selected it, although in cross-validation its selections classified "
            "fewer of your records correctly."
        ),
        False,
    ),
    (AccuracyChange.LOWER, UnseenClassClaims.POSSIBLE): ReportVerdict(
        text("Use this model only for the classes that you have no record of"),
        text(
            "It can recognise these classes, but classifies fewer records of the other "
            "classes correctly."
        ),
        True,
    ),
    (AccuracyChange.LOWER, UnseenClassClaims.DOUBTFUL): ReportVerdict(
        text("Use your own model, and run this one in shadow"),
        text(
            "The rule selected it, although in cross-validation its selections classified "
            "fewer of your records correctly."
        ),
        False,
    ),
}


def report_verdict(
    basis: SelectionBasis, change: AccuracyChange, unseen_claims: UnseenClassClaims
) -> ReportVerdict:
    """Return the report's recommendation for the given evidence."""
    return (
        _VERDICT_BY_BASIS[basis]
        if basis in _VERDICT_BY_BASIS
        else _VERDICT_BY_COMPARISON[change, unseen_claims]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenClasses:
    """Declared classes without a local record.

    Attributes:
        supported_classes: Classes that enough other sites support, or that the operator has records
            of.
        few_site_classes: Classes that other sites released, but that too few sites support.
        unsupported_classes: All other classes.
        recall_interval: Recall on a class without records, estimated from classes left out in
            trials: lower end of the 95 % interval, estimate and upper end; None: too few were left
                out.
    """

    supported_classes: tuple[str, ...] = ()
    few_site_classes: tuple[str, ...] = ()
    unsupported_classes: tuple[str, ...] = ()
    recall_interval: tuple[float, float, float] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes without a local record."""
        return self.supported_classes + self.few_site_classes + self.unsupported_classes

    @property
    def allowed_claims(self) -> UnseenClassClaims:
        """Claims on classes without a local record that the evidence allows."""
        if not self.labels:
            return UnseenClassClaims.NONE
        is_shown = self.recall_interval is not None and self.recall_interval[0] > 0
        return (
            UnseenClassClaims.POSSIBLE
            if self.supported_classes and is_shown
            else UnseenClassClaims.DOUBTFUL
        )


def describe_unseen_classes(outcome: SelectionOutcome, labels: Sequence[str]) -> UnseenClasses:
    """Describe the kept model's knowledge of declared classes without a local record."""
    absent = outcome.unseen_labels(labels)
    comparison = outcome.comparisons.get(outcome.kept_name)
    if not absent or comparison is None:
        return UnseenClasses(unsupported_classes=absent)
    posterior, model = comparison.package.posterior, comparison.model
    present = {index for index, name in enumerate(labels) if name not in absent}
    counts = {} if posterior is None else few_sites.supporting_site_counts(posterior, present)
    known_classes = [
        name
        for index, name in enumerate(labels)
        if name in absent
        and (model.made_for_plant_kind or counts.get(index, 0) >= few_sites.LEAST_SUPPORTING_SITES)
    ]
    doubted_classes = [
        name for index, name in enumerate(labels) if index in counts and name not in known_classes
    ]
    recalls = comparison.model.fitted_model.leave_class_out.recalls
    recall = None
    if len(recalls) > 1:
        middle = float(recalls.mean())
        spread = float(recalls.std(ddof=1)) * math.sqrt(1 + 1 / len(recalls))
        half = spread * float(stdtrit(len(recalls) - 1, (1 + gain.INTERVAL_COVERAGE) / 2))
        recall = max(middle - half, 0.0), middle, min(middle + half, 1.0)
    return UnseenClasses(
        supported_classes=tuple(known_classes),
        few_site_classes=tuple(doubted_classes),
        unsupported_classes=tuple(
            name for name in absent if name not in (*known_classes, *doubted_classes)
        ),
        recall_interval=recall,
    )


def selection_basis(outcome: SelectionOutcome) -> SelectionBasis:
    """Return the kind of evidence by which the kept model was selected."""
    if not outcome.keeps_delivered_model:
        if outcome.models[LOCAL_ONLY].fitted_model.out_of_fold is None:
            return SelectionBasis.TOO_FEW_LABELS
        if not outcome.records.has_several_classes:
            return SelectionBasis.LOCAL_OF_ONE_CLASS
        return (
            SelectionBasis.NONE_BETTER
            if outcome.models.keys() - {LOCAL_ONLY}
            else SelectionBasis.NOTHING_DELIVERED
        )
    if not len(outcome.records.labels):
        return SelectionBasis.NO_LABELS
    if outcome.records.has_single_class:
        return SelectionBasis.DELIVERED_OF_ONE_CLASS
    return SelectionBasis.COMPARED if outcome.comparisons else SelectionBasis.TOO_FEW_UNITS


def classify_accuracy_change(low: float, high: float) -> AccuracyChange:
    """Classify a difference in accuracy by both ends of its interval."""
    return (
        AccuracyChange.HIGHER
        if low > 0
        else AccuracyChange.LOWER
        if high < 0
        else AccuracyChange.NOT_SHOWN
    )
