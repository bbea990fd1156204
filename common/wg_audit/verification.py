"""Verification of a log: reads the log and outside evidence, checks both, and gives a verdict."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from wg_audit import forks, freshness, log_succession, server_folder
from wg_audit import site_spend as spending
from wg_audit.forks import ForkFindings
from wg_audit.freshness import Freshness
from wg_audit.log_succession import OtherLogsFindings
from wg_audit.privacy_cost import (
    LineageAccount,
    account_closest_to_cap,
    check_single_charges,
    check_stated_epsilons,
    lineage_accounts,
)
from wg_audit.read_log import AnalysedLog, choose_log_copy, read_log, read_other_log
from wg_audit.received_files import (
    FileComparison,
    GivenLog,
    ReceivedFile,
    list_statistics_files,
    match_files,
)
from wg_audit.server_folder import ServerFolder, SiteEvidence
from wg_audit.site_spend import KnownBudgets, SiteSpend
from wg_audit.stated_texts import StatedTexts
from wg_audit.verdict import FileCounts, OutsideFindings, Verdict, build_verdict
from wg_common.auditor_record import CHECKPOINT_FILE, MembershipProof
from wg_common.language import text
from wg_core.errors import ExitCode, VerificationError
from wg_core.ledger import entries, log_sources
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.trust_anchors import NO_ANCHORS, TrustAnchors
from wg_core.privacy.schema import GRADIENTS, MACHINE_STATISTICS
from wg_core.wire import canonical, signing
from wg_core.wire import handover as handovers

_KEY_USE_NAMES = {
    handovers.PACKAGES_USE: text("weights packages"),
    handovers.WITNESS_USE: text("cosignatures"),
}

DELTA_REMARK_THRESHOLD = 1e-4  # Delta above which the result has a remark


@dataclass(frozen=True, slots=True)
class ChargeWithoutRelease:
    """Charge without a release on a verified log: entry index, request and data set."""

    seq: int
    request_id: str
    dataset: str


@dataclass(slots=True)
class VerificationResult:
    """Result of verifying a log: its history, its cost, and the verdict.

    Attributes:
        history: The verified log.
        accounts: Composed cost and cap of each lineage's budget.
        burned: Charges without a release.
        received_files: Received files that agree with their charges.
        largest_delta: Largest delta of any budget or single charge.
        freshness: Freshness of this copy of the log.
        succession: Findings on the site's other logs.
        stated_texts: Free texts and changes of class names in each given log.
        forks: Contradictory histories and older copies of logs.
        verdict: Verdict with all comparisons and omitted checks.
    """

    history: VerifiedLog
    accounts: list[LineageAccount]
    burned: list[ChargeWithoutRelease]
    received_files: list[ReceivedFile]
    largest_delta: float
    freshness: Freshness
    succession: OtherLogsFindings
    stated_texts: list[StatedTexts]
    forks: ForkFindings
    verdict: Verdict

    @property
    def is_verified(self) -> bool:
        """True if the log is valid and no possible check was omitted."""
        return self.verdict.exit_code == ExitCode.OK

    @property
    def remark_sentences(self) -> list[str]:
        """Sentences on facts that are no problem but deserve attention."""
        return list(self._yield_remarks())

    def _yield_remarks(self) -> Iterator[str]:
        state = self.history.state
        if not self.history.witnessed_size:
            yield text("no witness has cosigned: a rolled-back copy would look the same")
        elif self.history.witnessed_size < state.size:
            count = state.size - self.history.witnessed_size
            yield text(
                "entries not cosigned yet, which can only add to the spend: {count}", count=count
            )
        if self.burned:
            yield text("charges without a release (burned): {count}", count=len(self.burned))
        if of_machine := sum(x.release_kind == MACHINE_STATISTICS for x in state.charges.values()):
            yield text("charges for machine statistics, without labels: {count}", count=of_machine)
        if of_heads := sum(x.release_kind == GRADIENTS for x in state.charges.values()):
            yield text("charges for heads trained privately and exported: {count}", count=of_heads)
        if self.largest_delta > DELTA_REMARK_THRESHOLD:
            yield text(
                "delta is up to {delta:g}: with that probability there is no protection at all;"
                " usual are values far below one in the number of people or parts",
                delta=self.largest_delta,
            )
        if state.clock_steps_back:
            sequence_numbers = ", ".join(map(str, state.clock_steps_back[:5]))
            yield text("the site's clock stepped back at entries {first}", first=sequence_numbers)
        if state.decisions:
            yield self._describe_decisions()
        if state.reuses:
            yield text(
                "further uses of existing releases, free of charge: {count}",
                count=len(state.reuses),
            )
        if state.statement_count:
            yield text(
                "public statements of class names and data sheet, nothing charged: {count}",
                count=state.statement_count,
            )
        for words in self.stated_texts:
            yield from words.describe_name_changes()
        for entry in state.handovers:
            handover = entry.handover
            yield text(
                "entry {seq}: the key of {name} for {use} is {now} by the word of the one before,"
                " {before}",
                seq=entry.head.seq,
                name=handover.name,
                use=_KEY_USE_NAMES[handover.use],
                now=signing.display_key(bytes.fromhex(handover.now)),
                before=signing.display_key(bytes.fromhex(handover.before)),
            )
        if self.succession.predecessor:
            yield text(
                "replaces log {log}: {reason}",
                log=self.succession.predecessor,
                reason=self.succession.reason,
            )
        yield from self.forks.describe_shorter_copies()

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``wg-audit verify --json`` prints."""
        state = self.history.state
        top = account_closest_to_cap(self.accounts)
        cosigned_heads = [head for head in self.history.checkpoints if head.cosignatures]
        releases = sum(not charge.is_open for charge in state.charges.values())
        return {
            "verified": self.is_verified,
            "verdict": canonical.to_builtins(self.verdict),
            "origin": state.origin,
            "site": state.site,
            "entries": state.size,
            "bytes": self.history.total_entry_bytes,
            "root": self.history.root.hex(),
            "ledger_key": state.public_key.hex(),
            "keys": len(state.key_periods),
            "charges": len(state.charges),
            "releases": releases,
            "burned": len(self.burned),
            "burned_charges": [canonical.to_builtins(item) for item in self.burned],
            "delta": top.delta if top else None,
            "epsilon": {
                "primary": top.primary if top else 0.0,
                "independent": top.independent if top else 0.0,
                "cap": top.cap_epsilon if top else None,
                "lineage": top.lineage if top else None,
            },
            "lineages": [canonical.to_builtins(account) for account in self.accounts],
            "witnesses": [
                {"name": w.name, "public_key": w.public_key.hex(), "word_of": w.previous_key.hex()}
                for w in state.witnesses
            ],
            "handovers": [canonical.to_builtins(entry.handover) for entry in state.handovers],
            "witnessed_size": self.history.witnessed_size,
            "cosigned_checkpoints": len(cosigned_heads),
            "headline": self.verdict.headline_figures(),
            "received": [canonical.to_builtins(item) for item in self.received_files],
            "decisions": [
                {
                    "entry": decision.head.seq,
                    "request_id": decision.request_id,
                    "approved": decision.approved,
                    "name": decision.name,
                }
                for decision in state.decisions.values()
            ],
            "reuses": [
                {
                    "entry": reuse.head.seq,
                    "charge": reuse.charge,
                    "purpose": reuse.purpose,
                    "recipient": reuse.recipient,
                }
                for reuse in state.reuses.values()
            ],
            "statements": state.statement_count,
            "remarks": self.remark_sentences,
        }

    def _describe_decisions(self) -> str:
        """Return a sentence that counts people's decisions, and charges made by policy alone."""
        state = self.history.state
        decisions = list(state.decisions.values())
        approvals = sum(decision.approved for decision in decisions)
        decision_keys = {(decision.dataset, decision.request_id) for decision in decisions}
        undecided_charges = sum(
            (x.dataset_name, x.request_id) not in decision_keys for x in state.charges.values()
        )
        names = ", ".join(sorted({decision.name for decision in decisions})[:5])
        return text(
            "requests decided by people ({names}): {count}; {approved} approved, {denied} denied;"
            " charges by policy alone: {alone}",
            names=names,
            count=len(decisions),
            approved=approvals,
            denied=len(decisions) - approvals,
            alone=undecided_charges,
        )


