"""Fine-tuning of delivered weights on the plant's records, free to discard the weights.

The model is the base head, scaled by s, plus a part that is fitted on the plant's records
(``learners``); at s = 0 the base head is ignored. Cross-validation with a prior selects s and the
learner.

Classes without local records are not trained: the softmax is fitted over classes with records, and
the others keep the base head's rows, at the same scale, with one common bias. Their accuracy is
estimated by leave-class-out. With m the expected share of future records from these classes,
learner and bias minimise the log loss of a mixture: m of records of classes left out, 1 - m of the
others.
"""

from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted_model import FittedModel, select_and_fit
from wg_client.fitting.folds import Configurations, Folds, RowIndices
from wg_client.fitting.learners import LEARNERS_AROUND_BASE, Learner, fit_learners
from wg_client.fitting.leave_class_out import BaseHeadFitter, LearnerEvaluation, evaluate_logits
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_common.inference.discriminants import centre_over_classes


def constant_base_fitter(head: LinearHead) -> BaseHeadFitter:
    """Return a function that returns ``head`` as base head, whatever the training records are."""
    return lambda features, labels: head


def normalised_base_fitter(fit_base_head: BaseHeadFitter) -> BaseHeadFitter:
    """Return a function that fits a base head as ``fit_base_head`` does, and scales it.

    The head's logits of the training records are centred over classes, with root mean square 1.
    """

    def fit_scaled(features: Floats, labels: Ints) -> LinearHead:
        head = fit_base_head(features, labels)
        weight, bias = centre_over_classes(head.weight, head.bias)
        size = float(np.sqrt(np.mean((features @ weight.T + bias) ** 2)))
        return LinearHead(weight, bias).scale_logits(1.0 / size if size > 1e-9 else 0.0)

    return fit_scaled


def fit_finetuned(
    fit_base_head: BaseHeadFitter,
    features: Floats,
    labels: Ints,
    folds: Folds,
    *,
    unseen_mass: float,
) -> FittedModel:
    """Fine-tune a head on the plant's records.

    Args:
        fit_base_head: Function from training records to the base head over K classes;
            ``constant_base_fitter`` makes one from a delivered head.
        features: Features of labelled records, float64 ``[n, d]``, n at least 1.
        labels: Labels of the records, ``[n]``.
        folds: From ``folds.stratified_folds``.
        unseen_mass: Expected share m of future records of classes without local records.
    """
    base = normalised_base_fitter(fit_base_head)
    classes_present = np.unique(labels)
    unseen = len(base(features, labels).bias) - len(classes_present)

    def predict(train: RowIndices, test: RowIndices) -> list[Floats]:
        x, y = features[train], labels[train]
        head = base(x, y)
        base_logits = head.logits(features[test])
        parts, rows = fit_learners(LEARNERS_AROUND_BASE, x, y, head.logits(x))
        results: list[Floats] = []
        for learner, part in zip(LEARNERS_AROUND_BASE, parts, strict=True):
            # Classes without records, here or in this fold, keep their delivered rows.
            logits = learner.unseen_scale * base_logits
            logits[:, rows] = learner.base_scale * base_logits[:, rows] + part.logits(
                features[test]
            )
            results.append(logits)
        return results

    def refit(rows: RowIndices | slice, choice: int) -> LinearHead:
        return _fit_around_base(base, features[rows], labels[rows], LEARNERS_AROUND_BASE[choice])

    def judge(train: RowIndices, test: RowIndices, choice: int) -> Floats:
        return refit(train, choice).logits(features[test])

    trials = None
    if folds.is_usable and unseen and len(np.unique(labels[folds.evaluated_rows])) > 2:
        trials = LearnerEvaluation(base, features, labels, folds, unseen_mass)
    prior = np.array([learner.prior_penalty for learner in LEARNERS_AROUND_BASE])
    configurations = Configurations(predict, judge, prior)
    fitted_head, trial = select_and_fit(configurations, refit, labels, folds, trials)
    learner = LEARNERS_AROUND_BASE[trial]
    if trials is not None:
        fitted_head = replace(fitted_head, leave_class_out=trials.evaluate_learner(trial))
    elif folds.is_usable and unseen:
        # Evaluated without local records: after fitting on them the head would know these classes.
        before = fit_base_head(features[:0], labels[:0]).logits(features)
        fitted_head = replace(fitted_head, leave_class_out=evaluate_logits(before, labels))
    settings = {"local_part": learner.name, "offset_scale": repr(learner.base_scale)}
    return replace(fitted_head, settings=settings)


def _fit_around_base(
    fit_base_head: BaseHeadFitter, features: Floats, labels: Ints, learner: Learner
) -> LinearHead:
    """Fit a learner around a base head's logits; classes without records keep the base rows."""
    start = fit_base_head(features, labels)
    (part,), rows = fit_learners((learner,), features, labels, start.logits(features))
    weight, bias = learner.unseen_scale * start.weight, learner.unseen_scale * start.bias
    weight[rows] = learner.base_scale * start.weight[rows] + part.weight
    bias[rows] = learner.base_scale * start.bias[rows] + part.bias
    return LinearHead(weight, bias)
