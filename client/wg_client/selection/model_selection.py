"""Model selection: every method's model against local-only on the plant's own records.

Each method fits its model; each model is compared with local-only out of fold, by one rule
(``gain``); every check is run on every comparison. Of the models that pass all checks the one with
the largest margin is kept, otherwise local-only; a network for the declared machine has precedence
(``precedence``). The rule itself is evaluated like a model: for the records of a fold it selects by
the other folds. Without any labelled record nothing can be compared, and the policy decides. With
records of one class only the policy decides as well, but a model must recognise these records. The
acceptance set is never used.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wg_client.data.recipient_plant import StepProgressCallback
from wg_client.fitting.fitted_model import OutOfFoldPredictions
from wg_client.fitting.linear_head import Floats, Ints, log_loss
from wg_client.methods import registry as methods
from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage
from wg_client.methods.method_names import HANDED_ON_FINETUNED, LOCAL_ONLY
from wg_client.models.manifest import CheckFinding
from wg_client.selection import gain, precedence
from wg_client.selection.checks import registry as checks
from wg_client.selection.checks.base import ModelComparison
from wg_client.selection.gain import EstimatedAccuracy, EstimatedGain, UnseenClassShare
from wg_common.language import Text, join_sentences, text
from wg_core.errors import NotAcceptedError
from wg_core.site.acceptance import AcceptanceConfig


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionOutcome:
    """Result of model selection: all models, their comparisons, and the kept one.

    Attributes:
        models: Models by name, in the order of the methods; without labelled records local-only is
            missing.
        comparisons: Comparison of each other evaluated model with local-only, by name.
        findings: Findings of the checks about these models.
        kept_name: Name of the kept model.
        reason: Reason for keeping it, for the plant engineer.
        records: The plant's records.
        rule_predictions: Predictions for each record by the model that the rule selects without
            the record's fold; None if nothing was held out.
    """

    models: Mapping[str, FittedMethod]
    comparisons: Mapping[str, ModelComparison]
    findings: Sequence[CheckFinding]
    kept_name: str
    reason: Text
    records: PlantRecords
    rule_predictions: OutOfFoldPredictions | None = None

    @property
    def unlikeness_finding(self) -> CheckFinding | None:
        """Finding of check WG-F12 (records unlike the kind of plant) if it failed, else None."""
        findings = (f for f in self.findings if f.code == checks.UNLIKE_CODE and not f.passed)
        return next(findings, None)

    @property
    def keeps_delivered_model(self) -> bool:
        """True if delivered weights were kept, unchanged or fine-tuned."""
        return self.kept_name != LOCAL_ONLY

    @cached_property
    def labels(self) -> Ints:
        """Labels ``[m]`` of the evaluated records, in the order of predictions."""
        return self.records.evaluated_labels

    def unseen_labels(self, declared_labels: Sequence[str]) -> tuple[str, ...]:
        """Return the declared labels that no labelled record has."""
        present = set(self.records.labels.tolist())
        return tuple(label for index, label in enumerate(declared_labels) if index not in present)

    def out_of_fold_predictions(self, name: str) -> OutOfFoldPredictions | None:
        """Return a model's out-of-fold predictions; for the kept model ``rule_predictions``.

        None if nothing was held out, or if all labels are of one class.
        """
        if not self.records.has_several_classes:
            return None
        return (
            self.rule_predictions
            if name == self.kept_name
            else self.models[name].fitted_model.out_of_fold
        )

    def estimate_accuracy(self, name: str) -> EstimatedAccuracy | None:
        """Estimate a model's accuracy on new records; None if it was not evaluated."""
        judged, out_of_fold = (
            self.out_of_fold_predictions(name),
            self.models[name].fitted_model.out_of_fold,
        )
        if judged is None or out_of_fold is None:
            return None
        return gain.estimate_model_accuracy(self.records, out_of_fold, judged)