class OutsideEvidence(TypedDict, total=False):
    """Evidence from other sources than the log, apart from keys.

    Attributes:
        statistics: Files that the server received (``.wgs``), or folders of such files. Each must
            have exactly one RELEASE entry, and agree with its charge.
        previous: Earlier logs of the site, cosigned by the same witnesses, whose spend the log must
            inherit; or other copies of the log.
        checkpoints: Files with checkpoints from other sources. The log must extend those of its own
            origin; others must be of logs that it replaced.
        server: Folder from ``wg-server export``: keys, checkpoints, received files and earlier logs
            of the site, as the server claims them.
        max_age: Largest age of the newest cosignature in seconds.
        current_time: Unix time in seconds; by default from this machine's clock.
    """

    statistics: Iterable[Path]
    previous: Iterable[Path]
    checkpoints: Iterable[Path]
    server: Path | None
    max_age: int | None
    current_time: int


def audit_log(
    path: Path, anchors: TrustAnchors = NO_ANCHORS, **evidence_options: Unpack[OutsideEvidence]
) -> VerificationResult:
    """Verify the log of a plant with all given evidence.

    Args:
        path: Path of the plant's home, its ledger file or an export of the ledger.
        anchors: Keys from other sources than the log.
        evidence_options: Further evidence from other sources: fields of ``OutsideEvidence``.

    Raises:
        ConfigError: A path cannot be read.
        DecodeError: The path is not a log.
        VerificationError: An entry, signature, file or proof is invalid; the message names it.
    """
    with ExitStack() as stack:
        evidence = _read_evidence(stack, path, anchors, evidence_options)
    log, folder, comparison = evidence.log, evidence.folder, evidence.comparison
    fresh, before = _compare_with_outside(evidence, evidence_options)
    figures = lineage_accounts(log.composition)
    logs = evidence.logs
    check_stated_epsilons(log.history.stated_budgets)
    for shown_log in logs:
        check_single_charges(shown_log.single_charges)
    files = FileCounts(
        release_count=sum(not c.is_open for x in logs for c in x.history.state.charges.values()),
        compared_file_count=len(comparison.received_by_release),
        missing_log_releases=sum(map(len, comparison.charges_of_missing_logs.values())),
        unread_files=tuple(evidence.unread_files),
        memberships=tuple(evidence.memberships),
        unknown_text_problems=tuple(
            problem for x in logs for problem in x.texts.describe_unknown_texts()
        ),
    )
    outside = OutsideFindings(
        freshness=fresh, succession=before, file_counts=files, spend=_site_spend(evidence, before)
    )
    words = build_verdict(log.history, outside, anchors=anchors, folder=folder)
    deltas = (*(x.single_charges.largest_delta for x in logs), *(x.delta for x in figures))
    return VerificationResult(
        history=log.history,
        accounts=figures,
        burned=[
            ChargeWithoutRelease(x.seq, x.request_id, x.dataset_name)
            for x in log.history.state.open_charges()
        ],
        received_files=list(comparison.received_by_release.values()),
        largest_delta=max(deltas),
        freshness=fresh,
        succession=before,
        stated_texts=[x.texts for x in logs],
        forks=evidence.forks,
        verdict=words,
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Evidence that was read: verified logs of a site, the server's folder, and compared files.

    Attributes:
        log: The audited log.
        other_logs: Other given logs of the site, by origin.
        folder: Folder that the server exported, if given.
        comparison: Comparison of the received files with the logs.
        unread_files: Names of files in the evidence that were not read.
        memberships: Proven memberships of the site's releases in the pools of its packages.
        forks: Contradictory histories of logs.
    """

    log: AnalysedLog
    other_logs: dict[str, AnalysedLog]
    folder: ServerFolder | None
    comparison: FileComparison
    unread_files: list[str]
    memberships: list[MembershipProof]
    forks: ForkFindings

    @property
    def logs(self) -> list[AnalysedLog]:
        """All given logs of the site, the audited log first."""
        return [self.log, *self.other_logs.values()]


def _read_evidence(
    stack: ExitStack, path: Path, anchors: TrustAnchors, evidence_options: OutsideEvidence
) -> _Evidence:
    """Verify every given log, find forks, and compare received files with the logs."""
    source = stack.enter_context(closing(log_sources.open_source(path)))
    site, origin = log_sources.read_site_and_origin(source)
    server = evidence_options.get("server")
    folder = server_folder.open_server_folder(server, site, origin) if server else None
    all_anchors = folder.add_server_keys(anchors) if folder else anchors
    log = read_log(source, all_anchors)
    if (log.history.state.site, log.history.state.origin) != (site, origin):
        raise VerificationError(f"{path}: was changed while it was read")
    contents = folder.read_site_evidence() if folder else SiteEvidence()
    copies: dict[str, list[AnalysedLog]] = {}
    for before in (*evidence_options.get("previous", ()), *contents.log_paths):
        copy = read_other_log(stack, before, all_anchors, folder, origin)
        copies.setdefault(copy.history.state.origin, []).append(copy)
    heads = log_succession.predecessor_heads(
        x.history for x in (log, *itertools.chain(*copies.values()))
    )
    earlier = {name: choose_log_copy(x, heads) for name, x in copies.items() if name != origin}
    logs = [log, *earlier.values()]
    by_origin = {x.history.state.origin: x.history for x in logs}
    fork_evidence = forks.find_forks(by_origin, contents.checkpoint_pairs, contents.refused_files)
    for copy in itertools.chain(*copies.values()):
        chosen_log = by_origin[copy.history.state.origin]
        spend = sum(budget.mu_squared for budget in copy.composition.budgets)
        fork_evidence.compare_copy(chosen_log, copy.history, copy.charge_at, spend)
    paths, unread = _split_statistics_files(evidence_options.get("statistics", ()), contents)
    paths += fork_evidence.late_files
    origins_elsewhere = {
        x.origin for x in log_succession.predecessor_heads(y.history for y in logs)
    }
    origins_elsewhere |= {x.origin for x in folder.site_record.logs} if folder else set()
    comparison = match_files(
        [GivenLog(x.history, x.charge_at, x.texts) for x in logs],
        paths,
        origins_elsewhere - {origin, *earlier},
    )
    for membership in contents.memberships:
        if membership.site != site:
            raise VerificationError(f"package {membership.package_id}: is of {membership.site}")
        membership.verify()
    return _Evidence(log, earlier, folder, comparison, unread, contents.memberships, fork_evidence)


def _site_spend(evidence: _Evidence, succession: OtherLogsFindings) -> SiteSpend:
    """Sum a site's spend over budgets, logs and histories, counting inherited spend once."""
    log, folder, outside = evidence.log, evidence.folder, succession.unnamed
    sites = [x.history.state.site for x in evidence.logs]
    sites += [x.site for x in folder.server_record.sites] if folder else []
    earlier = evidence.other_logs.items()
    books = KnownBudgets(
        log_composition=log.composition,
        history=log.history,
        earlier_compositions=[
            before.composition for name, before in earlier if name not in outside
        ],
        outside_compositions=[before.composition for name, before in earlier if name in outside],
        unlogged_charges={
            origin: [entries.encode(charge) for charge in charges.values()]
            for origin, charges in evidence.comparison.charges_of_missing_logs.items()
            if origin in outside
        },
    )
    return spending.sum_site_spend(books, list(evidence.forks.forks_by_origin.values()), sites)


def _compare_with_outside(
    evidence: _Evidence, evidence_options: OutsideEvidence
) -> tuple[Freshness, OtherLogsFindings]:
    """Compare a log with outside checkpoints, the current time, and the site's other logs."""
    history, folder = evidence.log.history, evidence.folder
    outside = [freshness.read_checkpoint(note) for note in evidence_options.get("checkpoints", ())]
    if folder is not None:
        folder.check_keys(history)
        outside += folder.newest_checkpoints()
    fresh = freshness.assess_freshness(
        history,
        [x for x in outside if x.head.origin == history.state.origin],
        current_time=evidence_options.get("current_time", int(time.time())),
        max_age_seconds=evidence_options.get("max_age"),
    )
    before = log_succession.compare_other_logs(
        history,
        other_logs={name: earlier_log.history for name, earlier_log in evidence.other_logs.items()},
        log_records=folder.log_records if folder else None,
        outside_checkpoints=[x for x in outside if x.head.origin != history.state.origin],
        comparison=evidence.comparison,
    )
    return fresh, before


def _split_statistics_files(
    statistics: Iterable[Path], site_evidence: SiteEvidence
) -> tuple[list[Path], list[str]]:
    """Return the paths of received files to compare, and the names of files to leave unread."""
    files, unread = list(site_evidence.statistics_files), list(site_evidence.unread_paths)
    for path in statistics:
        if path.is_dir():
            paths, ignored_paths = list_statistics_files(path)
            files += paths
            unread += [
                x
                for x in ignored_paths
                if x.name != CHECKPOINT_FILE and x not in site_evidence.log_paths
            ]
        else:
            files.append(path)
    return files, list(dict.fromkeys(x.name for x in unread))
