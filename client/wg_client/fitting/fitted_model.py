"""Fitted heads with their out-of-fold predictions, which every method at a plant returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.folds import (
    Configurations,
    Folds,
    NestedSelection,
    RowIndices,
    UnseenClassCorrection,
    cross_validate_nested,
)
from wg_client.fitting.leave_class_out import LeaveClassOutResult
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, log_loss


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutOfFoldPredictions:
    """Logits of records by models that were trained, and selected, without the record's label.

    Attributes:
        logits: Logits over K classes of the m evaluated records, ``[repeats, m, K]``.
        inner_logits: Logits for selection among models, ``[repeats, folds, m, K]``, from fits
            without the fold and without the record; zeros for records of the fold.
        labels: Labels of the evaluated records, ``[m]``.
    """

    logits: Floats
    inner_logits: Floats
    labels: Ints

    def without_fold(
        self, repeat: int, fold: int, in_training: NDArray[np.bool_]
    ) -> OutOfFoldPredictions:
        """Return the predictions by which a model is selected without one fold of a repeat.

        Args:
            repeat: Index of the repeat.
            fold: Index of the fold in it.
            in_training: Mask of the evaluated records in other folds, ``[m]``.
        """
        inner = self.inner_logits[repeat, fold, in_training][None]
        return OutOfFoldPredictions(
            logits=inner, inner_logits=inner[None], labels=self.labels[in_training]
        )

    def full_training_gain(self, fold_assignment: Ints) -> float:
        """Estimate the accuracy gained by one more fold of training data.

        It is the accuracy of ``logits`` minus that of ``inner_logits``, but at least 0.

        Args:
            fold_assignment: Fold of each record in each repeat, ``[repeats, m]``.
        """
        folds = np.arange(self.inner_logits.shape[1])[:, None]
        in_training = (
            fold_assignment[: len(self.inner_logits), None] != folds
        )  # [repeats, folds, m]
        right = self.inner_logits.argmax(axis=3) == self.labels
        return max(0.0, float(self.correct_share.mean() - right[in_training].mean()))

    @property
    def losses(self) -> Floats:
        """Log loss of each of the m evaluated records, nats, ``[repeats, m]``."""
        return np.stack([log_loss(logits, self.labels) for logits in self.logits])

    @property
    def predictions(self) -> Ints:
        """Classes that the out-of-fold logits predict, int64 ``[repeats, m]``."""
        return np.asarray(self.logits.argmax(axis=2))

    @property
    def correct_share(self) -> Floats:
        """Share of repeats with a correct prediction, per record, ``[m]``."""
        return np.asarray((self.predictions == self.labels).mean(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class FittedModel:
    """A model fitted on all labelled records.

    Attributes:
        head: Head over the whole declared label domain, with calibrated logits.
        out_of_fold: Out-of-fold predictions; None if nothing was held out.
        settings: Settings that cross-validation selected, for the manifest.
        leave_class_out: Estimated quality on classes without records.
    """

    head: LinearHead
    out_of_fold: OutOfFoldPredictions | None
    settings: dict[str, str] = field(default_factory=dict)
    leave_class_out: LeaveClassOutResult = field(default_factory=LeaveClassOutResult)

    @property
    def logits(self) -> Floats | None:
        """Out-of-fold logits, ``[repeats, m, K]``; None if nothing was held out."""
        return None if self.out_of_fold is None else self.out_of_fold.logits

    @property
    def losses(self) -> Floats:
        """Out-of-fold log loss, nats, ``[repeats, m]``; an empty array if nothing was held out."""
        return np.zeros((0, 0)) if self.out_of_fold is None else self.out_of_fold.losses

    @property
    def correct_share(self) -> Floats:
        """Share of repeats with a correct prediction, ``[m]``; ``[0]`` if nothing was held out."""
        return np.zeros(0) if self.out_of_fold is None else self.out_of_fold.correct_share


# (training rows, index of the configuration) -> the head fitted on these rows
ConfigurationFitter = Callable[[RowIndices | slice, int], LinearHead]


def select_and_fit(
    configurations: Configurations,
    fit_configuration: ConfigurationFitter,
    labels: Ints,
    folds: Folds,
    unseen_correction: UnseenClassCorrection | None = None,
) -> tuple[FittedModel, int]:
    """Select a configuration by nested cross-validation, and fit it on all records.

    Args:
        configurations: Configurations that are compared.
        fit_configuration: Function that fits a head, from training rows and the index of a
            configuration.
        labels: Labels of the records, ``[n]``.
        folds: From ``folds.stratified_folds``; without three non-empty folds the prior alone
            decides.
        unseen_correction: Correction for classes without records; None: every class has records.

    Returns:
        The fit, and the index of its configuration.
    """
    all_rows = slice(None)
    if not folds.is_usable:
        best_trial = int(np.argmin(configurations.prior_penalties))
        return FittedModel(fit_configuration(all_rows, best_trial), None), best_trial

    search: NestedSelection = cross_validate_nested(
        configurations, labels, folds, unseen_correction
    )
    head = fit_configuration(all_rows, search.chosen_index)
    if unseen_correction is not None:
        class_bias = unseen_correction(np.ones(len(folds.evaluated_rows), dtype=bool))[0][
            search.chosen_index
        ]
        head = LinearHead(head.weight, head.bias + class_bias)
    fitted_model = FittedModel(
        head.scale_logits(search.inverse_temperature),
        OutOfFoldPredictions(
            logits=search.logits,
            inner_logits=search.inner_logits,
            labels=labels[folds.evaluated_rows],
        ),
    )
    return fitted_model, search.chosen_index