def select_model(
    records: PlantRecords,
    package: PreparedPackage,
    policy: AcceptanceConfig,
    class_names: Sequence[str] = (),
    progress: StepProgressCallback | None = None,
) -> SelectionOutcome:
    """Fit all models, compare them, and select one.

    Args:
        records: The plant's records.
        package: The package.
        policy: Rules by which delivered weights may be kept.
        class_names: Names of the classes, for messages; empty: numbers are used.
        progress: Receives the number of finished methods and of all methods.

    Raises:
        NotAcceptedError: No record is labelled, and the policy keeps no unchecked model, or there
            is no evidence for any delivered model.
    """
    models = {}
    for number, method in enumerate(methods.METHODS):
        if progress is not None:
            progress(number, len(methods.METHODS))
        model = method.fit(records, package)
        if model is not None:
            models[method.name] = model
    comparisons = _compare_models(models, records, package, policy, class_names)
    findings = checks.run_checks(comparisons.values())
    blocked_models = {finding.model for finding in findings if finding.blocks_model}
    if not len(records.labels):
        kept_name, reason = _unlabelled_choice_and_reason(models, blocked_models, package, policy)
        return SelectionOutcome(
            models=models,
            comparisons={},
            findings=findings,
            kept_name=kept_name,
            reason=reason,
            records=records,
        )
    one_class = _choose_single_class_model(comparisons, blocked_models)
    unfit = {f.model for f in findings if f.blocks_model and f.code != checks.GAIN_CODE}
    fit_models = {name: c for name, c in comparisons.items() if name not in unfit}
    contest = _DecisionRule(models, records, fit_models)
    kept_name = one_class or contest.choose_kept_model()
    return SelectionOutcome(
        models=models,
        comparisons={name: c for name, c in comparisons.items() if c.local_only is not None},
        findings=findings,
        kept_name=kept_name,
        reason=_selection_reason(kept_name, findings, package),
        records=records,
        rule_predictions=models[kept_name].fitted_model.out_of_fold
        if one_class
        else contest.predict_out_of_fold(),
    )


def _compare_models(
    models: Mapping[str, FittedMethod],
    records: PlantRecords,
    package: PreparedPackage,
    policy: AcceptanceConfig,
    class_names: Sequence[str],
) -> dict[str, ModelComparison]:
    """Compare each other model with local-only, if there are labels.

    If the package says nothing of the classes, no model is compared. A network for a declared
    machine has a comparison even if labels cannot evaluate it.
    """
    references = {method.name for method in methods.METHODS if method.is_reference}
    local, head_start = models.get(LOCAL_ONLY), precedence.head_start(package, records)
    has_precedence = any(model.made_for_machine for model in models.values())
    comparisons: dict[str, ModelComparison] = {}
    for name in (name for name in models if name not in references):
        model, estimate = models[name], gain.UNKNOWN_GAIN
        if local is not None:
            out_of_fold, local_out_of_fold = (
                model.fitted_model.out_of_fold,
                local.fitted_model.out_of_fold,
            )
            is_judged = out_of_fold is not None and local_out_of_fold is not None
            if not package.is_informative or not (is_judged or model.made_for_machine):
                continue
            if out_of_fold is not None and local_out_of_fold is not None:
                groups = records.evaluated_unit_indices
                estimate = _estimate_gain(model, out_of_fold, local_out_of_fold, records, groups)
        comparisons[name] = ModelComparison(
            name=name,
            model=model,
            local_only=local if math.isfinite(estimate.log_loss) else None,
            prior_score=precedence.prior_score(name, model, head_start) if has_precedence else None,
            gain=estimate,
            records=records,
            package=package,
            policy=policy,
            class_names=class_names,
        )
    return comparisons


def _estimate_gain(
    model: FittedMethod,
    out_of_fold: OutOfFoldPredictions,
    local: OutOfFoldPredictions,
    records: PlantRecords,
    groups: Ints,
) -> EstimatedGain:
    return gain.estimate_gain(
        gain.PairedDifferences(
            _loss_among_local_classes(local.logits, local.labels, records)
            - out_of_fold.losses.mean(axis=0),
            out_of_fold.correct_share - local.correct_share,
            groups,
        ),
        records.folds.fold_count,
        UnseenClassShare(
            share=records.unseen_mass,
            class_count=records.class_count - len(np.unique(records.labels)),
        ),
        model.fitted_model.leave_class_out,
    )


