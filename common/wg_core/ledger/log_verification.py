"""Verification of a log's whole history from its bytes alone: no data, network or trust needed.

The module reads a ledger file or an export (``log_sources``) and checks the hash chain, arithmetic,
keys, every checkpoint against the entries, every cosignature of a known witness, and the cosigned
checkpoints that charges name. It only collects the costs in epsilon that charges state; the
auditor's program (``wg_audit``) checks them.

A log cannot prove that its first key is the site's, or that a witness's key is the witness's
(compare them with the keys from enrolment), or that no newer copy exists (ask the witness). What
the verifier knows from elsewhere is passed as ``TrustAnchors``, and is matched by key.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from wg_core import number_parsers
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint_signatures import check_checkpoint
from wg_core.ledger.entries import Charge, Entry
from wg_core.ledger.log_sources import LogSource
from wg_core.ledger.log_state import LedgerState
from wg_core.ledger.signed_note import Note
from wg_core.ledger.trust_anchors import NO_ANCHORS, TrustAnchors, TrustedWitness
from wg_core.wire import signing
from wg_core.wire.handover import WITNESS_USE


@dataclass(frozen=True, slots=True)
class ValidCosignature:
    """Valid cosignature on a checkpoint.

    Attributes:
        name: Key name of the witness.
        public_key: Raw key under which the cosignature is valid.
        time: Time by the witness's clock, Unix seconds.
        is_trusted: True if the key is that of a trust anchor, or was handed over from such a key.
            Otherwise only the log names the key, and its owner may have made it.
    """

    name: str
    public_key: bytes
    time: int
    is_trusted: bool

    @property
    def key_id(self) -> str:
        """Key ID of the witness's key, hex."""
        return TrustedWitness(self.name, self.public_key).key_id


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """Checkpoint with verified signatures: log size, Merkle root (hex), valid cosignatures."""

    size: int
    root: str
    cosignatures: tuple[ValidCosignature, ...]


@dataclass(slots=True)
class StatedBudgets:
    """Table of the budget totals that charges state: two rows per charge, before and after it.

    A row has the charge's index, the summed mu^2 (units of 2^-40), and delta and epsilon; each
    attribute is one column.
    """

    charge_seqs: array[int] = field(default_factory=lambda: array("q"))
    mu_squared_units: array[float] = field(default_factory=lambda: array("d"))
    deltas: array[float] = field(default_factory=lambda: array("d"))
    epsilons: array[float] = field(default_factory=lambda: array("d"))

    def add_row(self, seq: int, mu_squared: str, delta: str, epsilon: str) -> None:
        """Append one row to all columns; the numbers are decimal strings."""
        self.charge_seqs.append(seq)
        self.mu_squared_units.append(float(number_parsers.parse_integer(mu_squared)))
        self.deltas.append(number_parsers.parse_decimal(delta))
        self.epsilons.append(number_parsers.parse_decimal(epsilon))


@dataclass(slots=True)
class VerifiedLog:
    """Log whose whole history was verified: its state, checkpoints and stated budget totals.

    Attributes:
        state: State after all entries.
        root: Merkle root over all entries, 32 bytes.
        checkpoints: Checkpoints with their valid cosignatures, by size.
        stated_budgets: Budget totals before and after each charge, as the charges state them.
        total_entry_bytes: Total size of the entries, in bytes.
        anchors: Trust anchors against which the log was verified.
    """

    state: LedgerState
    root: bytes
    checkpoints: list[VerifiedCheckpoint]
    stated_budgets: StatedBudgets
    total_entry_bytes: int
    anchors: TrustAnchors = NO_ANCHORS

    @property
    def witnessed_size(self) -> int:
        """Largest log size that enough witnesses have cosigned; 0 if there is none.

        If there are trusted witnesses, only their keys count, and a quorum of them is needed. If
        not, one cosignature by any witness that the log names is enough.
        """
        if self.anchors.quorum_size:
            return self.anchors.witnessed_size(
                [self.newest_cosigned_size_and_time(x)[0] for x in self.anchors.witnesses]
            )
        return max((head.size for head in self.checkpoints if head.cosignatures), default=0)

    def key_and_successors(self, witness: TrustedWitness) -> list[TrustedWitness]:
        """Return a witness's key, followed by its successors by hand-over, in order."""
        handovers = [*(entry.handover for entry in self.state.handovers), *self.anchors.handovers]
        after = {
            (handover.name, bytes.fromhex(handover.before)): bytes.fromhex(handover.now)
            for handover in handovers
            if handover.use == WITNESS_USE
        }
        successors = [witness]
        while (key := after.pop((witness.name, successors[-1].public_key), None)) is not None:
            successors.append(TrustedWitness(witness.name, key))
        return successors

    def newest_cosigned_size_and_time(self, witness: TrustedWitness) -> tuple[int, int]:
        """Return log size and Unix time of a witness's newest cosignature; (0, 0) if it has none.

        Cosignatures under successors of the witness's key by hand-over count as well.
        """
        if not self.anchors.accepts_algorithms(witness.decoded_key):
            return 0, 0
        keys = self.key_and_successors(witness)
        sizes_and_times = (
            (head.size, cosignature.time)
            for head in self.checkpoints
            for cosignature in head.cosignatures
            if TrustedWitness(cosignature.name, cosignature.public_key) in keys
        )
        return max(sizes_and_times, default=(0, 0))

    def anchors_by_trusted_key(self) -> dict[TrustedWitness, TrustedWitness]:
        """Map each key whose cosignatures count to the trusted witness that it belongs to."""
        return {
            key: witness
            for witness in self.anchors.witnesses
            if self.anchors.accepts_algorithms(witness.decoded_key)
            for key in self.key_and_successors(witness)
        }

    @property
    def signature_algorithms(self) -> tuple[str, ...]:
        """Names of the algorithms with which every checkpoint of the log is signed."""
        keys = [signing.public_from_bytes(x.public_key).algorithms for x in self.state.key_periods]
        return tuple(name for name in keys[-1] if all(name in key_names for key_names in keys))


