"""The verdict on a log: which keys, which witnesses, how fresh, after which log; and what not.

A verification is worth what it was compared with. Everything that came from outside is named with
its source: *given* by the auditor, *the server's word* (from its exported folder), or *the log's
own word*, which proves nothing. What was not checked is said in words, and a log of which anything
was not checked that could have been is not simply verified.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wg_audit.freshness import Freshness
from wg_audit.server_folder import ServerFolder
from wg_audit.spend import ForkedLog, Spend, Total
from wg_audit.succession import Succession
from wg_audit.wording import duration, first_names, utc
from wg_common.language import Text, list_names, text
from wg_core.errors import ExitCode
from wg_core.ledger.anchors import Anchors, KnownWitness
from wg_core.ledger.auditor_record import Membership
from wg_core.ledger.history import History
from wg_core.wire import canonical, signing

GIVEN = text("given")
SERVERS_WORD = text("the server's word")
LOGS_WORD = text("the log's own word")
_WHOSE = text(
    "whose log it is: the key is the log's own word; compare it with the key from enrolment"
    " (--ledger-key)"
)
_PAST = text(
    "that nothing left the site past its ledger, and that the program which ran is the one named:"
    " no log can show that"
)

VERIFIED = text("verified")
PARTLY_VERIFIED = text("partly verified")
BY_ITSELF = text("holds by itself")
_EXIT_CODES: dict[str, ExitCode] = {
    VERIFIED: ExitCode.OK,
    PARTLY_VERIFIED: ExitCode.PARTLY_VERIFIED,
    BY_ITSELF: ExitCode.BY_ITSELF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Releases and the files of them.

    Attributes:
        released: Number of releases on all logs that were given: each was charged.
        compared: Number of releases whose file was compared with its charge.
        elsewhere: Number of releases whose file is of a log that was not given.
        unread: Names of what lies in the evidence and was not read.
        memberships: Proven memberships of the site's releases in what its packages were made from.
        unknown_words: Problems: words of charges that this program does not know.
    """

    released: int
    compared: int
    elsewhere: int = 0
    unread: tuple[str, ...] = ()
    memberships: tuple[Membership, ...] = ()
    unknown_words: tuple[Text, ...] = ()

    @property
    def missing(self) -> int:
        """Number of releases whose file is not there."""
        return self.released - self.compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Evidence that a log was held against.

    Attributes:
        fresh: How new this copy is known to be.
        succession: What is known of logs before.
        files: What was released, and what of it was compared.
        spend: The auditor's own sums.
    """

    fresh: Freshness
    succession: Succession
    files: Files
    spend: Spend


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKey:
    """The key that the log was compared with.

    Attributes:
        key_id: Key ID of the key that signs the log now, hex.
        public_key: That key, hex.
        algorithms: Under which every checkpoint was verified.
        source: Where the key that vouches for it comes from.
        rotations: How many rotations lead from that key to it, each signed by both keys.
    """

    key_id: str
    public_key: str
    algorithms: tuple[str, ...]
    source: str
    rotations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessView:
    """One witness: what it has seen.

    Attributes:
        name: Key name.
        key_id: Key ID of its cosignatures, hex.
        public_key: Public key, hex.
        algorithms: Under which its cosignatures were verified.
        source: Where the key that vouches for it comes from.
        handovers: How many hand-overs lead from that key to it, each signed by the key before.
        size: Entries that it has cosigned; zero if none.
        time: Time of its newest cosignature in the log, Unix seconds by its clock; zero if none.
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
    """Result of a verification: each statement that may be believed, and on whose word.

    Attributes:
        word: ``verified``; ``holds by itself`` if no key came from elsewhere; ``partly verified``
            if anything else was not checked that could be; or what is wrong.
        ledger_key: Which key.
        witnesses: Each witness: those known by key, or else those that the log names.
        cosigned_by: How many known witnesses have cosigned.
        needed: How many had to.
        cosigned_to: Up to which entry that many have cosigned.
        entries: Number of entries.
        freshness: How new this copy is known to be.
        succession: What is known of logs before this one.
        released: Number of releases that were charged, on all logs that were given.
        received: Number of releases whose received file was compared with its charge.
        missing: Number of releases whose file is not there.
        memberships: Proven memberships of the site's releases in what its packages were made from.
        total: The sum over budgets, logs and histories; None where nothing has a budget.
        forks: Logs of which two histories were told.
        problems: Why it is not verified.
        not_checked: What was not compared with anything.
    """

    word: str
    ledger_key: LedgerKey
    witnesses: tuple[WitnessView, ...]
    cosigned_by: int
    needed: int
    cosigned_to: int
    entries: int
    freshness: Freshness
    succession: Succession
    released: int
    received: int
    missing: int
    memberships: tuple[Membership, ...]
    total: Total | None
    forks: tuple[ForkedLog, ...]
    problems: tuple[str, ...]
    not_checked: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """Code that a command tells the shell: each good word has its own."""
        return _EXIT_CODES.get(self.word, ExitCode.VERIFICATION)

    def headline(self) -> str:
        """Summary in one line of what was compared: releases, files, and the origin of each key."""
        words = list(dict.fromkeys(x.source for x in self.witnesses))
        return text(
            "{sum}; releases charged {released}, files compared {compared}, files missing"
            " {missing}; ledger key: {ledger}; witnesses: {witnesses}",
            sum=self.total.sentence() if self.total else text("no budget"),
            released=self.released,
            compared=self.received,
            missing=self.missing,
            ledger=self.ledger_key.source,
            witnesses=list_names(words, ", ") if words else text("none"),
        )

    def figures(self) -> dict[str, Any]:
        """The headline for programs."""
        return {
            "total": canonical.to_builtins(self.total),
            "releases_charged": self.released,
            "files_compared": self.received,
            "files_missing": self.missing,
            "ledger_key": self.ledger_key.source,
            "witnesses": {x.name: x.source for x in self.witnesses},
        }

    def lines(self) -> list[tuple[str, str]]:
        """For people: a word, and what there is to say about it."""
        rows: list[tuple[str, str]] = [
            (text("ledger key"), self._key()),
            (text("witnesses"), self._witnesses()),
        ]
        rows += [("", _witness(x, self.freshness.checked)) for x in self.witnesses]
        rows += [(text("freshness"), self._freshness()), (text("log before"), self._succession())]
        rows += [(text("package"), _membership(x)) for x in self.memberships]
        return rows

    def _key(self) -> str:
        key = self.ledger_key
        hops = text(", {count} rotation(s) from it", count=key.rotations) if key.rotations else ""
        return text(
            "{key} ({algorithms}; {source}{hops})",
            key=key.key_id,
            algorithms=list_names(key.algorithms, ", "),
            source=key.source,
            hops=hops,
        )

    def _witnesses(self) -> str:
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

    def _freshness(self) -> str:
        freshness = self.freshness
        parts: list[str] = []
        if freshness.age is not None and freshness.newest is not None:
            limit = (
                text("no limit")
                if freshness.max_age is None
                else text("limit {age}", age=duration(freshness.max_age))
            )
            parts.append(
                text(
                    "newest cosignature {when} UTC, {age} ago ({limit})",
                    when=utc(freshness.newest),
                    age=duration(freshness.age),
                    limit=limit,
                )
            )
        parts += [
            text("extends the {size} entries of {source}", size=x.size, source=x.source)
            for x in freshness.extends
        ]
        return list_names(parts, "; ") if parts else text("unknown")

    def _succession(self) -> str:
        succession = self.succession
        if succession.unnamed:
            return text(
                "BUDGET UNKNOWN: not on its account: {logs}", logs=", ".join(succession.unnamed)
            )
        if succession.predecessor:
            if succession.predecessor in succession.checked:
                state = text("checked against it")
            elif succession.predecessor in succession.open_ended:
                state = text("not checked: whether the log given is all of it")
            else:
                state = text("not checked: inherited spend by its own word")
            return text("{log}, {how}", log=succession.predecessor, how=state)
        if succession.status == "first":
            return text("none, {source}", source=SERVERS_WORD)
        return text("not checked")


