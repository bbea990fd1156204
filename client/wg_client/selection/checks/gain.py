"""Check WG-F01: the model was not shown to be better than local-only on the plant's own records.

A model made for the declared machine fails only if labels show it to be worse.
"""

from wg_client.models.manifest import CheckFinding
from wg_client.selection import precedence
from wg_client.selection.checks.base import ModelComparison
from wg_client.selection.gain import EstimatedGain
from wg_common.language import text

CODE = "WG-F01"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Pass if the gain in log loss exceeds a required number of its standard errors.

    With records of one class only, local-only always predicts this class and cannot be beaten. A
    model then also passes if it recognises a required share of these records, before and after
    fine-tuning. The finding is None if no labelled record can be evaluated.
    """
    if comparison.local_only is None:
        return None
    if comparison.prior_score:
        return _machine_network_finding(comparison, comparison.prior_score)
    gain, margin = comparison.gain, comparison.required_standard_errors
    is_passed = gain.is_significant(margin)
    if comparison.accepts_single_class and not is_passed:
        return _one_class_finding(comparison)
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=is_passed,
        figures={
            "gain": gain.accuracy_gain,
            "sd": gain.accuracy_gain_se,
            "log_loss_gain": gain.log_loss,
            "log_loss_se": gain.log_loss_se,
            "standard_errors": margin,
            "unseen_recall": gain.unseen_recall,
        },
        message=text(
            "Log loss on new records is {loss:.3f} {lower} than your own model's, with standard"
            " error {error:.3f}; it must be lower by more than {asked:g} standard errors. "
            "Accuracy: {right:+.1f} ± {sd:.1f} points{more}.",
            loss=abs(gain.log_loss),
            lower=text("lower") if gain.log_loss > 0 else text("higher"),
            error=gain.log_loss_se,
            asked=margin,
            right=100 * gain.accuracy_gain,
            sd=100 * gain.accuracy_gain_se,
            more=_missing_accuracy_words(gain, margin),
        ),
    )


def _machine_network_finding(comparison: ModelComparison, prior_score: float) -> CheckFinding:
    """Return the finding on a network for this machine, which fails only if labels refute it."""
    gain, units = comparison.gain, comparison.evaluated_unit_count
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=precedence.selection_score(gain, units, prior_score) > 0,
        figures={
            "gain": gain.accuracy_gain,
            "sd": gain.accuracy_gain_se,
            "log_loss_gain": gain.log_loss,
            "log_loss_se": gain.log_loss_se,
            "units": units,
            "prior": prior_score,
            "unseen_recall": gain.unseen_recall,
        },
        message=text(
            "Log loss on new records is {loss:.3f} {lower} than your own model's, with standard"
            " error {error:.3f}. Accuracy: {right:+.1f} ± {sd:.1f} points. The model was"
            " generated for this machine, and stays unless your labels show that it is worse:"
            " both gains add up to {total:+.1f} over {units} units, and less than {least:.1f}"
            " would replace it.",
            loss=abs(gain.log_loss),
            lower=text("lower") if gain.log_loss > 0 else text("higher"),
            error=gain.log_loss_se,
            right=100 * gain.accuracy_gain,
            sd=100 * gain.accuracy_gain_se,
            total=precedence.selection_score(gain, units, 0.0),
            units=units,
            least=-prior_score,
        ),
    )


def _missing_accuracy_words(gain: EstimatedGain, standard_errors: float) -> str:
    """Return words on the accuracy that the model must reach; empty if it does."""
    if gain.has_enough_accuracy_gain(standard_errors):
        return ""
    return (
        text(", and it must be higher")
        if standard_errors > 0
        else text(", and it must not be lower")
    )


def _one_class_finding(comparison: ModelComparison) -> CheckFinding:
    """Return the finding if all labels are of one class: the model must recognise its records."""
    judged_labels, fitted_model = comparison.records.evaluated_labels, comparison.model.fitted_model
    recalls = fitted_model.leave_class_out.recalls
    learnt = float(fitted_model.correct_share.mean())
    recall = min(learnt, float(recalls.mean())) if len(recalls) else 0.0
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=recall >= comparison.least_recall,
        figures={"recall": recall, "limit": comparison.least_recall},
        message=text(
            "All labelled records are of one class, {label}: your own model predicts no other "
            "class, and your labels cannot show which model is better. A delivered model is"
            " selected if it classifies {least:.0f} % of these records correctly, before "
            "and after fine-tuning; it reaches {recall:.0f} %.",
            label=comparison.quoted_label(int(judged_labels[0])),
            least=100 * comparison.least_recall,
            recall=100 * recall,
        ),
    )
