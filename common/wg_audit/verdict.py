"""Verdict on a log: its keys, witnesses, freshness and earlier logs, and all omitted checks.

The value of a verification depends on the evidence. The verdict names the source of each piece of
evidence: *given* by the auditor, *the server's word* (from the folder that it exported), or *the
log's own word*, which proves nothing. It lists everything that was not checked; if a possible check
was omitted, the log is at most partly verified.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wg_audit.freshness import Freshness
from wg_audit.log_succession import OtherLogsFindings
from wg_audit.server_folder import ServerFolder
from wg_audit.site_spend import ForkedLog, SiteSpend, TotalSpend
from wg_audit.verdict_formats import format_duration, format_utc, list_first_names
from wg_common.auditor_record import MembershipProof
from wg_common.language import Text, list_names, text
from wg_core.errors import ExitCode
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire import canonical, signing

GIVEN_SOURCE = text("given")
SERVER_SOURCE = text("the server's word")
LOG_SOURCE = text("the log's own word")
_UNPROVEN_OWNER_TEXT = text(
    "whose log this is: only the log itself states its key; compare it with the key"
    " from enrolment (--ledger-key)"
)
_UNPROVABLE_TEXT = text(
    "whether anything left the site without an entry in its ledger, and whether the"
    " named program really ran: no log can show that"
)

VERIFIED = text("verified")
PARTLY_VERIFIED = text("partly verified")
HOLDS_BY_ITSELF = text("holds by itself")
_EXIT_CODES: dict[str, ExitCode] = {
    VERIFIED: ExitCode.OK,
    PARTLY_VERIFIED: ExitCode.PARTLY_VERIFIED,
    HOLDS_BY_ITSELF: ExitCode.HOLDS_BY_ITSELF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCounts:
    """Numbers of releases and of received files, with findings on files and texts.

    Attributes:
        release_count: Number of charged releases on all given logs.
        compared_file_count: Number of releases whose received file was compared with its charge.
        missing_log_releases: Number of releases known only from files of logs that were not given.
        unread_files: Names of files in the evidence that were not read.
        memberships: Proven memberships of the site's releases in the pools of its packages.
        unknown_text_problems: Sentences on texts in charges that this program does not know.
    """

    release_count: int
    compared_file_count: int
    missing_log_releases: int = 0
    unread_files: tuple[str, ...] = ()
    memberships: tuple[MembershipProof, ...] = ()
    unknown_text_problems: tuple[Text, ...] = ()

    @property
    def missing_file_count(self) -> int:
        """Number of releases whose received file was not available."""
        return self.release_count - self.compared_file_count


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideFindings:
    """Results of comparing a log with outside evidence.

    Attributes:
        freshness: Freshness of this copy of the log.
        succession: Findings on the site's other logs.
        file_counts: Numbers of releases and of compared files.
        spend: The auditor's own sums of the site's spend.
    """

    freshness: Freshness
    succession: OtherLogsFindings
    file_counts: FileCounts
    spend: SiteSpend


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKey:
    """Current public key of the audited log, and the source of the key that vouches for it.

    Attributes:
        key_id: Key ID of the log's current key, hex.
        public_key: Current public key, hex.
        algorithms: Signature algorithms under which every checkpoint was verified.
        source: Source of the trust anchor: the auditor, the server, or the log itself.
        rotations: Number of key rotations from the trust anchor to the current key.
    """

    key_id: str
    public_key: str
    algorithms: tuple[str, ...]
    source: str
    rotations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessView:
    """Witness of the audited log, and how much of the log it has cosigned.

    Attributes:
        name: Key name of the witness, as in its newest known key.
        key_id: Key ID of its cosignatures, hex.
        public_key: Public key, hex.
        algorithms: Signature algorithms under which its cosignatures were verified.
        source: Source of the trust anchor: the auditor, the server, or the log itself.
        handovers: Number of hand-overs from the trust anchor to the current key, each signed by the
            previous key.
        size: Number of the log's first entries that its newest cosignature covers.
        time: Unix time of its newest cosignature in seconds, by its own clock; 0 without any.
    """

    name: str
    key_id: str
    public_key: str
    algorithms: tuple[str, ...]
    source: str
    handovers: int
    size: int
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Result of verifying a log, with the source of each statement.

    Attributes:
        word: ``verified``; ``holds by itself`` if no key came from another source; ``partly
            verified`` if another possible check was omitted; or a short name of the first problem.
        ledger_key: Key of the log.
        witnesses: Witnesses known by key; if there are none, those that the log itself names.
        cosigned_by: Number of witnesses known by key that have cosigned.
        needed: Number of known witnesses that must have cosigned (the quorum).
        cosigned_to: Number of the log's first entries that a quorum has cosigned.
        entries: Number of entries of the log.
        freshness: Freshness of this copy of the log.
        succession: Findings on the site's other logs.
        released: Number of charged releases on all given logs.
        received: Number of releases whose received file was compared with its charge.
        missing: Number of releases whose received file was not available.
        memberships: Proven memberships of the site's releases in the pools of its packages.
        total: Site's spend, summed over budgets, logs and histories; None without any budget.
        forks: Logs with two contradictory histories.
        problems: Reasons why the log is not verified.
        not_checked: Omitted checks.
    """

    word: str
    ledger_key: LedgerKey
    witnesses: tuple[WitnessView, ...]
    cosigned_by: int
    needed: int
    cosigned_to: int
    entries: int
    freshness: Freshness
    succession: OtherLogsFindings
    released: int
    received: int
    missing: int
    memberships: tuple[MembershipProof, ...]
    total: TotalSpend | None
    forks: tuple[ForkedLog, ...]
    problems: tuple[str, ...]
    not_checked: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Exit code that ``wg-audit verify`` returns for this verdict."""
        return _EXIT_CODES.get(self.word, ExitCode.VERIFICATION)

    def headline(self) -> str:
        """Summarise total spend, numbers of releases and files, and sources of keys in one line."""
        words = list(dict.fromkeys(x.source for x in self.witnesses))
        return text(
            "{sum}; releases charged {released}, files compared {compared}, files missing"
            " {missing}; ledger key: {ledger}; witnesses: {witnesses}",
            sum=self.total.describe() if self.total else text("no budget"),
            released=self.released,
            compared=self.received,
            missing=self.missing,
            ledger=self.ledger_key.source,
            witnesses=list_names(words, ", ") if words else text("none"),
        )

    def headline_figures(self) -> dict[str, Any]:
        """Return the numbers that ``headline`` states, by name, as values for JSON output."""
        return {
            "total": canonical.to_builtins(self.total),
            "releases_charged": self.released,
            "files_compared": self.received,
            "files_missing": self.missing,
            "ledger_key": self.ledger_key.source,
            "witnesses": {x.name: x.source for x in self.witnesses},
        }

    def display_rows(self) -> list[tuple[str, str]]:
        """Return the rows of the verdict for display, each as (label, sentence)."""
        rows: list[tuple[str, str]] = [
            (text("ledger key"), self._key_text()),
            (text("witnesses"), self._witnesses_text()),
        ]
        rows += [("", _witness_text(x, self.freshness.checked)) for x in self.witnesses]
        rows += [
            (text("freshness"), self._freshness_text()),
            (text("log before"), self._succession_text()),
        ]
        rows += [(text("package"), _membership_text(x)) for x in self.memberships]
        return rows

    def _key_text(self) -> str:
        key = self.ledger_key
        hops = text(", {count} rotation(s) from it", count=key.rotations) if key.rotations else ""
        return text(
            "{key} ({algorithms}; {source}{hops})",
            key=key.key_id,
            algorithms=list_names(key.algorithms, ", "),
            source=key.source,
            hops=hops,
        )

    def _witnesses_text(self) -> str:
        if not self.needed:
            return text(
                "none known by key; by the log's own word up to entry {to} of {entries}",
                to=self.cosigned_to,
                entries=self.entries,
            )
        return text(
            "{by} of {witnesses} known by key, {needed} needed: cosigned up to entry {to} of"
            " {entries}",
            by=self.cosigned_by,
            witnesses=len(self.witnesses),
            needed=self.needed,
            to=self.cosigned_to,
            entries=self.entries,
        )

    def _freshness_text(self) -> str:
        freshness = self.freshness
        parts: list[str] = []
        if freshness.age_seconds is not None and freshness.newest is not None:
            limit = (
                text("no limit")
                if freshness.max_age is None
                else text("limit {age}", age=format_duration(freshness.max_age))
            )
            parts.append(
                text(
                    "newest cosignature {when} UTC, {age} ago ({limit})",
                    when=format_utc(freshness.newest),
                    age=format_duration(freshness.age_seconds),
                    limit=limit,
                )
            )
        parts += [
            text("extends the {size} entries of {source}", size=x.size, source=x.source)
            for x in freshness.extends
        ]
        return list_names(parts, "; ") if parts else text("unknown")

    def _succession_text(self) -> str:
        succession = self.succession
        if succession.unnamed:
            return text(
                "BUDGET UNKNOWN: its account leaves out {logs}", logs=", ".join(succession.unnamed)
            )
        if succession.predecessor:
            if succession.predecessor in succession.checked:
                state = text("checked against it")
            elif succession.predecessor in succession.open_ended:
                state = text("not checked: whether the log given is all of it")
            else:
                state = text("not checked: the inherited spending is only the log's own statement")
            return text("{log}, {how}", log=succession.predecessor, how=state)
        if succession.status == "first":
            return text("none, {source}", source=SERVER_SOURCE)
        return text("not checked")


def build_verdict(
    history: VerifiedLog,
    outside_findings: OutsideFindings,
    *,
    anchors: TrustAnchors,
    folder: ServerFolder | None,
) -> Verdict:
    """Build the verdict on a log from the results of all comparisons.

    Args:
        history: The verified log.
        outside_findings: Results of comparing the log with outside evidence.
        anchors: Keys that the auditor gave, without those of the server's folder.
        folder: Folder that the server exported, if it was given.
    """
    fresh, succession, files = (
        outside_findings.freshness,
        outside_findings.succession,
        outside_findings.file_counts,
    )
    problems = list(outside_findings.spend.verdict_problems())
    problems += [
        (
            text("budget unknown"),
            text("budget unknown: its account leaves out log {origin} of this site", origin=origin),
        )
        for origin in succession.unnamed
    ]
    if folder is not None and folder.log_record != folder.site_record.logs[-1]:
        sentence = text(
            "superseded: by {source}, the site now uses log {origin}",
            origin=folder.site_record.logs[-1].origin,
            source=SERVER_SOURCE,
        )
        problems.append((text("superseded"), sentence))
    problems += [(text("unknown words"), sentence) for sentence in files.unknown_text_problems]
    views = tuple(_witness_views(history, anchors))
    anchored_views = [view for view in views if view.source != LOG_SOURCE]
    open_questions = tuple(_omitted_checks(history, outside_findings))
    return Verdict(
        word=problems[0][0] if problems else _verdict_word(history.anchors, open_questions),
        ledger_key=_ledger_key(history, anchors),
        witnesses=views,
        cosigned_by=sum(view.size > 0 for view in anchored_views),
        needed=history.anchors.quorum_size,
        cosigned_to=history.witnessed_size,
        entries=history.state.size,
        freshness=fresh,
        succession=succession,
        released=files.release_count,
        received=files.compared_file_count,
        missing=files.missing_file_count,
        memberships=files.memberships,
        total=outside_findings.spend.total,
        forks=outside_findings.spend.forks,
        problems=tuple(sentence for _, sentence in problems),
        not_checked=(*open_questions, *_uncompared_proofs(files), _UNPROVABLE_TEXT),
    )


def _uncompared_proofs(file_counts: FileCounts) -> Iterator[str]:
    """Yield sentences on available proofs that were not checked, because no result needs them."""
    if file_counts.memberships:
        yield text(
            "whether packages were made from these releases: only the server states the "
            "roots; compare them with pool_root of 'wg-client models show PACKAGE --json'"
        )
    if file_counts.compared_file_count:
        yield text(
            "the proofs inside received files: each file was compared with the log itself instead"
        )


def _membership_text(member: MembershipProof) -> str:
    return text(
        "{package}: release {release} is one of the {size} of root {root}",
        package=member.package_id,
        release=member.release_id,
        size=member.size,
        root=member.root,
    )


def _verdict_word(anchors: TrustAnchors, open_questions: tuple[str, ...]) -> str:
    if anchors.ledger_key is None and not anchors.quorum_size:
        return HOLDS_BY_ITSELF
    return PARTLY_VERIFIED if open_questions else VERIFIED


def _witness_text(view: WitnessView, current_time: int) -> str:
    latest = (
        text(
            "{size} entries, {when} UTC, {age} ago",
            size=view.size,
            when=format_utc(view.time),
            age=format_duration(current_time - view.time),
        )
        if view.size
        else text("has not cosigned")
    )
    return text(
        "{name} {key} ({algorithms}; {source}{hops}): {seen}",
        name=view.name,
        key=view.key_id,
        algorithms=list_names(view.algorithms, ", "),
        source=view.source,
        hops=(
            text(", {count} hand-over(s) from it", count=view.handovers) if view.handovers else ""
        ),
        seen=latest,
    )


def _ledger_key(history: VerifiedLog, given_anchors: TrustAnchors) -> LedgerKey:
    state, anchor = history.state, history.anchors.ledger_key
    keys = [period.public_key for period in state.key_periods]
    if anchor is None:
        source, rotations = LOG_SOURCE, 0
    else:
        source = GIVEN_SOURCE if given_anchors.ledger_key is not None else SERVER_SOURCE
        rotations = (
            len(keys)
            - 1
            - max(i for i, key in enumerate(keys) if signing.matches_public_key(anchor, key))
        )
    return LedgerKey(
        key_id=state.key_id,
        public_key=state.public_key.hex(),
        algorithms=history.signature_algorithms,
        source=source,
        rotations=rotations,
    )


def _witness_views(history: VerifiedLog, given_anchors: TrustAnchors) -> Iterator[WitnessView]:
    anchors = history.anchors
    if anchors.witnesses:
        names = {x.name for x in given_anchors.witnesses}
        rows = [(x, GIVEN_SOURCE if x.name in names else SERVER_SOURCE) for x in anchors.witnesses]
    else:
        firsts = [w for w in history.state.witnesses if not w.previous_key]
        known_witnesses = [TrustedWitness(w.name, w.public_key) for w in firsts]
        rows = [(x, LOG_SOURCE) for x in dict.fromkeys(known_witnesses)]
    for witness, source in rows:
        size, moment = history.newest_cosigned_size_and_time(witness)
        *before, newest = history.key_and_successors(witness)
        yield WitnessView(
            name=newest.name,
            key_id=newest.key_id,
            public_key=newest.public_key.hex(),
            algorithms=newest.decoded_key.algorithms,
            source=source,
            handovers=len(before),
            size=size,
            time=moment,
        )


def _omitted_checks(history: VerifiedLog, outside_findings: OutsideFindings) -> Iterator[str]:
    """Yield sentences on checks that further evidence would have made possible."""
    anchors, fresh, succession = (
        history.anchors,
        outside_findings.freshness,
        outside_findings.succession,
    )
    files = outside_findings.file_counts
    yield from outside_findings.spend.open_questions()
    if anchors.ledger_key is None:
        yield _UNPROVEN_OWNER_TEXT
    if not anchors.witnesses:
        yield text("whether a witness saw this log: no witness's key was given (--witness-key)")
    if not fresh.extends:
        yield text(
            "whether there is a newer copy: no checkpoint was given (--checkpoint, --server)"
        )
    for log in succession.not_given:
        yield text(
            "the spending of log {log}: it was not given, and nobody has shown {count} of "
            "its entries (--previous)",
            log=log.origin,
            count=log.entries,
        )
    for origin in succession.open_ended:
        yield text(
            "whether log {log} ended where its successor says: no checkpoint of it was "
            "given (--checkpoint, --server)",
            log=origin,
        )
    if not succession.listed:
        yield text("whether the site had other logs (--server)")
    if files.missing_file_count:
        yield text(
            "the content of {count} of the releases: their files are missing (--statistics,"
            " --server)",
            count=files.missing_file_count,
        )
    if files.missing_log_releases:
        yield text(
            "{count} received file(s) of the site's other logs (--previous)",
            count=files.missing_log_releases,
        )
    if files.unread_files:
        yield text(
            "files in the evidence that were not read: {names}",
            names=list_first_names(files.unread_files),
        )