def verify_log(
    source: LogSource,
    anchors: TrustAnchors = NO_ANCHORS,
    on_entry: Callable[[Entry], None] | None = None,
) -> VerifiedLog:
    """Verify the whole history of a log: entries, budgets, checkpoints and cosignatures.

    Args:
        source: Log from ``log_sources.open_source``.
        anchors: Trust anchors. A quorum of their witnesses must have cosigned, whether or not the
            log names these witnesses.
        on_entry: Function called with each entry after its verification, for further checks.

    Raises:
        VerificationError: The log is not valid; the message names the entry or checkpoint.
        DecodeError: The bytes are not a log.
    """
    state = LedgerState()
    heads = _checkpoints_by_size(source.checkpoints())
    roots: dict[int, str] = {}
    figures = StatedBudgets()
    total = 0
    for data, leaf in source.entries_with_leaf_hashes():
        entry = state.apply_entry(data)
        if state.last_leaf_hash != leaf:
            raise VerificationError(f"entry {state.size - 1}: does not match its stored hash")
        total += len(data)
        if state.size in heads:
            roots[state.size] = state.frontier.root().hex()
            check_checkpoint(state, heads[state.size])
        if isinstance(entry, Charge):
            _add_stated_budgets(entry, roots, figures)
        if on_entry is not None:
            on_entry(entry)
    _check_last_checkpoint(state, heads)
    log_witnesses = [TrustedWitness(w.name, w.public_key) for w in state.witnesses]
    trusted_witnesses = tuple(_expand_key_digest(x, log_witnesses) for x in anchors.witnesses)
    anchors = replace(anchors, witnesses=trusted_witnesses)
    witnesses = _witnesses_by_key_id(
        x for x in (*trusted_witnesses, *log_witnesses) if anchors.accepts_algorithms(x.decoded_key)
    )
    history = VerifiedLog(state, state.frontier.root(), [], figures, total, anchors)
    trusted_keys = history.anchors_by_trusted_key()
    for _, note in sorted(heads.items()):
        history.checkpoints.append(_verified_checkpoint(note, witnesses, trusted_keys))
    source.check_file_integrity(state, len(heads))
    _check_anchors(history)
    return history


def _add_stated_budgets(
    entry: Charge, root_by_size: dict[int, str], budgets: StatedBudgets
) -> None:
    seq, statement = entry.head.seq, entry.state
    anchor = root_by_size.get(statement.anchored_size, "")
    if statement.anchored_root != anchor:
        raise VerificationError(
            f"entry {seq}: names a cosigned checkpoint of size {statement.anchored_size} with root "
            f"{statement.anchored_root or '(none)'}, found {anchor or 'no such checkpoint'}"
        )
    budgets.add_row(seq, statement.mu_squared_before, statement.cap_delta, statement.epsilon_before)
    budgets.add_row(seq, statement.mu_squared_after, statement.cap_delta, statement.epsilon_after)


def _checkpoints_by_size(encoded_checkpoints: list[bytes]) -> dict[int, bytes]:
    heads: dict[int, bytes] = {}
    for index, data in enumerate(encoded_checkpoints):
        head, _ = checkpoints.decode(data, input_name=f"checkpoint {index}")
        if heads and head.size <= max(heads):
            raise VerificationError(f"checkpoint {index}: of size {head.size}, out of order")
        heads[head.size] = data
    return heads