def _loss_among_local_classes(logits: Floats, labels: Ints, records: PlantRecords) -> Floats:
    """Return log losses ``[m]`` of records, with probabilities over classes with records only.

    The loss on other classes, of which local-only knows nothing, is in ``gain``.
    """
    local_classes = np.unique(records.labels)
    dense = np.searchsorted(local_classes, labels)
    losses = [log_loss(repeat_logits[:, local_classes], dense) for repeat_logits in logits]
    return np.asarray(np.mean(losses, axis=0))


def _choose_single_class_model(
    comparisons: Mapping[str, ModelComparison], blocked_models: Collection[str]
) -> str:
    """Return the most promising model if all labels are of one class; empty if there is none.

    The decision rule needs evidence that such labels cannot give. Of the models that no check
    blocks, the one with the largest gain in log loss is returned.
    """
    gains = {
        name: comparison.gain.log_loss
        for name, comparison in comparisons.items()
        if comparison.accepts_single_class and name not in blocked_models
    }
    return max(gains, key=lambda name: gains[name], default="")


class _DecisionRule:
    """Decision rule of ``gain`` and ``precedence``, applied to one plant's models.

    Args:
        models: All models by name.
        records: The plant's records.
        comparisons: Comparisons of the models that pass all checks except the rule itself.
    """

    def __init__(
        self,
        models: Mapping[str, FittedMethod],
        records: PlantRecords,
        comparisons: Mapping[str, ModelComparison],
    ) -> None:
        self._models, self._records = models, records
        self._margins = {
            name: comparison.required_standard_errors for name, comparison in comparisons.items()
        }
        self._priors = {
            name: comparison.prior_score or 0.0 for name, comparison in comparisons.items()
        }
        self._delivered = next((name for name in comparisons if models[name].made_for_machine), "")
        by_model = {
            name: models[name].fitted_model.out_of_fold for name in (LOCAL_ONLY, *comparisons)
        }
        self._predictions = {name: part for name, part in by_model.items() if part is not None}

    def choose_kept_model(self) -> str:
        """Return the name of the model to keep."""
        if LOCAL_ONLY not in self._predictions:
            is_kept = self._delivered and self._priors[self._delivered] > 0
            return self._delivered if is_kept else LOCAL_ONLY
        return self._choose_model(self._predictions, self._records.evaluated_unit_indices)

    def predict_out_of_fold(self) -> OutOfFoldPredictions | None:
        """Predict each record by the model that the rule selects on the other folds."""
        if LOCAL_ONLY not in self._predictions:
            return None
        predictions, records = self._predictions, self._records
        local, groups = predictions[LOCAL_ONLY], records.evaluated_unit_indices
        repeats = min(len(part.logits) for part in predictions.values())
        logits = local.logits[:repeats].copy()
        for repeat in range(repeats):
            fold = records.folds.fold_of_record[repeat]
            for out in range(records.folds.fold_count):
                training = fold != out
                parts = {
                    name: part.without_fold(repeat, out, training)
                    for name, part in predictions.items()
                }
                choice = self._choose_model(parts, groups[training])
                logits[repeat, ~training] = predictions[choice].logits[repeat, ~training]
        return OutOfFoldPredictions(
            logits=logits,
            inner_logits=local.inner_logits[:repeats],
            labels=records.evaluated_labels,
        )

    def _choose_model(self, predictions: Mapping[str, OutOfFoldPredictions], groups: Ints) -> str:
        """Return the name of the model that the rule selects by predictions of some records.

        Among models made for this kind of plant the fine-tuned one replaces the others if it may be
        kept. Its own cross-validation has already selected how much of the delivered model to use;
        a second selection by the same few labels would be random.
        """
        local = predictions[LOCAL_ONLY]
        gains = {
            name: _estimate_gain(self._models[name], part, local, self._records, groups)
            for name, part in predictions.items()
            if name != LOCAL_ONLY
        }
        if self._delivered in gains:
            units, scores = len(np.unique(groups)), {LOCAL_ONLY: 0.0}
            for name, estimate in gains.items():
                if self._priors[name] or estimate.is_significant(self._margins[name]):
                    scores[name] = precedence.selection_score(estimate, units, self._priors[name])
            return max(scores, key=lambda name: scores[name])
        better = {
            name: estimate.log_loss_margin(self._margins[name])
            for name, estimate in gains.items()
            if estimate.is_significant(self._margins[name])
        }
        if HANDED_ON_FINETUNED in better and self._models[HANDED_ON_FINETUNED].made_for_plant_kind:
            of_kind = {name for name in better if self._models[name].made_for_plant_kind}
            of_kind -= {HANDED_ON_FINETUNED}
            better = {name: value for name, value in better.items() if name not in of_kind}
        return max(better, key=lambda name: better[name], default=LOCAL_ONLY)


