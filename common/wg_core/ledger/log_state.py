"""State of a log after its entries so far, computed in the same way by writers and verifiers.

``LedgerState.apply_entry`` takes the bytes of the next entry and refuses it unless it is consistent
with all previous entries: index, hash chain, origin, key, lineage and its cap, arithmetic of the
budget, one release per charge. The writer applies an entry before committing it, so it cannot write
an entry that a verifier would refuse. ``apply_entry`` does not compute epsilon, which is slow, and
does not check the signatures of checkpoints; its callers do.
"""

from dataclasses import dataclass

from wg_core.errors import VerificationError, WgError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import entries, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.entries import (
    Charge,
    Dataset,
    Decision,
    Entry,
    Genesis,
    KeyHandover,
    Predecessor,
    PublicStatement,
    Release,
    Reuse,
    Rotation,
    Witness,
)
from wg_core.ledger.lineage import ChargeState, LineageState
from wg_core.ledger.mechanism_cost import check_mechanism_cost
from wg_core.wire import handover as handovers
from wg_core.wire import signing

ROTATION_CONTEXT = "ledger-rotation"

DATASET_ENTRIES_LIMIT = 1 << 14
"""Most DATASET entries of a log: each may move all names and contents of merged lineages."""
WITNESS_KEYS_LIMIT = 256  # Most witness keys of a log: every checkpoint is compared with each key
ROTATIONS_LIMIT = 1024  # Most ROTATION entries of a log: every checkpoint is compared with each key


@dataclass(frozen=True, slots=True)
class KeyPeriod:
    """Signing key of a log (raw public key), with the first log size at which it signs."""

    first_size: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """Key of a witness that is enrolled on a log.

    Attributes:
        name: Key name of the witness.
        public_key: Raw public key.
        enrolment_seq: Index of the entry that enrols the key.
        previous_key: Raw previous key, which signed a hand-over to this one; empty if none did.
    """

    name: str
    public_key: bytes
    enrolment_seq: int
    previous_key: bytes = b""