def _check_last_checkpoint(state: LedgerState, checkpoints_by_size: dict[int, bytes]) -> None:
    if state.size == 0:
        raise VerificationError("entry 0: is missing, the log is empty")
    newest = max(checkpoints_by_size, default=0)
    if newest > state.size:
        raise VerificationError(
            f"entry {state.size}: is missing; a signed checkpoint covers {newest} entries"
        )
    if newest < state.size:
        raise VerificationError(f"entry {newest}: no signed checkpoint covers it")
    if 0 in checkpoints_by_size:
        raise VerificationError("checkpoint 0: of an empty log")


_WitnessesByKeyId = dict[tuple[str, bytes], list[TrustedWitness]]
CosignatureTimes = list[tuple[TrustedWitness, int]]  # Unix seconds, by witness


def trusted_cosignature_times(note: Note, witnesses: Iterable[TrustedWitness]) -> CosignatureTimes:
    """Return the trusted witnesses that cosigned a checkpoint, each with the time, Unix seconds.

    Raises:
        VerificationError: A cosignature of one of the witnesses is not valid.
    """
    return _verified_cosignature_times(note, _witnesses_by_key_id(witnesses))


def _witnesses_by_key_id(witnesses: Iterable[TrustedWitness]) -> _WitnessesByKeyId:
    by_key_id: _WitnessesByKeyId = {}
    for witness in dict.fromkeys(witnesses):
        for identifier in notes.key_ids(witness.name, notes.COSIGNER_ROLE, witness.decoded_key):
            by_key_id.setdefault((witness.name, identifier), []).append(witness)
    return by_key_id


def _verified_cosignature_times(note: Note, witnesses: _WitnessesByKeyId) -> CosignatureTimes:
    claimed_lines = dict.fromkeys(
        witness
        for line in note.signatures
        for witness in witnesses.get((line.name, line.key_id), ())
    )
    return [
        (witness, checkpoints.verified_cosignature_time(note, witness.name, witness.decoded_key))
        for witness in claimed_lines
    ]


def _expand_key_digest(
    witness: TrustedWitness, enrolled_witnesses: Iterable[TrustedWitness]
) -> TrustedWitness:
    """Return a trusted witness with its full enrolled key, if only the SHA-256 was given."""
    keys = (x for x in enrolled_witnesses if x.name == witness.name)
    return next(
        (x for x in keys if signing.matches_public_key(witness.public_key, x.public_key)), witness
    )


def _verified_checkpoint(
    checkpoint: bytes, witnesses: _WitnessesByKeyId, trusted_keys: Collection[TrustedWitness]
) -> VerifiedCheckpoint:
    head, note = checkpoints.decode(checkpoint, input_name="checkpoint")
    try:
        cosignatures = _verified_cosignature_times(note, witnesses)
    except VerificationError as error:
        raise VerificationError(f"checkpoint of size {head.size}: {error}") from error
    vouched_keys = (
        ValidCosignature(witness.name, witness.public_key, time, witness in trusted_keys)
        for witness, time in cosignatures
    )
    return VerifiedCheckpoint(head.size, head.root.hex(), tuple(vouched_keys))


def _check_anchors(log: VerifiedLog) -> None:
    state, anchors = log.state, log.anchors
    # The expected key may be any of the log's keys: each later one was signed by its predecessor,
    # so that only the owner of the expected key can have introduced it.
    ledger_key = anchors.ledger_key
    if ledger_key is not None and not any(
        signing.matches_public_key(ledger_key, x.public_key) for x in state.key_periods
    ):
        raise VerificationError(
            f"the log is signed by {signing.display_key(state.public_key)}, expected"
            f" {signing.display_key(ledger_key)}"
        )
    for period in state.key_periods:
        if not anchors.accepts_algorithms(signing.public_from_bytes(period.public_key)):
            raise VerificationError(
                f"the log is signed under Ed25519 alone by {signing.display_key(period.public_key)}"
                f" from {period.first_size} entries on, ML-DSA-44 is asked for"
            )
    if not anchors.quorum_size or log.witnessed_size:
        return
    missing = [x for x in anchors.witnesses if not log.newest_cosigned_size_and_time(x)[0]]
    names = ", ".join(
        f"{x.name} with {'/'.join(x.decoded_key.algorithms)} key {x.key_id}"
        f" ({signing.display_key(x.public_key)})"
        for x in missing
    )
    raise VerificationError(
        f"{len(anchors.witnesses) - len(missing)} of {len(anchors.witnesses)} known witnesses "
        f"cosigned this log, {anchors.quorum_size} must have; none by"
        f" {names or 'others: no more known'}"
    )
