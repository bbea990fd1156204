"""Evidence for each layer of the differential privacy pyramid of NIST SP 800-226.

The guarantee at the top is worth what the layers below it are worth. For each layer: what this
log shows, and what it cannot show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wg_audit import charge_words
from wg_audit.accounts import worst
from wg_audit.succession import NOT_CHECKED
from wg_audit.verdict import duration, utc
from wg_audit.verification import Finding
from wg_core.language import listed, text
from wg_core.ledger.auditor_record import BUDGET_UNKNOWN, FIRST, NAMES_PREDECESSOR
from wg_core.ledger.entries import Audit, Charge

_NONE = text("no charge on this log")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, from the top: name, evidence in the log, limits of that evidence."""

    name: str
    shown: tuple[str, ...]
    not_shown: str


def layers(
    finding: Finding, newest: Charge | None, audits: Sequence[Audit], reports: int
) -> tuple[Layer, ...]:
    """All layers, top first, with evidence from the newest charge; so many are quality reports."""
    return (
        _epsilon(finding),
        _unit(newest),
        _trust(finding),
        _algorithms(newest, audits),
        _utility(reports),
        _side_channels(newest),
        _security(finding),
        _collection(newest),
    )


def _epsilon(finding: Finding) -> Layer:
    top = worst(finding.accounts)
    shown = (
        (
            text(
                "ε {epsilon:.4f} of a cap of {cap:g} at δ {delta:g}, composed over every charge,"
                " also burned ones",
                epsilon=top.primary,
                cap=top.cap_epsilon,
                delta=top.delta,
            ),
            text("recomputed by independent code: {epsilon:.4f}", epsilon=top.independent),
        )
        if top
        else (text("no budget was registered"),)
    )
    return Layer(
        text("ε and δ"), shown, text("Whether this ε is acceptable is for people to decide.")
    )


def _unit(newest: Charge | None) -> Layer:
    if newest is None:
        return Layer(text("Unit of privacy"), (_NONE,), "")
    found = newest.guarantee
    return Layer(
        text("Unit of privacy"),
        (
            text(
                "one {unit}, neighbouring relation {relation}",
                unit=charge_words.said(found.unit),
                relation=charge_words.said(found.adjacency),
            ),
            text(
                "several records of a unit: {rule}", rule=charge_words.said(found.records_per_unit)
            ),
            text("variant: {variant}", variant=charge_words.said(found.variant)),
        ),
        text("That the site's column really names the unit, and that no person or part is in two."),
    )


def _trust(finding: Finding) -> Layer:
    answers = [text("fixed statistics whose layout does not depend on the data")]
    return Layer(
        text("Trust model and queries"),
        (
            text("noise is added on site, before anything leaves: the recipient is not trusted"),
            text("answers: {answers}", answers=listed(answers, "; ")),
            text("witnesses: {witnesses}", witnesses=_witnesses(finding)),
            text("log before this one: {status}", status=_LOG_BEFORE[finding.succession.status]),
        ),
        text("That the site itself keeps to this program: its own staff see the data anyway."),
    )


_LOG_BEFORE = {
    FIRST: text("none"),
    NAMES_PREDECESSOR: text("named"),
    BUDGET_UNKNOWN: text("budget unknown"),
    NOT_CHECKED: text("not checked"),
}


def _witnesses(finding: Finding) -> str:
    found = finding.verdict
    if not found.needed:
        named = ", ".join(dict.fromkeys(x.name for x in found.witnesses)) or text("none")
        return text("{names}, by the log's own word", names=named)
    seen = ", ".join(f"{x.name} {x.key_id}" for x in found.witnesses if x.size)
    return text(
        "{by} of {witnesses} known by key ({seen})",
        by=found.cosigned_by,
        witnesses=len(found.witnesses),
        seen=seen,
    )


def _algorithms(newest: Charge | None, audits: Sequence[Audit]) -> Layer:
    shown = []
    if newest is not None:
        shown += [
            text("mechanism: {name}", name=charge_words.said(newest.mechanism.name)),
            text(
                "squared sensitivity {square} and σ are on each charge; both, μ² and ε follow from"
                " its blocks and weights (derived again by other code)",
                square=newest.mechanism.sensitivity_squared,
            ),
            text("accountant: {name}", name=charge_words.said(newest.mechanism.accountant)),
        ]
    shown.append(
        text(
            "canary audit: lower bound ε ≥ {bound} for a claim of {claim} with {canaries} canaries",
            bound=audits[-1].lower_bound,
            claim=audits[-1].claimed_epsilon,
            canaries=audits[-1].canaries,
        )
        if audits
        else text("no canary audit is recorded")
    )
    return Layer(
        text("Algorithms and correctness"),
        tuple(shown),
        text(
            "That the program which ran is the one named: its digest is the site's own statement."
        ),
    )


def _utility(reports: int) -> Layer:
    if reports:
        shown = text(
            "quality reports: {count}, noisy counts of how often delivered candidates were right;"
            " all other results on the site's data stay at the site",
            count=reports,
        )
    else:
        shown = text("nothing: results on the site's data stay at the site")
    return Layer(
        text("Utility and bias"),
        (shown,),
        text("Noise weighs more on rare classes; the site's own report says how much."),
    )


def _side_channels(newest: Charge | None) -> Layer:
    if newest is None:
        return Layer(text("Side channels"), (_NONE,), "")
    found = newest.implementation
    return Layer(
        text("Side channels"),
        (
            text("floating point: {what}", what=charge_words.said(found.floating_point)),
            text("timing: {what}", what=charge_words.said(found.timing)),
            text("randomness: {what}", what=charge_words.said(found.randomness)),
            text("a refusal does not depend on the data: the budget is public arithmetic"),
        ),
        text("Whether and when a site answers, power, caches, and other programs on its machines."),
    )


def _security(finding: Finding) -> Layer:
    history = finding.history
    return Layer(
        text("Data security and access control"),
        (
            text(
                "{size} entries in one hash chain and Merkle tree, {heads} signed checkpoints, all"
                " verified",
                size=history.state.size,
                heads=len(history.heads),
            ),
            text(
                "cosigned up to entry {to} of {size}{by}",
                to=history.witnessed_size,
                size=history.state.size,
                by="" if finding.verdict.needed else text(", by the log's own word"),
            ),
            text("newest cosignature: {age}", age=_age(finding)),
            text("received files held against their charges: {count}", count=len(finding.received)),
            text(
                "{count} signing key(s), each rotation signed by both keys",
                count=len(history.state.keys),
            ),
        ),
        text(
            "A release that bypasses the ledger: only the site's network policy can stop it; the"
            " server refuses statistics that no entry covers."
        ),
    )


def _age(finding: Finding) -> str:
    fresh = finding.fresh
    if fresh.newest is None or fresh.age is None:
        return text("no witness is known by key")
    return text(
        "{when} UTC, {age} before this verification",
        when=utc(fresh.newest),
        age=duration(fresh.age),
    )


def _collection(newest: Charge | None) -> Layer:
    shown = (
        (text("taken as public: {what}", what=charge_words.said(*newest.guarantee.unprotected)),)
        if newest
        else (_NONE,)
    )
    return Layer(
        text("Data collection exposure"),
        shown,
        text("How the data were collected, who else holds them, and what was published before."),
    )
