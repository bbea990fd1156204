"""Evidence for each layer of the differential privacy pyramid of NIST SP 800-226.

The guarantee at the top is worth what the layers below it are worth. For each layer: what this
log shows, and what it cannot show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wg_common.audit.accounts import worst
from wg_common.audit.verdict import duration, utc
from wg_common.audit.verification import Finding
from wg_common.ledger.entries import Audit, Charge

_NONE = "no charge on this log"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, from the top: name, evidence in the log, limits of that evidence."""

    name: str
    shown: tuple[str, ...]
    not_shown: str


def layers(finding: Finding, newest: Charge | None, audits: Sequence[Audit]) -> tuple[Layer, ...]:
    """All layers, top first, with evidence from the newest charge."""
    return (
        _epsilon(finding),
        _unit(newest),
        _trust(finding),
        _algorithms(newest, audits),
        _utility(),
        _side_channels(newest),
        _security(finding),
        _collection(newest),
    )


def _epsilon(finding: Finding) -> Layer:
    top = worst(finding.accounts)
    shown = (
        (
            f"ε {top.primary:.4f} of a cap of {top.cap_epsilon:g} at δ {top.delta:g}, composed "
            "over every charge, also burned ones",
            f"recomputed by independent code: {top.independent:.4f}",
        )
        if top
        else ("no budget was registered",)
    )
    return Layer("ε and δ", shown, "Whether this ε is acceptable is for people to decide.")


def _unit(newest: Charge | None) -> Layer:
    if newest is None:
        return Layer("Unit of privacy", (_NONE,), "")
    found = newest.guarantee
    return Layer(
        "Unit of privacy",
        (
            f"one {found.unit}, neighbouring relation {found.adjacency}",
            f"several records of a unit: {found.records_per_unit}",
            f"variant: {found.variant}",
        ),
        "That the site's column really names the unit, and that no person or part is in two.",
    )


def _trust(finding: Finding) -> Layer:
    answers = ["fixed statistics whose layout does not depend on the data"]
    if any(account.dp_sgd_runs for account in finding.accounts):
        answers.append("checkpoints trained by DP-SGD")
    return Layer(
        "Trust model and queries",
        (
            "noise is added on site, before anything leaves: the recipient is not trusted",
            f"answers: {'; '.join(answers)}",
            f"witnesses: {_witnesses(finding)}",
            f"log before this one: {finding.succession.status}",
        ),
        "That the site itself keeps to this program: its own staff see the data anyway.",
    )


def _witnesses(finding: Finding) -> str:
    found = finding.verdict
    if not found.needed:
        named = ", ".join(dict.fromkeys(x.name for x in found.witnesses)) or "none"
        return f"{named}, by the log's own word"
    seen = ", ".join(f"{x.name} {x.key_id}" for x in found.witnesses if x.size)
    return f"{found.cosigned_by} of {len(found.witnesses)} known by key ({seen})"


def _algorithms(newest: Charge | None, audits: Sequence[Audit]) -> Layer:
    shown = []
    if newest is not None:
        shown += [
            f"mechanism: {newest.mechanism.name}",
            "sampling probability, noise multiplier and steps are on each DP-SGD charge, and its "
            "cost is computed from them (checked by two code bases)"
            if newest.event.mechanism == "dp-sgd"
            else f"squared sensitivity {newest.mechanism.sensitivity_squared} and σ are on each "
            "charge; both, μ² and ε follow from its blocks and weights (derived again by other "
            "code)",
            f"accountant: {newest.mechanism.accountant}",
        ]
    shown.append(
        f"canary audit: lower bound ε ≥ {audits[-1].lower_bound} for a claim of "
        f"{audits[-1].claimed_epsilon} with {audits[-1].canaries} canaries"
        if audits
        else "no canary audit is recorded"
    )
    return Layer(
        "Algorithms and correctness",
        tuple(shown),
        "That the program which ran is the one named: its digest is the site's own statement.",
    )


def _utility() -> Layer:
    return Layer(
        "Utility and bias",
        ("nothing: results on the site's data stay at the site",),
        "Noise weighs more on rare classes; the site's own report says how much.",
    )


def _side_channels(newest: Charge | None) -> Layer:
    if newest is None:
        return Layer("Side channels", (_NONE,), "")
    found = newest.implementation
    return Layer(
        "Side channels",
        (
            f"floating point: {found.floating_point}",
            f"timing: {found.timing}",
            f"randomness: {found.randomness}",
            "a refusal does not depend on the data: the budget is public arithmetic",
        ),
        "Whether and when a site answers, power, caches, and other programs on its machines.",
    )


def _security(finding: Finding) -> Layer:
    history = finding.history
    return Layer(
        "Data security and access control",
        (
            f"{history.state.size} entries in one hash chain and Merkle tree, "
            f"{len(history.heads)} signed checkpoints, all verified",
            f"cosigned up to entry {history.witnessed_size} of {history.state.size}"
            + ("" if finding.verdict.needed else ", by the log's own word"),
            f"newest cosignature: {_age(finding)}",
            f"received files held against their charges: {len(finding.received)}",
            f"{len(history.state.keys)} signing key(s), each rotation signed by both keys",
        ),
        "A release that bypasses the ledger: only the site's network policy can stop it; the "
        "server refuses statistics that no entry covers.",
    )


def _age(finding: Finding) -> str:
    fresh = finding.fresh
    if fresh.newest is None or fresh.age is None:
        return "no witness is known by key"
    return f"{utc(fresh.newest)} UTC, {duration(fresh.age)} before this verification"


def _collection(newest: Charge | None) -> Layer:
    shown = ("taken as public: " + ", ".join(newest.guarantee.unprotected),) if newest else (_NONE,)
    return Layer(
        "Data collection exposure",
        shown,
        "How the data were collected, who else holds them, and what was published before.",
    )
