"""The whole history of a log, verified from bytes alone: no data, no network, no trust.

Reads a ledger file or an export (``sources``) and checks chain, arithmetic, keys, every checkpoint
against the entries, every cosignature of a known witness, and the anchors that charges name. Costs
in epsilon are the auditor's matter (``wg_audit``): this module only collects what is to be
checked.

What the log cannot prove by itself: that its first key is the site's (compare it with the key
from enrolment), that a witness's key is the witness's (the same), and that no newer copy exists
(ask the witness). What is known from elsewhere comes as ``Anchors``, and is matched by key.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from wg_core import numbers
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import note as notes
from wg_core.ledger.anchors import NOTHING, Anchors, KnownWitness
from wg_core.ledger.entries import Charge, Entry
from wg_core.ledger.heads import check_head
from wg_core.ledger.note import Note
from wg_core.ledger.sources import Source
from wg_core.ledger.state import LedgerState
from wg_core.wire import signing
from wg_core.wire.handover import WITNESS


@dataclass(frozen=True, slots=True)
class HeldCosignature:
    """A cosignature that holds.

    Attributes:
        name: Key name of the witness.
        public_key: The key under which it holds, raw.
        time: When, by the witness's clock, Unix seconds.
        known: Whether that key was known from elsewhere, or one that was signed for it. If not, the
            log itself names the key, and may have made it.
    """

    name: str
    public_key: bytes
    time: int
    known: bool

    @property
    def key_id(self) -> str:
        """Key ID of the cosignature, hex."""
        return KnownWitness(self.name, self.public_key).key_id


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint that holds, with the cosignatures that hold."""

    size: int
    root: str
    cosignatures: tuple[HeldCosignature, ...]


@dataclass(slots=True)
class StatedFigures:
    """Figures that charges state about lineages of Gaussian releases only, as columns.

    ``mu_squared`` in units of 2^-40; two rows a charge: before and after it.
    """

    seq: array[int] = field(default_factory=lambda: array("q"))
    mu_squared: array[float] = field(default_factory=lambda: array("d"))
    delta: array[float] = field(default_factory=lambda: array("d"))
    epsilon: array[float] = field(default_factory=lambda: array("d"))

    def add(self, seq: int, mu_squared: str, delta: str, epsilon: str) -> None:
        """Add a row."""
        self.seq.append(seq)
        self.mu_squared.append(float(numbers.integer(mu_squared)))
        self.delta.append(numbers.decimal(delta))
        self.epsilon.append(numbers.decimal(epsilon))