def _selection_reason(
    kept_name: str, findings: Iterable[CheckFinding], package: PreparedPackage
) -> Text:
    if kept_name != LOCAL_ONLY:
        kept_findings = (
            f
            for f in findings
            if f.model == kept_name and (f.code == checks.GAIN_CODE or not f.passed)
        )
        return join_sentences(*(finding.message for finding in kept_findings))
    if not package.candidates and package.posterior is None:
        return text("Nothing was delivered: this model was trained on your own labels alone.")
    if not package.is_informative:
        return text(
            "No other site has released statistics of these classes, and the server has no "
            "records of this kind of plant: the delivered models know no more about them "
            "than your own records do, so that none of them can replace your own model."
        )
    doubts = {
        f.code: f.message
        for f in findings
        if f.code in (checks.UNLIKE_CODE, checks.SHEET_CODE) and not f.passed
    }
    return join_sentences(
        text("No delivered model was shown to be better than your own model on your records."),
        *doubts.values(),
    )


def _unlabelled_choice_and_reason(
    models: Mapping[str, FittedMethod],
    blocked_models: Collection[str],
    package: PreparedPackage,
    policy: AcceptanceConfig,
) -> tuple[str, Text]:
    ranks = {
        name: model.priority_without_labels
        for name, model in models.items()
        if model.priority_without_labels is not None and name not in blocked_models
    }
    if not ranks or not policy.accepts_without_labels:
        raise NotAcceptedError(
            text(
                "WG-F11: there are no local labels, so nothing can be checked: either "
                "acceptance.checks blocks this, or no model passed the checks that need no "
                "labels"
            )
        )
    if not package.has_outside_knowledge and package.family_unlikeness:
        raise NotAcceptedError(
            text(
                "WG-F12: your records do not look like the operator's records of the kind of "
                "plant that your class names suggest, and no other site has released statistics"
                " of these classes. Label some records, or wait for another site's release"
            )
        )
    if not package.has_outside_knowledge:
        raise NotAcceptedError(
            text(
                "WG-F11: there are no local labels, and no evidence for the delivered models: "
                "no other site has released statistics of these classes, and the server has no "
                "records of this kind of plant. Label some records, or wait for another site's "
                "release"
            )
        )
    # Development sites, others had released
    other_sites = text(
        "At other sites such models classified about 590 of 1,000 records correctly; at"
        " one site in ten fewer than 370, at one in ten more than 910."
    )
    if package.has_similar_family:
        why = text("The operator has records of this kind of plant.")
    elif package.made_for_machine:
        why = text("The server generated it for the machine that this plant declares.")
        other_sites = text(
            "Such networks classified about 720 of 1,000 windows correctly at simulated "
            "bearings, and 700 at the one real bearing that was tested."  # bench/results/day_one.md
        )
    else:
        why = text("Other sites have released statistics of these classes.")
    no_measurement = text("Nothing was measured here: there are no labels.")
    return max(ranks, key=lambda name: ranks[name]), join_sentences(
        no_measurement, why, other_sites
    )