def verdict(
    history: History, outside: Outside, *, anchors: Anchors, folder: ServerFolder | None
) -> Verdict:
    """Put together what was compared.

    Args:
        history: The verified log.
        outside: What it was held against.
        anchors: Keys that the auditor gave.
        folder: The server's folder, if it was given.
    """
    fresh, succession, files = outside.fresh, outside.succession, outside.files
    problems = list(outside.spend.problems())
    problems += [
        (
            text("budget unknown"),
            text("budget unknown: log {origin} of this site is not on its account", origin=origin),
        )
        for origin in succession.unnamed
    ]
    if folder is not None and folder.log != folder.site.logs[-1]:
        sentence = text(
            "superseded: the site's log in use is {origin}, by {source}",
            origin=folder.site.logs[-1].origin,
            source=SERVERS_WORD,
        )
        problems.append((text("superseded"), sentence))
    problems += [(text("unknown words"), sentence) for sentence in files.unknown_words]
    views = tuple(_views(history, anchors))
    anchored_views = [view for view in views if view.source != LOGS_WORD]
    open_questions = tuple(_not_checked(history, outside))
    return Verdict(
        word=problems[0][0] if problems else _word(history.anchors, open_questions),
        ledger_key=_ledger_key(history, anchors),
        witnesses=views,
        cosigned_by=sum(view.size > 0 for view in anchored_views),
        needed=history.anchors.quorum_size,
        cosigned_to=history.witnessed_size,
        entries=history.state.size,
        freshness=fresh,
        succession=succession,
        released=files.released,
        received=files.compared,
        missing=files.missing,
        memberships=files.memberships,
        total=outside.spend.total,
        forks=outside.spend.forks,
        problems=tuple(sentence for _, sentence in problems),
        not_checked=(*open_questions, *_uncompared_proofs(files), _PAST),
    )