@dataclass(slots=True)
class History:
    """A log that holds.

    Attributes:
        state: The fold over all entries.
        root: Root over all entries.
        heads: Checkpoints, by size.
        figures: Stated epsilons.
        bytes: Number of bytes of entries.
        anchors: What was known from elsewhere, and holds.
    """

    state: LedgerState
    root: bytes
    heads: list[SignedHead]
    figures: StatedFigures
    bytes: int
    anchors: Anchors = NOTHING

    @property
    def witnessed_size(self) -> int:
        """Up to which size enough witnesses have cosigned; zero if they have not.

        With witnesses known from elsewhere only their keys count. Without, it is the newest size
        that any witness of the log's own choice has cosigned.
        """
        if self.anchors.quorum_size:
            return self.anchors.covered_size([self.newest_of(x)[0] for x in self.anchors.witnesses])
        return max((head.size for head in self.heads if head.cosignatures), default=0)

    def successors(self, witness: KnownWitness) -> list[KnownWitness]:
        """A witness's key, and those that it was handed over to, in their order."""
        return _successors(witness, self.state, self.anchors)

    def newest_of(self, witness: KnownWitness) -> tuple[int, int]:
        """Largest size that a witness cosigned, and when; zeros if it cosigned none.

        Under its key, or one that it was handed over to.
        """
        keys = self.successors(witness)
        handovers = (
            (head.size, cosignature.time)
            for head in self.heads
            for cosignature in head.cosignatures
            if KnownWitness(cosignature.name, cosignature.public_key) in keys
        )
        return max(handovers, default=(0, 0)) if self.anchors.counts(witness.key) else (0, 0)

    def counted_keys(self) -> dict[KnownWitness, KnownWitness]:
        """Every key whose cosignatures count, and of which known witness it is."""
        return _trusted_witnesses(self.state, self.anchors)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithms under which every checkpoint of the log is signed."""
        keys = [signing.public_from_bytes(x.public_key).algorithms for x in self.state.keys]
        return tuple(name for name in keys[-1] if all(name in key_names for key_names in keys))


def read(
    source: Source, anchors: Anchors = NOTHING, on_entry: Callable[[Entry], None] | None = None
) -> History:
    """Verify a log.

    Args:
        source: From ``sources.open_source``.
        anchors: What is known from elsewhere. Cosignatures of its witnesses count even if the log
            does not name them; enough of them must have cosigned.
        on_entry: Called with each entry that holds so far, for checks of the caller's own.

    Raises:
        VerificationError: The log does not hold; the message names the entry, checkpoint or proof.
        DecodeError: The bytes are no log.
    """
    state = LedgerState()
    heads = _by_size(source.heads())
    roots: dict[int, str] = {}
    figures = StatedFigures()
    total = 0
    for data, leaf in source.entries():
        entry = state.apply(data)
        if state.prev != leaf:
            raise VerificationError(f"entry {state.size - 1}: does not match its stored hash")
        total += len(data)
        if state.size in heads:
            roots[state.size] = state.frontier.root().hex()
            check_head(state, heads[state.size])
        if isinstance(entry, Charge):
            _collect(entry, state, roots, figures)
        if on_entry is not None:
            on_entry(entry)
    _check_ends(state, heads)
    known_witnesses = [KnownWitness(w.name, w.public_key) for w in state.witnesses]
    anchors = replace(
        anchors, witnesses=tuple(_with_key(x, known_witnesses) for x in anchors.witnesses)
    )
    witnesses = _by_key_id(
        x for x in (*anchors.witnesses, *known_witnesses) if anchors.counts(x.key)
    )
    trusted_keys = _trusted_witnesses(state, anchors)
    signed = [_signed(note, witnesses, trusted_keys) for _, note in sorted(heads.items())]
    source.finish(state, len(heads))
    history = History(state, state.frontier.root(), signed, figures, total, anchors)
    _check_anchors(history)
    return history


def _collect(
    entry: Charge, state: LedgerState, roots: dict[int, str], figures: StatedFigures
) -> None:
    seq, statement = entry.head.seq, entry.state
    anchor = roots.get(statement.anchored_size, "")
    if statement.anchored_root != anchor:
        raise VerificationError(
            f"entry {seq}: names a cosigned checkpoint of size {statement.anchored_size} with root "
            f"{statement.anchored_root or '(none)'}, found {anchor or 'no such checkpoint'}"
        )
    figures.add(seq, statement.mu_squared_before, statement.cap_delta, statement.epsilon_before)
    figures.add(seq, statement.mu_squared_after, statement.cap_delta, statement.epsilon_after)


def _by_size(raw: list[bytes]) -> dict[int, bytes]:
    heads: dict[int, bytes] = {}
    for index, data in enumerate(raw):
        head, _ = checkpoints.decode(data, subject=f"checkpoint {index}")
        if heads and head.size <= max(heads):
            raise VerificationError(f"checkpoint {index}: of size {head.size}, out of order")
        heads[head.size] = data
    return heads


def _check_ends(state: LedgerState, heads: dict[int, bytes]) -> None:
    if state.size == 0:
        raise VerificationError("entry 0: is missing, the log is empty")
    newest = max(heads, default=0)
    if newest > state.size:
        raise VerificationError(
            f"entry {state.size}: is missing; a signed checkpoint covers {newest} entries"
        )
    if newest < state.size:
        raise VerificationError(f"entry {newest}: no signed checkpoint covers it")
    if 0 in heads:
        raise VerificationError("checkpoint 0: of an empty log")


_KeyIds = dict[tuple[str, bytes], list[KnownWitness]]


def cosignatures(note: Note, witnesses: Iterable[KnownWitness]) -> list[tuple[KnownWitness, int]]:
    """Which of the witnesses cosigned a checkpoint, by key, and when (Unix seconds).

    Raises:
        VerificationError: A cosignature of one of them does not hold.
    """
    return _cosignatures(note, _by_key_id(witnesses))


def _by_key_id(witnesses: Iterable[KnownWitness]) -> _KeyIds:
    by_key_id: _KeyIds = {}
    for witness in dict.fromkeys(witnesses):
        for identifier in notes.key_ids(witness.name, notes.COSIGNER, witness.key):
            by_key_id.setdefault((witness.name, identifier), []).append(witness)
    return by_key_id


def _cosignatures(note: Note, witnesses: _KeyIds) -> list[tuple[KnownWitness, int]]:
    claimed_lines = dict.fromkeys(
        witness
        for line in note.signatures
        for witness in witnesses.get((line.name, line.key_id), ())
    )
    return [
        (witness, checkpoints.verify_cosignature(note, witness.name, witness.key))
        for witness in claimed_lines
    ]


def _successors(witness: KnownWitness, state: LedgerState, anchors: Anchors) -> list[KnownWitness]:
    """Each key was signed for by the one before: who believes the first believes the others."""
    handovers = [*(entry.handover for entry in state.handovers), *anchors.handovers]
    after = {
        (handover.name, bytes.fromhex(handover.before)): bytes.fromhex(handover.now)
        for handover in handovers
        if handover.use == WITNESS
    }
    successors = [witness]
    while (key := after.pop((witness.name, successors[-1].public_key), None)) is not None:
        successors.append(KnownWitness(witness.name, key))
    return successors


def _with_key(witness: KnownWitness, enrolled_witnesses: Iterable[KnownWitness]) -> KnownWitness:
    """A witness with its key, where what was given is the key's SHA-256."""
    keys = (x for x in enrolled_witnesses if x.name == witness.name)
    return next((x for x in keys if signing.names(witness.public_key, x.public_key)), witness)


