"""Sentences about the result of ``simulate``: expected gain, result of an offer, verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wg_client.simulate.published_cases import JoiningAdvice, read_published_cases
from wg_client.simulate.verdict import PilotVerdict
from wg_common.language import Text, list_names, text

if TYPE_CHECKING:
    from wg_client.simulate.offers import OfferTrial
    from wg_client.simulate.simulation import Simulation


def gain_sentence(simulation: Simulation) -> Text:
    """Describe the expected gain, and the assumed number of other plants."""
    expectation = simulation.expected
    if not simulation.sites:
        return text("expected gain in accuracy: none, because no other plant has your classes")
    if expectation is None:
        return text(
            "expected gain in accuracy: unknown; no published plant is like yours at "
            "epsilon {epsilon:g} with {sites} others",
            epsilon=simulation.epsilon,
            sites=simulation.sites,
        )
    values = {
        "gain": round(100 * expectation.gain, 1) + 0.0,  # no "-0.0"
        "low": round(100 * expectation.low, 1) + 0.0,
        "high": round(100 * expectation.high, 1) + 0.0,
        "sites": simulation.sites,
        "epsilon": simulation.epsilon,
        "count": expectation.cases,
        "held": 100 * read_published_cases().held,
    }
    if simulation.facts.label_situation == "S3":
        return text(
            "expected accuracy without any label: {gain:.0f} % (80 %: {low:.0f} to "
            "{high:.0f}), from {count} published plants like yours, at epsilon {epsilon:g},"
            " with {sites} other plants that have all classes; the interval was right for "
            "{held:.0f} % of plants",
            **values,
        )
    return text(
        "expected gain in accuracy, in points over all classes: {gain:+.1f} (80 %: "
        "{low:+.1f} to {high:+.1f}), from {count} published plants like yours, at "
        "epsilon {epsilon:g}, with {sites} other plants that have these classes; the "
        "interval was right for {held:.0f} % of plants",
        **values,
    )


def offer_sentences(simulation: Simulation) -> Iterator[Text]:
    """Describe the result of an offer: free weights, and plants to pool with."""
    trial = simulation.offer
    if trial is None:
        return
    yield text(
        "offer of {server}: weights of {kinds} kinds of plants, tried in your own folds; plants"
        " with most of your class names: {sites}",
        server=trial.server,
        kinds=trial.kinds,
        sites=trial.sites,
    )
    if trial.pays and trial.share is not None and trial.share.local is not None:
        yield text(
            "    free weights: {kept:.0f} % correct, your own labels {local:.0f} %; "
            "difference {more:+.1f} points (95 %: {low:+.1f} to {high:+.1f})",
            kept=100 * trial.share.kept.mean,
            local=100 * trial.share.local.mean,
            more=100 * trial.share.more,
            low=100 * trial.share.low,
            high=100 * trial.share.high,
        )
    elif trial.kinds:
        yield text("    free weights: none was shown to be better than your own labels")
    if trial.sheets:
        yield text(
            "    data sheet: this server makes networks from a data sheet of these machines:"
            " {machines}; if your records come from one, add --data-sheet FILE",
            machines=list_names(trial.sheets),
        )


def verdict_sentence(simulation: Simulation) -> Text:
    """Return the verdict of the simulation and its reason, as a sentence."""
    trial = simulation.offer
    match simulation.verdict:
        case PilotVerdict.FREE_WEIGHTS:
            return text("join: free weights pay on your own records, and nothing of yours leaves")
        case PilotVerdict.DATA_SHEET:
            return text("join: networks are made from your data sheet, and nothing of yours leaves")
        case PilotVerdict.POOLING:
            return text("join: a gain is expected; if none comes, your own model stays in use")
        case PilotVerdict.OWN_LABELS:
            return _own_labels_sentence(trial)
    if simulation.decision is JoiningAdvice.STAY_OUT:
        return text(
            "wait: neither your own labels nor pooling are shown to beat the commonest class"
            " ({share:.0f} %); label more records",
            share=100 * simulation.data.commonest_label_accuracy,
        )
    if not simulation.sites:
        return text("wait: for a plant that has your classes")
    return text("wait: ask the operator for a trial")


def _own_labels_sentence(trial: OfferTrial | None) -> Text:
    if trial is None:
        return text(
            "don't pool: your own labels are as good. An operator's offer (--offer) would "
            "show whether free weights help"
        )
    if not trial.sites:
        return text("keep your own: no weights on offer are better, and no plant has your classes")
    return text("don't: your own labels are as good")
