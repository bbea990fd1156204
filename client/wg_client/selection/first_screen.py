"""First screen of the report: the summary for a manager, in plain words, of measured facts only.

Its central statement is the verdict, which follows from the figures (``verdict``). Sentences are
``language.Text``, so that each page has them in its language.
"""

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_client.data.plant_data import PlantData
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models.acceptance import AcceptanceResults, good_labels
from wg_client.models.manifest import CheckFinding
from wg_client.selection import defects
from wg_client.selection.checks import few_sites
from wg_client.selection.defects import DetectionRate, DetectionRates
from wg_client.selection.gain import EstimatedAccuracy
from wg_client.selection.model_selection import SelectionOutcome
from wg_client.selection.verdict import (
    AccuracyChange,
    ReportVerdict,
    UnseenClasses,
    classify_accuracy_change,
    describe_unseen_classes,
    report_verdict,
    selection_basis,
)
from wg_common.language import Text, join_sentences, template, text
from wg_core.release.budget import PlantSpending

_CAUGHT_DEFECTS_SENTENCE = template(
    "It labels about {kept} of 100 defective records as defective ({low} to {high})."
)
_PASSED_GOOD_SENTENCE = template(
    "It labels about {kept} of 100 good records as good ({low} to {high})."
)
_CORRECT_SENTENCE = template(
    "It classifies about {kept} of 100 records correctly ({low} to {high})."
)


@dataclass(frozen=True, slots=True)
class QuestionWithAnswer:
    """Question of a manager with its answer."""

    title: Text
    sentences: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class NumberOutOf100:
    """Number out of 100 with its 95 % interval, as text and as a grid of coloured squares."""

    estimate: str
    low: str
    high: str
    squares: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """First screen of the report: recommendation, reason, accuracy, and questions with answers.

    Attributes:
        verdict: Recommendation and reason.
        correct_of_100: Records out of 100 that the recommended model labels correctly; None: not
            measured.
        questions: Questions of a manager with their answers.
    """

    verdict: ReportVerdict
    correct_of_100: NumberOutOf100 | None
    questions: tuple[QuestionWithAnswer, ...]


@dataclass(frozen=True, slots=True)
class HomeState:
    """State of the plant's home as a report is written.

    Attributes:
        spend: Spending of the plant's budget.
        acceptance: Evaluation of the models on the acceptance set.
        is_in_use: True if ``predict`` uses this package's model.
        is_in_shadow: True if this package's model predicts alongside the one in use.
    """

    spend: PlantSpending
    acceptance: AcceptanceResults
    is_in_use: bool
    is_in_shadow: bool


def build_first_screen(
    home_folder: Path, plant: PlantData, outcome: SelectionOutcome, home_state: HomeState
) -> FirstScreen:
    """Build the first screen of the report.

    Args:
        home_folder: The plant's home folder.
        plant: The plant.
        outcome: Outcome of the selection.
        home_state: Budget, acceptance results and models in use.
    """
    labels = plant.data.label_names
    figures = defects.measure_detection_rates(
        outcome, labels, good_labels(labels, plant.config.data.good)
    )
    unseen = describe_unseen_classes(outcome, labels)
    sentence = report_verdict(
        selection_basis(outcome), _accuracy_change(figures), unseen.allowed_claims
    )
    recommended_model = outcome.kept_name if sentence.recommends_delivered else LOCAL_ONLY
    return FirstScreen(
        sentence,
        None
        if figures.correct_rate is None
        else _number_out_of_100(outcome.estimate_accuracy(recommended_model)),
        (
            QuestionWithAnswer(
                text("What changes"), tuple(_change_sentences(outcome, figures, unseen))
            ),
            QuestionWithAnswer(
                text("Verdicts that a line can obey"),
                tuple(_acceptance_sentences(home_state.acceptance)),
            ),
            QuestionWithAnswer(
                text("What it costs in privacy"), tuple(_privacy_sentences(plant, home_state.spend))
            ),
            QuestionWithAnswer(
                text("What cannot be known"), tuple(_unknown_sentences(outcome, figures))
            ),
            QuestionWithAnswer(
                text("What to do next"),
                tuple(_next_step_sentences(home_folder, plant, outcome, sentence, home_state)),
            ),
        ),
    )


def _number_out_of_100(accuracy: EstimatedAccuracy | None) -> NumberOutOf100 | None:
    if accuracy is None:
        return None
    shares = accuracy.mean, accuracy.low, accuracy.high
    middle, low, high = (
        _format_out_of_100(share, accuracy.high - accuracy.low) for share in shares
    )
    ends = [round(100 * share) for share in (accuracy.low, accuracy.mean, accuracy.high)]
    squares = [("right", "likely", "possible", "wrong")[bisect(ends, at)] for at in range(100)]
    return NumberOutOf100(middle, low, high, tuple(squares))


def _accuracy_change(detection_rates: DetectionRates) -> AccuracyChange:
    share = detection_rates.correct_rate
    return (
        AccuracyChange.NOT_SHOWN
        if share is None
        else classify_accuracy_change(share.low, share.high)
    )