class LedgerState:
    """State of a log after its entries so far; the first entry must be a genesis entry.

    Attributes:
        origin: Unique name of the log; empty before the first entry, like ``site``.
        last_leaf_hash: Leaf hash of the newest entry, to which the next entry refers.
        leaf_hashes: Leaf hashes of all entries, 32 bytes each.
        key_periods: Signing keys of the log, oldest first.
        witnesses: Keys of all witnesses, in the order of enrolment.
        datasets: Newest DATASET entry by name of the data set.
        lineages: Lineages by ID, without those that were merged into another.
        charges: Charges by index of the entry.
        decisions: Newest decision by data set and request id.
        reuses: Reuse by charge index, purpose and recipient.
        statements: Newest public statement by data set and recipient.
        clock_steps_back: Indices of entries with an earlier time than the entry before.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.site = ""
        self.genesis: Genesis | None = None
        self.last_leaf_hash = b""
        self.frontier = merkle.Frontier()
        self.leaf_hashes: list[bytes] = []
        self.key_periods: list[KeyPeriod] = []
        self.witnesses: list[WitnessKey] = []
        self.handovers: list[KeyHandover] = []
        self.datasets: dict[str, Dataset] = {}
        self.lineages: dict[str, LineageState] = {}
        self.charges: dict[int, ChargeState] = {}
        self.decisions: dict[tuple[str, str], Decision] = {}
        self.reuses: dict[tuple[int, str, str], Reuse] = {}
        self.statements: dict[tuple[str, str], PublicStatement] = {}
        self.statement_count = 0
        self.clock_steps_back: list[int] = []
        self._newest_entry_time: int | None = None
        self._key_id = ""
        self._merged_into: dict[str, str] = {}
        self._owners: dict[str, str] = {}  # Lineage of each name and commitment
        self._dataset_entry_count = 0
        self._charges_by_request: dict[tuple[str, str], ChargeState] = {}
        self._charges_by_fingerprint: dict[str, ChargeState] = {}

    @property
    def size(self) -> int:
        """Number of entries in the log."""
        return self.frontier.size

    @property
    def public_key(self) -> bytes:
        """Raw public key that currently signs the log."""
        return self.key_periods[-1].public_key

    @property
    def key_id(self) -> str:
        """Key ID of the current signing key, hex."""
        return self._key_id

    def _add_key(self, from_size: int, public_key: bytes) -> None:
        self.key_periods.append(KeyPeriod(from_size, public_key))
        key = signing.public_from_bytes(public_key)
        self._key_id = notes.key_ids(self.origin, notes.LOG_ROLE, key)[0].hex()

    def keys_at_size(self, size: int) -> list[bytes]:
        """Return the raw keys that may sign a checkpoint of a size: two right after a rotation."""
        ends = (*(period.first_size for period in self.key_periods[1:]), size)
        periods = zip(self.key_periods, ends, strict=False)
        return [x.public_key for x, end in periods if x.first_size <= size <= end][-2:]

    def witness_keys(self, name: str) -> list[bytes]:
        """Return the raw public keys of a witness, newest first; none if it is not enrolled."""
        return [w.public_key for w in reversed(self.witnesses) if w.name == name]

    def lineage_by_id(self, lineage_id: str) -> LineageState:
        """Return the lineage with an ID, or the lineage that it was merged into.

        Raises:
            VerificationError: No lineage has or had this ID.
        """
        name = lineage_id
        while lineage_id in self._merged_into:
            lineage_id = self._merged_into[lineage_id]
        if name != lineage_id:
            self._merged_into[name] = lineage_id  # so a chain of merges is followed once
        if lineage_id not in self.lineages:
            raise VerificationError(f"lineage {lineage_id!r} is unknown")
        return self.lineages[lineage_id]

    def charge_of_request(self, dataset: str, request_id: str) -> ChargeState | None:
        """Return the charge for a request id on a data set; None if there is none."""
        return self._charges_by_request.get((dataset, request_id))

    def charge_with_fingerprint(self, fingerprint: str) -> ChargeState | None:
        """Return the newest charge with this ``Charge.fingerprint``; None if there is none."""
        return self._charges_by_fingerprint.get(fingerprint)

    def open_charges(self) -> list[ChargeState]:
        """Return the charges without a release, oldest first."""
        return [charge for charge in self.charges.values() if charge.is_open]

    def apply_entry(self, data: bytes) -> Entry:
        """Apply the log's next entry. After an error the state must not be used any more.

        Raises:
            VerificationError: The entry contradicts earlier ones; the message names its index.
        """
        try:
            entry = entries.decode(data, input_name=f"entry {self.size}")
            self._check_header(entry)
            self._apply_by_kind(entry)
        except WgError as error:
            text = str(error)
            name = f"entry {self.size}"
            message = text if text.startswith(name) else f"{name}: {text}"
            raise VerificationError(message) from error
        leaf = merkle.leaf_hash(data)
        self.last_leaf_hash = leaf
        self.leaf_hashes.append(leaf)
        self.frontier.append(leaf)
        return entry

    def _check_header(self, entry: Entry) -> None:
        head = entry.head
        if head.seq != self.size:
            raise VerificationError(f"has index {head.seq}, expected {self.size}")
        if head.prev != self.last_leaf_hash.hex():
            raise VerificationError(
                f"entry {self.size - 1} or {self.size}: the hash chain breaks between them "
                f"(prev is {head.prev}, the entry before hashes to {self.last_leaf_hash.hex()})"
            )
        if (self.size == 0) != isinstance(entry, Genesis):
            raise VerificationError(f"kind {head.kind}: the first entry, and only it, is genesis")
        if self.size and head.origin != self.origin:
            raise VerificationError(f"origin {head.origin!r}, expected {self.origin!r}")
        if self._newest_entry_time is not None and head.time < self._newest_entry_time:
            self.clock_steps_back.append(head.seq)
        self._newest_entry_time = head.time

    def _apply_by_kind(self, entry: Entry) -> None:
        getattr(self, f"_apply_{entry.head.kind}")(entry)  # A decoded entry's kind is one of ours
        if entry.head.key_id != self.key_id:
            raise VerificationError(f"key id {entry.head.key_id}, expected {self.key_id}")

    def _apply_genesis(self, entry: Genesis) -> None:
        self.genesis = entry
        self.origin = notes.check_key_name(entry.head.origin)
        self.site = entry.site
        self._add_key(1, _decode_public_key(entry.ledger_key, "ledger key"))
        if entry.predecessor is None:
            return
        self._check_predecessor(entry.predecessor)
        for spend in entry.predecessor.spends:
            keys = {
                f"lineage {spend.lineage}",
                *(f"name {name}" for name in spend.names),
                *spend.commitments,
            }
            if repeated_keys := self._owners.keys() & keys:
                raise VerificationError(
                    f"inherits {min(repeated_keys)!r} in two lineages: one spend would be lost"
                )
            self._owners |= dict.fromkeys(keys, spend.lineage)
            lineage = LineageState(
                spend.lineage,
                spend.cap_epsilon,
                spend.cap_delta,
                dataset_names=dict.fromkeys(spend.names),
                commitments=dict.fromkeys(spend.commitments),
                charge_count=spend.charges,
                foundation_number=len(self.lineages),
            )
            for event in spend.events:
                lineage.add_event(event)
            self.lineages[lineage.lineage_id] = lineage

    def _check_predecessor(self, predecessor: Predecessor) -> None:
        if predecessor.origin == self.origin:
            raise VerificationError(f"replaces a log of the same origin {predecessor.origin!r}")
        data = predecessor.checkpoint.encode()
        _, note = checkpoints.decode(data, input_name="predecessor's checkpoint")
        key = signing.public_from_hex(predecessor.key, input_name="predecessor's key")
        checkpoints.verify(note, predecessor.origin, key)

    def _apply_dataset(self, entry: Dataset) -> None:
        self._dataset_entry_count += 1
        if self._dataset_entry_count > DATASET_ENTRIES_LIMIT:
            raise VerificationError(f"more than {DATASET_ENTRIES_LIMIT} data sets are registered")
        if entry.refresh_rule != entries.NEVER_RENEWED_RULE:
            raise VerificationError(f"refresh rule {entry.refresh_rule!r}, expected 'never'")
        lineage = self._find_lineage(entry)
        for identifier in entry.inherits:
            self._merge_lineages(self.lineage_by_id(identifier), lineage)
        cap = (lineage.cap_epsilon, lineage.cap_delta)
        if (entry.cap_epsilon, entry.cap_delta) != cap:
            raise VerificationError(
                f"cap ({entry.cap_epsilon}, {entry.cap_delta}), but lineage {lineage.lineage_id} "
                f"has ({cap[0]}, {cap[1]})"
            )
        lineage.dataset_names[entry.name] = None
        lineage.commitments[entry.commitment] = None
        self._owners |= dict.fromkeys((f"name {entry.name}", entry.commitment), lineage.lineage_id)
        self.datasets[entry.name] = entry

    def _find_lineage(self, entry: Dataset) -> LineageState:
        """Return the lineage that a DATASET entry names or founds; known data get no new budget."""
        bound = self.lineages_of_dataset(entry.name, entry.commitment)
        new = entries.lineage_id(self.origin, self.size)
        if entry.lineage == new:
            if bound:
                raise VerificationError(
                    f"data set {entry.name!r} belongs to lineage {bound[0].lineage_id}: no new"
                    " budget"
                )
            if new in self.lineages or new in self._merged_into:
                raise VerificationError(f"lineage {new} was there before: no new budget")
            number = len(self.lineages) + len(self._merged_into)
            lineage = LineageState(
                new, entry.cap_epsilon, entry.cap_delta, foundation_number=number
            )
            self.lineages[new] = lineage
            return lineage
        known_lineage = self.lineage_by_id(entry.lineage)
        lineages = [known_lineage, *map(self.lineage_by_id, entry.inherits)]
        for lineage in bound:
            if lineage not in lineages:
                raise VerificationError(
                    f"data set {entry.name!r} belongs to lineage {lineage.lineage_id} by its name"
                    f" or its content: the entry must merge it into {entry.lineage}"
                )
        return known_lineage

    def lineages_of_dataset(self, name: str, commitment: str) -> list[LineageState]:
        """Return the lineages to which a data set's name and its content belong, oldest first.

        If these are two lineages, both have paid for the data, and an entry that registers the
        data set must merge them.
        """
        keys = (f"name {name}", commitment)
        ids = {
            self.lineage_by_id(self._owners[key]).lineage_id for key in keys if key in self._owners
        }
        return sorted(map(self.lineage_by_id, ids), key=lambda lineage: lineage.foundation_number)

    def _merge_lineages(self, source: LineageState, target: LineageState) -> None:
        if source is target:
            return
        if (source.cap_epsilon, source.cap_delta) != (target.cap_epsilon, target.cap_delta):
            raise VerificationError(
                f"lineage {source.lineage_id} has another cap than {target.lineage_id}"
            )
        for event in source.composed_events():
            target.add_event(event)
        target.charge_count += source.charge_count
        target.dataset_names |= source.dataset_names
        target.commitments |= source.commitments
        target.privacy_units |= source.privacy_units
        del self.lineages[source.lineage_id]
        self._merged_into[source.lineage_id] = target.lineage_id

    def _apply_decision(self, entry: Decision) -> None:
        key = (entry.dataset, entry.request_id)
        if key in self._charges_by_request:
            raise VerificationError(
                f"request {entry.request_id!r} is decided after its charge"
                f" (entry {self._charges_by_request[key].seq})"
            )
        self.decisions[key] = entry

    def _apply_reuse(self, entry: Reuse) -> None:
        charge = self.charges.get(entry.charge)
        if charge is None or charge.is_open:
            raise VerificationError(f"hands out entry {entry.charge} again, which was not released")
        key = (entry.charge, entry.purpose, entry.recipient)
        if key in self.reuses:
            raise VerificationError(
                f"states a use of entry {entry.charge} again: entry {self.reuses[key].head.seq}"
            )
        self.reuses[key] = entry

    def _apply_statement(self, entry: PublicStatement) -> None:
        _check_equal("site", entry.site, self.site)
        self.statements[entry.dataset, entry.recipient] = entry  # The newest statement counts
        self.statement_count += 1

    def _check_approval(self, entry: Charge) -> None:
        """Check that a charge matches the decision on its request, if a person decided on it."""
        decision = self.decisions.get((entry.dataset, entry.request_id))
        if decision is None:
            return
        seq, use = decision.head.seq, entry.use
        if not decision.approved:
            raise VerificationError(f"request {entry.request_id!r} was denied (entry {seq})")
        difference = decision.describe_first_difference(
            entry.epsilon, entry.delta, use.purpose, use.recipient, entry.mechanism.release_kind
        )
        if difference:
            raise VerificationError(f"charge: {difference} (entry {seq})")

    def _apply_charge(self, entry: Charge) -> None:
        dataset = self.datasets.get(entry.dataset)
        if dataset is None:
            raise VerificationError(f"data set {entry.dataset!r} is not registered")
        lineage = self.lineage_by_id(dataset.lineage)
        state = entry.state
        _check_equal("commitment", entry.commitment, dataset.commitment)
        _check_equal("lineage", entry.lineage, lineage.lineage_id)
        _check_equal("cap epsilon", state.cap_epsilon, lineage.cap_epsilon)
        _check_equal("cap delta", state.cap_delta, lineage.cap_delta)
        _check_equal("refresh rule", state.refresh_rule, lineage.refresh_rule)
        _check_equal("charges before", state.charges_before, lineage.charge_count)
        _check_equal("mu squared before", state.mu_squared_before, str(lineage.mu_squared_units))
        if (entry.dataset, entry.request_id) in self._charges_by_request:
            raise VerificationError(f"request {entry.request_id!r} is charged a second time")
        self._check_approval(entry)
        check_mechanism_cost(entry)
        lineage.add_event(entry.event)
        lineage.charge_count += 1
        lineage.privacy_units[entry.guarantee.unit] = None
        _check_equal("mu squared after", state.mu_squared_after, str(lineage.mu_squared_units))
        kind = entry.mechanism.release_kind
        charge = ChargeState(
            self.size, entry.request_id, entry.dataset, lineage.lineage_id, entry.fingerprint, kind
        )
        self.charges[self.size] = charge
        self._charges_by_request[entry.dataset, entry.request_id] = charge
        self._charges_by_fingerprint[entry.fingerprint] = charge

    def _apply_release(self, entry: Release) -> None:
        charge = self.charges.get(entry.charge)
        if charge is None:
            raise VerificationError(f"releases entry {entry.charge}, which is no charge")
        if charge.release_seq is not None:
            raise VerificationError(f"charge {entry.charge} was released at {charge.release_seq}")
        _check_equal("request", entry.request_id, charge.request_id)
        charge.release_seq = self.size
        charge.payload_sha256 = entry.payload_sha256

    def _apply_witness(self, entry: Witness) -> None:
        notes.check_key_name(entry.name)
        self._add_witness(entry.name, _decode_public_key(entry.public_key, "witness key"), b"")

    def _apply_handover(self, entry: KeyHandover) -> None:
        handover = entry.handover
        handover.verify()
        before = bytes.fromhex(handover.before)
        successor = _decode_public_key(handover.now, "new key")
        if len(self.handovers) >= WITNESS_KEYS_LIMIT:
            raise VerificationError(f"more than {WITNESS_KEYS_LIMIT} keys are handed over")
        if handover.use == handovers.WITNESS_USE:
            if self.witness_keys(handover.name)[:1] != [before]:
                raise VerificationError(
                    f"witness {handover.name}: {handover.before} is not its key"
                )
            self._add_witness(handover.name, successor, before)
        self.handovers.append(entry)

    def _add_witness(self, name: str, key: bytes, previous_key: bytes) -> None:
        if len(self.witnesses) >= WITNESS_KEYS_LIMIT:
            raise VerificationError(f"more than {WITNESS_KEYS_LIMIT} witnesses are named")
        self.witnesses.append(WitnessKey(name, key, self.size, previous_key))

    def _apply_rotation(self, entry: Rotation) -> None:
        if len(self.key_periods) > ROTATIONS_LIMIT:
            raise VerificationError(f"more than {ROTATIONS_LIMIT} rotations")
        verify_rotation_signatures(entry, self.public_key)
        self._add_key(self.size + 1, bytes.fromhex(entry.new_key))


def verify_rotation_signatures(entry: Rotation, old_key: bytes) -> None:
    """Verify the signatures of the old and of the new key on a change of a log's signing key.

    Raises:
        DecodeError: The new key is malformed.
        VerificationError: The new key lacks an algorithm of the old, or a signature is invalid.
    """
    old = signing.public_from_bytes(old_key)
    new = signing.public_from_hex(entry.new_key, input_name="new key")
    signing.check_successor(old, new)
    statement = entries.rotation_signed_bytes(entry.head, old_key.hex(), entry.new_key)
    for key, signature in ((old, entry.old_signature), (new, entry.new_signature)):
        signing.verify(key, ROTATION_CONTEXT, statement, bytes.fromhex(signature))


def _check_equal(field_name: str, stated_value: object, expected: object) -> None:
    if stated_value != expected:
        raise VerificationError(f"{field_name} is {stated_value!r}, expected {expected!r}")


def _decode_public_key(text: str, input_name: str) -> bytes:
    return signing.public_from_hex(text, input_name=input_name).raw