def _uncompared_proofs(files: Files) -> Iterator[str]:
    """Proofs that are there and compared with nothing; nothing here rests on them."""
    if files.memberships:
        yield text(
            "that packages were made from these releases: the roots are the server's word; compare"
            " them with pool_root of 'wg-client models show PACKAGE --json'"
        )
    if files.compared:
        yield text(
            "the proofs that travel inside received files: each file was held against the log"
            " itself"
        )


def _membership(member: Membership) -> str:
    return text(
        "{package}: release {release} is one of the {size} of root {root}",
        package=member.package_id,
        release=member.release_id,
        size=member.size,
        root=member.root,
    )


def _word(anchors: Anchors, open_questions: tuple[str, ...]) -> str:
    if anchors.ledger_key is None and not anchors.quorum_size:
        return BY_ITSELF
    return PARTLY_VERIFIED if open_questions else VERIFIED


def _witness(view: WitnessView, current_time: int) -> str:
    latest = (
        text(
            "{size} entries, {when} UTC, {age} ago",
            size=view.size,
            when=utc(view.time),
            age=duration(current_time - view.time),
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


def _ledger_key(history: History, anchors: Anchors) -> LedgerKey:
    state, anchor = history.state, history.anchors.ledger_key
    keys = [period.public_key for period in state.keys]
    if anchor is None:
        source, rotations = LOGS_WORD, 0
    else:
        source = GIVEN if anchors.ledger_key is not None else SERVERS_WORD
        rotations = (
            len(keys) - 1 - max(i for i, key in enumerate(keys) if signing.names(anchor, key))
        )
    return LedgerKey(
        key_id=state.key_id,
        public_key=state.public_key.hex(),
        algorithms=history.algorithms,
        source=source,
        rotations=rotations,
    )


def _views(history: History, evidence: Anchors) -> Iterator[WitnessView]:
    anchors = history.anchors
    if anchors.witnesses:
        names = {x.name for x in evidence.witnesses}
        rows = [(x, GIVEN if x.name in names else SERVERS_WORD) for x in anchors.witnesses]
    else:
        firsts = [w for w in history.state.witnesses if not w.before]
        known_witnesses = [KnownWitness(w.name, w.public_key) for w in firsts]
        rows = [(x, LOGS_WORD) for x in dict.fromkeys(known_witnesses)]
    for witness, source in rows:
        size, moment = history.newest_of(witness)
        *before, newest = history.successors(witness)
        yield WitnessView(
            name=newest.name,
            key_id=newest.key_id,
            public_key=newest.public_key.hex(),
            algorithms=newest.key.algorithms,
            source=source,
            handovers=len(before),
            size=size,
            time=moment,
        )


def _not_checked(history: History, outside: Outside) -> Iterator[str]:
    """Yield the comparisons with outside evidence that were possible and were not made."""
    anchors, fresh, succession = history.anchors, outside.fresh, outside.succession
    files = outside.files
    yield from outside.spend.open_questions()
    if anchors.ledger_key is None:
        yield _WHOSE
    if not anchors.witnesses:
        yield text(
            "that a witness saw this log: no key of a witness is known from elsewhere"
            " (--witness-key)"
        )
    if not fresh.extends:
        yield text(
            "that there is no newer copy: no checkpoint came by another way (--checkpoint,"
            " --server)"
        )
    for log in succession.not_given:
        yield text(
            "what log {log} had spent: it was not given, and nobody showed {count} of its entries"
            " (--previous)",
            log=log.origin,
            count=log.entries,
        )
    for origin in succession.open_ended:
        yield text(
            "that log {log} ended where its successor says: no checkpoint of it came by another"
            " way (--checkpoint, --server)",
            log=origin,
        )
    if not succession.listed:
        yield text("whether the site had other logs (--server)")
    if files.missing:
        yield text(
            "what {count} of the releases were: their files are not there (--statistics, --server)",
            count=files.missing,
        )
    if files.elsewhere:
        yield text(
            "{count} received file(s) of the site's other logs (--previous)", count=files.elsewhere
        )
    if files.unread:
        yield text("what is not read in the evidence: {names}", names=first_names(files.unread))