def nonblocking_failures(outcome: SelectionOutcome) -> list[CheckFinding]:
    """List the failed checks of the kept model, which did not prevent its selection."""
    return [f for f in outcome.findings if f.model == outcome.kept_name and not f.passed]


def _join_codes(findings: Iterable[CheckFinding]) -> str:
    return ", ".join(dict.fromkeys(finding.code for finding in findings))


def _change_sentences(
    outcome: SelectionOutcome, detection_rates: DetectionRates, unseen: UnseenClasses
) -> Iterator[Text]:
    if outcome.unlikeness_finding is not None:
        yield text(outcome.unlikeness_finding.message)
    if detection_rates.correct_rate is None:
        yield outcome.reason
        return
    if not outcome.keeps_delivered_model:
        yield text("Nothing: you continue with the model from your own labels.")
    for share, words in (
        (detection_rates.caught_defects_rate, _CAUGHT_DEFECTS_SENTENCE),
        (detection_rates.passed_good_rate, _PASSED_GOOD_SENTENCE),
        (detection_rates.correct_rate, _CORRECT_SENTENCE),
    ):
        if share is not None:
            yield _rate_sentence(share, words)
    if detection_rates.good_labels and detection_rates.caught_defects_rate is not None:
        yield text(
            'Good means: {labels}. Set "data.good" in client.yaml to change that.',
            labels=_join_names(detection_rates.good_labels),
        )
    if unseen.labels:
        yield text(
            "These figures exclude {classes}, because you have no record of them.",
            classes=_join_names(unseen.labels),
        )
    if not outcome.keeps_delivered_model:
        return
    if unseen.supported_classes and unseen.recall_interval is not None:
        least, likely, highest = unseen.recall_interval
        yield text(
            "In addition it may recognise about {middle} of 100 records of {classes} ({low}"
            " to {high}), judging by classes that were left out in trials; your own model "
            "recognises none.",
            classes=_join_names(unseen.supported_classes),
            middle=_format_out_of_100(likely, 1),
            low=_format_out_of_100(least, 1),
            high=_format_out_of_100(highest, 1),
        )
    elif unseen.supported_classes:
        yield text(
            "Whether it recognises {classes} was not tested: too few classes have records here.",
            classes=_join_names(unseen.supported_classes),
        )
    if unseen.few_site_classes:
        yield text(
            "Do not rely on it for {classes}: fewer than {needed} sites agree on each.",
            classes=_join_names(unseen.few_site_classes),
            needed=few_sites.LEAST_SUPPORTING_SITES,
        )
    if unseen.unsupported_classes:
        yield text(
            "Do not expect it to recognise {classes}: nobody has released statistics of it.",
            classes=_join_names(unseen.unsupported_classes),
        )


def _acceptance_sentences(results: AcceptanceResults) -> Iterator[Text]:
    """Yield the kept model's false accepts and rejects, or the reason why they are unknown."""
    if results.pass_rule is not None:
        yield results.pass_rule.guarantee_sentence
    kept_model, local = (
        results.counts_for_model(results.kept_model),
        results.counts_for_model(LOCAL_ONLY),
    )
    if kept_model is None:
        yield text(
            "This was not yet tested on records set aside. To find out how many defective records"
            " pass and how many good ones are rejected, set aside a folder of records that no"
            " training uses (data.acceptance): 299 good and 299 defective records without an error"
            " show at most 1 in 100."
        )
        return
    if kept_model.false_accepts is None or kept_model.false_rejects is None:
        yield text("It is not known which labels are good: name them (data.good).")
        return
    for words, errors in (
        (_FALSE_ACCEPTS_SENTENCE, kept_model.false_accepts),
        (_FALSE_REJECTS_SENTENCE, kept_model.false_rejects),
    ):
        upper_bound = f"{100 * errors.upper_bound():.1f}"
        yield text(words, wrong=errors.wrong, records=errors.records, most=upper_bound)
    local_accepts = None if local is None else local.false_accepts
    local_rejects = None if local is None else local.false_rejects
    if local_accepts and local_rejects and results.kept_model != LOCAL_ONLY:
        yield text(
            "Your own model would let {accepts} pass and reject {rejects}.",
            accepts=local_accepts.wrong,
            rejects=local_rejects.wrong,
        )
    missing = kept_model.false_rejects.records_needed(), kept_model.false_accepts.records_needed()
    if any(missing):
        yield text(
            "To show at most 1 in 100, it takes {good} more good and {defective} more defective"
            " records without another wrong call.",
            good=missing[0],
            defective=missing[1],
        )


_FALSE_ACCEPTS_SENTENCE = template(
    "Of {records} defective records it lets {wrong} pass: at most {most} in 100."
)
_FALSE_REJECTS_SENTENCE = template(
    "Of {records} good records it rejects {wrong}: at most {most} in 100."
)