def _trusted_witnesses(state: LedgerState, anchors: Anchors) -> dict[KnownWitness, KnownWitness]:
    return {
        key: witness
        for witness in anchors.witnesses
        if anchors.counts(witness.key)
        for key in _successors(witness, state, anchors)
    }


def _signed(
    data: bytes, witnesses: _KeyIds, trusted_witnesses: Collection[KnownWitness]
) -> SignedHead:
    head, note = checkpoints.decode(data, subject="checkpoint")
    try:
        cosignatures = _cosignatures(note, witnesses)
    except VerificationError as error:
        raise VerificationError(f"checkpoint of size {head.size}: {error}") from error
    vouched_keys = (
        HeldCosignature(witness.name, witness.public_key, time, witness in trusted_witnesses)
        for witness, time in cosignatures
    )
    return SignedHead(head.size, head.root.hex(), tuple(vouched_keys))


def _check_anchors(history: History) -> None:
    state, anchors = history.state, history.anchors
    # A known key anywhere in the chain will do: each rotation from it on was signed by the key
    # before, so the newest key is vouched for; and nobody else can rotate to it.
    ledger_key = anchors.ledger_key
    if ledger_key is not None and not any(
        signing.names(ledger_key, x.public_key) for x in state.keys
    ):
        raise VerificationError(
            f"the log is signed by {signing.display(state.public_key)}, expected"
            f" {signing.display(ledger_key)}"
        )
    for period in state.keys:
        if not anchors.counts(signing.public_from_bytes(period.public_key)):
            raise VerificationError(
                f"the log is signed under Ed25519 alone by {signing.display(period.public_key)}"
                f" from {period.from_size} entries on, ML-DSA-44 is asked for"
            )
    if not anchors.quorum_size or history.witnessed_size:
        return
    missing = [x for x in anchors.witnesses if not history.newest_of(x)[0]]
    names = ", ".join(
        f"{x.name} with {'/'.join(x.key.algorithms)} key {x.key_id}"
        f" ({signing.display(x.public_key)})"
        for x in missing
    )
    raise VerificationError(
        f"{len(anchors.witnesses) - len(missing)} of {len(anchors.witnesses)} known witnesses "
        f"cosigned this log, {anchors.quorum_size} must have; none by"
        f" {names or 'others: no more known'}"
    )
