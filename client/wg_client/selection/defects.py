"""Defect detection rates: share of defective records found, and of good records passed.

A defective record is found if its predicted label is any label that means a defect. All rates are
measured out of fold on the plant's own records; what was not measured is left out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from wg_client.fitting.fitted_model import OutOfFoldPredictions
from wg_client.fitting.network_replacement import clustered_standard_error
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.selection import gain
from wg_client.selection.gain import EstimatedAccuracy
from wg_client.selection.model_selection import SelectionOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRate:
    """Share of records that the kept model classifies correctly, compared with local-only.

    Attributes:
        kept: Share for the kept model, on new records.
        local: Share for local-only; None if local-only is kept.
        more: Kept minus local-only, on the same records.
        low: Lower end of the 95 % interval of ``more``.
        high: Upper end.
    """

    kept: EstimatedAccuracy
    local: EstimatedAccuracy | None
    more: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRates:
    """Detection rates at a plant; None in place of a rate that could not be measured.

    Attributes:
        good_labels: Labels that mean "no defect".
        correct_rate: Share of records that get the correct label.
        caught_defects_rate: Share of defective records that get any label of a defect.
        passed_good_rate: Share of good records that get a label that means "no defect".
    """

    good_labels: tuple[str, ...]
    correct_rate: DetectionRate | None = None
    caught_defects_rate: DetectionRate | None = None
    passed_good_rate: DetectionRate | None = None


def measure_detection_rates(
    outcome: SelectionOutcome, labels: Sequence[str], good_labels: Sequence[str]
) -> DetectionRates:
    """Return the detection rates of the kept model and of local-only, measured out of fold.

    Args:
        outcome: Outcome of the selection.
        labels: The label domain.
        good_labels: Labels that mean "no defect"; the others are defects.
    """
    kept_predictions = outcome.out_of_fold_predictions(outcome.kept_name)
    if kept_predictions is None or not len(outcome.labels):
        return DetectionRates(good_labels=tuple(good_labels))
    local_model = outcome.models.get(LOCAL_ONLY)
    local = (
        None
        if outcome.kept_name == LOCAL_ONLY or local_model is None
        else local_model.fitted_model.out_of_fold
    )
    named_share = _measure_rate(
        outcome, kept_predictions, local, lambda calls, truth: calls == truth, None
    )
    expected = outcome.estimate_accuracy(outcome.kept_name)
    if named_share is not None and expected is not None:
        named_share = replace(named_share, kept=expected)
    indices = np.flatnonzero([label in good_labels for label in labels])
    if not 0 < len(indices) < len(labels):
        return DetectionRates(good_labels=tuple(good_labels), correct_rate=named_share)

    def is_good(classes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(np.isin(classes, indices), dtype=np.bool_)

    clean = is_good(outcome.labels)

    def agree(calls: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(is_good(calls) == is_good(truth))

    return DetectionRates(
        good_labels=tuple(good_labels),
        correct_rate=named_share,
        caught_defects_rate=_measure_rate(outcome, kept_predictions, local, agree, ~clean),
        passed_good_rate=_measure_rate(outcome, kept_predictions, local, agree, clean),
    )


def _measure_rate(
    outcome: SelectionOutcome,
    kept_predictions: OutOfFoldPredictions,
    local_predictions: OutOfFoldPredictions | None,
    is_correct: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]],
    record_mask: NDArray[np.bool_] | None,
) -> DetectionRate | None:
    """Return one detection rate, measured over some records; None for fewer than two units."""
    mask = np.ones(len(outcome.labels), bool) if record_mask is None else record_mask
    groups = np.unique(outcome.records.evaluated_unit_indices[mask], return_inverse=True)[1]
    if len(np.unique(groups)) < 2:
        return None
    truth = outcome.labels[mask]

    def shares(out_of_fold: OutOfFoldPredictions) -> NDArray[np.float64]:
        correct = [is_correct(calls, truth) for calls in out_of_fold.predictions[:, mask]]
        return np.asarray(np.mean(correct, axis=0), dtype=np.float64)

    kept_shares = shares(kept_predictions)
    if local_predictions is None:
        return DetectionRate(kept=gain.estimate_accuracy(kept_shares, groups), local=None)
    local_shares = shares(local_predictions)
    differences = kept_shares - local_shares
    folds = outcome.records.folds.fold_count
    error = math.sqrt(1 + folds / (folds - 1)) * clustered_standard_error(differences, groups)
    units = len(np.unique(groups))
    half = error * float(stdtrit(units - 1, (1 + gain.INTERVAL_COVERAGE) / 2))
    # A few units that all agree cannot show that no unit will differ.
    half = max(half, 1 - ((1 - gain.INTERVAL_COVERAGE) / 2) ** (1 / units))
    middle = float(differences.mean())
    return DetectionRate(
        kept=gain.estimate_accuracy(kept_shares, groups),
        local=gain.estimate_accuracy(local_shares, groups),
        more=middle,
        low=max(middle - half, -1.0),
        high=min(middle + half, 1.0),
    )