def _rate_sentence(rate: DetectionRate, sentence_template: str) -> Text:
    """State a model's rate and local-only's, with the difference only if it is significant."""
    accuracy = rate.kept
    spread = accuracy.high - accuracy.low
    shares = {"kept": accuracy.mean, "low": accuracy.low, "high": accuracy.high}
    sentence = text(
        sentence_template,
        **{name: _format_out_of_100(value, spread) for name, value in shares.items()},
    )
    if rate.local is None:
        return sentence
    own_share = _format_out_of_100(rate.local.mean, spread)
    if rate.low <= 0 <= rate.high:
        return join_sentences(
            sentence, text("Your own model: {own}; no difference is shown.", own=own_share)
        )
    return join_sentences(
        sentence,
        text(
            "Your own model: {own}; the difference is {more:+.1f} ({least:+.1f} to {most:+.1f}).",
            own=own_share,
            more=100 * rate.more,
            least=100 * rate.low,
            most=100 * rate.high,
        ),
    )


def _format_out_of_100(share: float, interval_width: float) -> str:
    """Format a share as a number out of 100, with digits that suit its interval."""
    return f"{100 * share:.{1 if interval_width < 0.02 else 0}f}"


def _join_names(names: Sequence[str]) -> str:
    max_names = 6
    listing = ", ".join(names[:max_names])
    return listing if len(names) <= max_names else f"{listing}, … ({len(names)})"


def _privacy_sentences(plant: PlantData, spend: PlantSpending) -> list[Text]:
    if not spend.releases:
        return [
            text(
                "Nothing computed from your records has left the plant, and no privacy budget "
                "was spent."
            )
        ]
    unit = plant.config.data.unit_column
    return [
        text(
            "Releases so far: {count}. Each consists of noisy sums over your records; no "
            "record, picture or file name has left.",
            count=sum(row.size is not None for row in spend.releases),
        ),
        text(
            "Somebody who has all of them and guesses whether a certain {unit} was in your "
            "data is right at most {right} times in 100; tossing a coin is right 50 times.",
            unit=text("record") if unit is None else unit,
            right=min(round(100 * spend.best_guess_accuracy + 0.5), 100),
        ),
        text(
            "Of your budget (ε {cap}), ε {spent:.2f} is spent. It does not come back.",
            cap=spend.cap_epsilon,
            spent=spend.epsilon,
        ),
    ]


def _unknown_sentences(
    outcome: SelectionOutcome, detection_rates: DetectionRates
) -> Iterator[Text]:
    rough_width = 0.1
    named_share = detection_rates.correct_rate
    if named_share is not None and named_share.kept.high - named_share.kept.low > rough_width:
        yield text(
            "The exact figures: with {count} labelled records they are uncertain by "
            "{margin} in 100 in either direction.",
            count=len(outcome.records.labels),
            margin=_format_out_of_100((named_share.kept.high - named_share.kept.low) / 2, 1),
        )
    if len(outcome.records.labels) and outcome.records.privacy_units is None:
        yield text(
            "Whether several records belong to one part or one recording, because no "
            "privacy unit is named. If they do, these figures are too optimistic."
        )
    yield text(
        "How it performs on machines, and on kinds and sizes of fault, of which you have no record."
    )
    yield text("How it performs when the camera, light, material or sensors change.")
    yield text("Whether it detects defects that are not declared as a class.")


def _next_step_sentences(
    home_folder: Path,
    plant: PlantData,
    outcome: SelectionOutcome,
    verdict: ReportVerdict,
    home_state: HomeState,
) -> Iterator[Text]:
    labels, findings = plant.data.label_names, nonblocking_failures(outcome)
    absent = describe_unseen_classes(outcome, labels).labels
    if findings:
        yield text("Read the findings under {codes}, below.", codes=_join_codes(findings))
    if home_state.is_in_shadow and (
        verdict.recommends_delivered or not outcome.keeps_delivered_model
    ):
        yield text(
            "Another model is in use, and this one runs in shadow. To put it into use: "
            "wg-client models use --home {home} --shadow --by NAME",
            home=home_folder,
        )
    if home_state.is_in_use and outcome.keeps_delivered_model and not verdict.recommends_delivered:
        yield text(
            "To use your own model and run this one in shadow: wg-client models use --home "
            "{home} PACKAGE --model local-only --by NAME, then wg-client models shadow",
            home=home_folder,
        )
    yield text(
        "Try it on new records: wg-client predict --home {home} NEW_RECORDS --out result.csv",
        home=home_folder,
    )
    if not len(outcome.records.labels):
        yield text("Label ten records of each class, freeze, and ask for weights again.")
        return
    yield text('Have a person check the records that it marks as "unsure" or "new".')
    counts = np.bincount(outcome.records.labels, minlength=len(labels))
    if absent:
        yield text("Collect and label records of {classes}.", classes=_join_names(absent))
    elif counts.min() < 20:
        fewest = labels[int(counts.argmin())]
        yield text(
            "Label more records of {label}: there are {count}.",
            label=fewest,
            count=int(counts.min()),
        )
