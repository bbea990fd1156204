"""The ledger: one SQLite file that only grows, and signs what it says.

Every append takes the write lock of the file, folds in what other processes added, checks the
new entry with the rules that a verifier uses, and commits it with a signed checkpoint of the new
size in the same transaction. Hence an edit of any stored entry, also the last, breaks a
signature.

Order of work for a release: ``charge`` → sample → ``record_release`` (entry and outbox bytes in
one transaction) → ``countersign`` → send ``outbox`` with ``inclusion_proof``. A crash after the
charge leaves it open; the same request completes it, since nothing was written or sent. A crash
after the release sends the stored bytes again.

Not guaranteed: that the file was not replaced by an older copy of itself. The witness remembers
(``countersign`` fails), this module cannot.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wg_common import canonical, signing
from wg_common.errors import BudgetExceeded, ConfigError, RefusedError, VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import database, entries, merkle
from wg_common.ledger import note as notes
from wg_common.ledger.charging import SOFTWARE, ChargeRequest
from wg_common.ledger.checkpoint import Checkpoint
from wg_common.ledger.entries import (
    BudgetState,
    Dataset,
    Entry,
    Genesis,
    Head,
    Predecessor,
    Release,
    Rotation,
    Witness,
)
from wg_common.ledger.note import Note
from wg_common.ledger.proof import Proof
from wg_common.ledger.state import ROTATION_CONTEXT, ChargeState, LedgerState, LineageState
from wg_common.ledger.witness import WitnessRefused, WitnessRequest
from wg_common.privacy.events import PrivacyEvent

CAP_TOLERANCE = 1e-6
"""Relative: the accountant's own numerical error, so that a cap of 1 admits a release of 1."""

Accountant = Callable[[Sequence[PrivacyEvent], float], float]
Step = Callable[[str], None]
Clock = Callable[[], int]

_ROUND_UP = Context(prec=12, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """A data set and its budget.

    Attributes:
        name: Name on the ledger.
        commitment: Keyed commitment to its content (``commitment.commit``), hex.
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        lineage: Name of a registered data set that it continues; empty if its own name or
            content says so already, or it is new.
        inherits: Further registered data sets whose records it holds: their spend is added.
    """

    name: str
    commitment: str
    cap_epsilon: str
    cap_delta: str
    lineage: str = ""
    inherits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge on the ledger.

    Attributes:
        seq: Index of its entry.
        request_id: The request that was charged.
        open: Whether its release is still to be made. If not, ``Ledger.outbox`` has the bytes.
        new: Whether this call charged the budget.
    """

    seq: int
    request_id: str
    open: bool
    new: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """A release on the ledger: index of its entry and of its charge, hash of its bytes."""

    seq: int
    charge: int
    payload_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a data set's lineage has spent.

    Attributes:
        dataset: Name of the data set.
        lineage: Its lineage.
        events: All charges, composed.
        charges: Number of charges.
        burned: Number of charges without a release.
        epsilon: Composed epsilon at ``cap_delta``.
        cap_epsilon: Cap, decimal string.
        cap_delta: Delta of the cap, decimal string.
    """

    dataset: str
    lineage: str
    events: tuple[PrivacyEvent, ...]
    charges: int
    burned: int
    epsilon: float
    cap_epsilon: str
    cap_delta: str


class Ledger:
    """An open ledger. A context manager; not to be shared between threads."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        key: Ed25519PrivateKey | None,
        accountant: Accountant,
        clock: Clock,
        on_step: Step,
    ) -> None:
        self._path = path
        self._db = connection
        self._key = key
        self._accountant = accountant
        self._clock = clock
        self._step = on_step
        self._loaded: LedgerState | None = None
        self._epsilons: dict[tuple[tuple[PrivacyEvent, ...], str], float] = {}

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        site: str,
        predecessor: Predecessor | None = None,
        accountant: Accountant | None = None,
        clock: Clock | None = None,
        on_step: Step | None = None,
    ) -> Self:
        """Make a ledger with its genesis entry.

        Args:
            path: The file; must not hold a ledger.
            origin: Origin line of its checkpoints, unique to log and key.
            key: Signing key.
            site: Name of the site.
            predecessor: The ledger that this one replaces after a compromise (``recovery``).
            accountant: Composed epsilon of events at a delta; dp-accounting's by default.
            clock: Unix time in seconds.
            on_step: Called with the name of each step; lets tests stop a process there.

        Raises:
            ConfigError: There is a ledger, or the file cannot be made.
        """
        notes.check_key_name(origin)
        connection = database.create(path)
        self = cls(path, connection, key, *_defaults(accountant, clock, on_step))
        self._loaded = LedgerState()
        try:
            with self._transaction():
                database.install_schema(connection)
                public = signing.public_bytes(key)
                head = Head(
                    kind=entries.GENESIS,
                    seq=0,
                    prev="",
                    origin=origin,
                    key_id=notes.key_id(origin, notes.ED25519, public).hex(),
                    time=self._clock(),
                )
                genesis = Genesis(
                    head=head,
                    site=site,
                    ledger_key=public.hex(),
                    software=SOFTWARE,
                    predecessor=predecessor,
                )
                self._append(genesis, [key])
        except BaseException:
            connection.close()
            raise
        return self

    @classmethod
    def open(
        cls,
        path: Path,
        key: Ed25519PrivateKey | None = None,
        *,
        accountant: Accountant | None = None,
        clock: Clock | None = None,
        on_step: Step | None = None,
    ) -> Self:
        """Open a ledger and check all of it: chain, arithmetic, and every stored checkpoint.

        Without a key it can be read only.

        Raises:
            ConfigError: There is none, it cannot be read, or the key is not its signing key.
            VerificationError: It was edited, cut, or is damaged.
        """
        connection = database.connect(path) if key is not None else database.connect_to_read(path)
        self = cls(path, connection, key, *_defaults(accountant, clock, on_step))
        try:
            database.check_format(path, connection)
            state = self._state
            if key is not None and signing.public_bytes(key) != state.public_key:
                raise ConfigError(
                    f"{path}: signed by key {state.key_id}, the key given is another one"
                )
        except BaseException:
            connection.close()
            raise
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- what it says -------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def origin(self) -> str:
        """Origin of the log."""
        return self._state.origin

    @property
    def site(self) -> str:
        """Name of the site."""
        return self._state.site

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._state.size

    def entry(self, seq: int) -> bytes:
        """Canonical bytes of an entry.

        Raises:
            ConfigError: There is no such entry.
        """
        with database.explained(self._path):
            row = self._db.execute("select entry from entries where seq = ?", (seq,)).fetchone()
        if row is None:
            raise ConfigError(f"{self._path}: there is no entry {seq}")
        return bytes(row[0])

    def commitment(self, dataset: str) -> str | None:
        """Commitment of a registered data set, or nothing."""
        found = self._state.datasets.get(dataset)
        return found.commitment if found else None

    def find(
        self, dataset: str, *, request_id: str | None = None, fingerprint: str | None = None
    ) -> Charged | None:
        """The charge of a request, or of equal data under an equal guarantee."""
        state = self._state
        found: ChargeState | None = None
        if request_id is not None:
            found = state.by_request(dataset, request_id)
        if found is None and fingerprint is not None:
            found = state.by_fingerprint(fingerprint)
        return None if found is None else Charged(found.seq, found.request_id, found.open)

    def spent(self, dataset: str) -> Spent:
        """What the lineage of a data set has spent.

        Raises:
            ConfigError: The data set is not registered.
        """
        state = self._state
        lineage = state.lineage(self._dataset(dataset).lineage)
        return Spent(
            dataset=dataset,
            lineage=lineage.id,
            events=lineage.events(),
            charges=lineage.charges,
            burned=sum(state.lineage(c.lineage) is lineage for c in state.burned()),
            epsilon=self._epsilon(lineage.events(), lineage.cap_delta),
            cap_epsilon=lineage.cap_epsilon,
            cap_delta=lineage.cap_delta,
        )

    def preview(self, request: ChargeRequest) -> tuple[float, float]:
        """Composed epsilon before and after a request, which is not charged."""
        lineage = self._state.lineage(self._dataset(request.dataset).lineage)
        return self._cost(lineage, request.event)

    def outbox(self, charge: int | str) -> bytes | None:
        """Released bytes of a charge, by its index or its request.

        Raises:
            VerificationError: The stored bytes are not those of the RELEASE entry.
        """
        found = self._charge(charge)
        if found is None or found.open:
            return None
        with database.explained(self._path):
            row = self._db.execute(
                "select payload from outbox where charge = ?", (found.seq,)
            ).fetchone()
        if row is None or canonical.sha256_hex(row[0]) != found.payload_sha256:
            raise VerificationError(
                f"{self._path}: outbox of charge {found.seq} is missing or damaged; it was "
                "charged and cannot be sent again"
            )
        return bytes(row[0])

    def release_of(self, charge: int | str) -> Released | None:
        """The RELEASE entry of a charge."""
        found = self._charge(charge)
        if found is None or found.release is None:
            return None
        return Released(found.release, found.seq, found.payload_sha256)

    # --- what is added ------------------------------------------------------------------------

    def register_dataset(self, dataset: DatasetRecord) -> int:
        """Name a data set, or say that its content changed. Idempotent.

        Data of a registered name or a registered content belongs to that lineage, with all that
        it spent; a new name does not make a new budget.

        Returns:
            Index of its entry.

        Raises:
            ConfigError: Its lineage has another cap, or ``lineage`` names no data set.
        """
        with self._writing() as state:
            known = state.datasets.get(dataset.name)
            bound = state.bound_lineage(dataset.name, dataset.commitment)
            if dataset.lineage:
                target: LineageState | None = self._named_lineage(dataset.lineage)
            else:
                target = bound
            sources = [self._named_lineage(name) for name in dataset.inherits]
            if bound is not None and target is not None and bound is not target:
                sources.append(bound)
            if target is None and sources:
                target = sources[0]
            merged = {x.id for x in sources if x is not target}
            cap = (dataset.cap_epsilon, dataset.cap_delta)
            for lineage in (target, *sources):
                if lineage and (lineage.cap_epsilon, lineage.cap_delta) != cap:
                    raise ConfigError(
                        f"data set {dataset.name!r}: cap ({', '.join(cap)}), but its lineage "
                        f"{lineage.id} has ({lineage.cap_epsilon}, {lineage.cap_delta}) on the "
                        "ledger; a cap does not change"
                    )
            if (
                known is not None
                and known.commitment == dataset.commitment
                and target is not None
                and state.lineage(known.lineage) is target
                and not merged
            ):
                return known.head.seq
            entry = Dataset(
                head=self._head(entries.DATASET),
                name=dataset.name,
                commitment=dataset.commitment,
                lineage=(target.id if target else entries.lineage_id(state.origin, state.size)),
                inherits=tuple(sorted(merged)),
                cap_epsilon=dataset.cap_epsilon,
                cap_delta=dataset.cap_delta,
                refresh_rule=entries.NEVER,
            )
            return self._append(entry)

    def charge(self, request: ChargeRequest) -> Charged:
        """Charge a budget for one release, before anything is sampled. Idempotent.

        A request that was charged already, or one that asks the same of the same data, gets that
        charge again: with its release, or open if a crash came before it.

        Raises:
            BudgetExceeded: The cap of the lineage does not allow it; nothing is written.
            RefusedError: The request was charged for something else, and is burned.
            ConfigError: The data set is not registered, or the ledger cannot be written.
        """
        self._accountant([], 0.5)  # loads the accountant before the lock is taken
        with self._writing() as state:
            dataset = self._dataset(request.dataset)
            fingerprint = request.fingerprint(dataset.commitment)
            found = state.by_request(request.dataset, request.request_id)
            if found is not None and found.open and found.fingerprint != fingerprint:
                raise RefusedError(
                    f"request {request.request_id!r} was charged (entry {found.seq}) for other "
                    "data or another guarantee; that charge is burned, ask with a new id"
                )
            found = found or state.by_fingerprint(fingerprint)
            if found is not None:
                return Charged(found.seq, found.request_id, found.open)
            lineage = state.lineage(dataset.lineage)
            before, after = self._cost(lineage, request.event)
            if not after <= float(lineage.cap_epsilon) * (1 + CAP_TOLERANCE):
                raise BudgetExceeded(
                    f"data set {request.dataset!r}: epsilon {after:.4g} after this release, the "
                    f"cap is {lineage.cap_epsilon} at delta {lineage.cap_delta} "
                    f"({before:.4g} is spent)"
                )
            anchor = self._anchor()
            entry = entries.Charge(
                head=self._head(entries.CHARGE),
                request_id=request.request_id,
                dataset=request.dataset,
                commitment=dataset.commitment,
                lineage=lineage.id,
                fingerprint=fingerprint,
                event=request.event,
                epsilon=request.epsilon,
                delta=request.delta,
                guarantee=request.guarantee,
                mechanism=request.mechanism,
                implementation=request.implementation,
                use=request.use,
                state=BudgetState(
                    cap_epsilon=lineage.cap_epsilon,
                    cap_delta=lineage.cap_delta,
                    refresh_rule=lineage.refresh_rule,
                    charges_before=lineage.charges,
                    mu_squared_before=str(lineage.mu_squared),
                    mu_squared_after=str(lineage.mu_squared + int(request.event.mu_squared)),
                    epsilon_before=rounded_up(before),
                    epsilon_after=rounded_up(after),
                    anchored_size=anchor.size if anchor else 0,
                    anchored_root=anchor.root.hex() if anchor else "",
                ),
                assurance=request.assurance,
            )
            self._step("charge:begun")
            seq = self._append(entry)
            self._step("charge:inserted")
        self._step("charge:committed")
        return Charged(seq, request.request_id, open=True, new=True)

    def record_release(self, charge: int, payload: bytes) -> Released:
        """Fix the bytes of a charge's one release: entry and outbox in one transaction.

        Raises:
            RefusedError: The charge has another release already: send that one (``outbox``).
            ConfigError: There is no such charge, or the ledger cannot be written.
        """
        digest = canonical.sha256_hex(payload)
        with self._writing() as state:
            found = state.charges.get(charge)
            if found is None:
                raise ConfigError(f"{self._path}: entry {charge} is no charge")
            if found.release is not None:
                if found.payload_sha256 != digest:
                    raise RefusedError(
                        f"charge {charge} has its release already (entry {found.release}); "
                        "one charge covers one release"
                    )
                return Released(found.release, charge, digest)
            self._step("release:begun")
            seq = self._append(
                Release(
                    head=self._head(entries.RELEASE),
                    charge=charge,
                    request_id=found.request_id,
                    payload_sha256=digest,
                    payload_size=len(payload),
                )
            )
            self._step("release:inserted")
            self._db.execute("insert into outbox values (?, ?)", (charge, payload))
            self._step("release:stored")
        self._step("release:committed")
        return Released(seq, charge, digest)

    def enrol_witness(self, name: str, public_key: bytes) -> int:
        """Record a witness and its key. Idempotent.

        Returns:
            Index of its entry.
        """
        notes.check_key_name(name)
        with self._writing() as state:
            for known in state.witnesses:
                if known.name == name and state.witness_keys(name)[0] == public_key:
                    return known.seq
            return self._append(
                Witness(head=self._head(entries.WITNESS), name=name, public_key=public_key.hex())
            )

    def record_audit(
        self,
        *,
        code_sha256: str,
        claimed_epsilon: str,
        lower_bound: str,
        parametric_bound: str,
        canaries: int,
    ) -> int:
        """Record an empirical audit of the installed release code; returns the entry's index."""
        with self._writing():
            return self._append(
                entries.Audit(
                    head=self._head(entries.AUDIT),
                    code_sha256=code_sha256,
                    claimed_epsilon=claimed_epsilon,
                    lower_bound=lower_bound,
                    parametric_bound=parametric_bound,
                    canaries=canaries,
                )
            )

    def rotate(self, new_key: Ed25519PrivateKey) -> int:
        """Change the signing key; the checkpoint that says so is signed by both.

        Raises:
            ConfigError: The ledger was opened without a key.
        """
        with self._writing() as state:
            old_key = self._signing_key()
            public = signing.public_bytes(new_key)
            key_id = notes.key_id(state.origin, notes.ED25519, public).hex()
            head = self._head(entries.ROTATION, key_id=key_id)
            statement = entries.rotation_statement(head, state.public_key.hex(), public.hex())
            seq = self._append(
                Rotation(
                    head=head,
                    new_key=public.hex(),
                    old_signature=signing.sign(old_key, ROTATION_CONTEXT, statement).hex(),
                    new_signature=signing.sign(new_key, ROTATION_CONTEXT, statement).hex(),
                ),
                [old_key, new_key],
            )
            self._step("rotation:inserted")
        self._key = new_key
        return seq

    # --- checkpoints, witnesses, proofs -------------------------------------------------------

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint, with the cosignatures that it has."""
        state = self._state
        with database.explained(self._path):
            row = self._db.execute(
                "select note from heads where size = ?", (state.size,)
            ).fetchone()
        if row is None:
            raise VerificationError(f"{self._path}: no checkpoint of size {state.size}")
        return bytes(row[0])

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """RFC 9162 consistency proof between two sizes of this log.

        Raises:
            VerificationError: The log never had one of these sizes.
        """
        state = self._state
        if not 0 <= old_size <= new_size <= state.size:
            raise VerificationError(
                f"{self._path}: asked to go from size {old_size} to {new_size}, "
                f"the ledger has {state.size} entries"
            )
        return merkle.consistency_proof(state.leaves[:new_size], old_size)

    def witness_request(self, witness: str, *, old_size: int | None = None) -> bytes:
        """Body of ``add-checkpoint`` for a witness: the newest checkpoint from what it saw last.

        Raises:
            VerificationError: ``old_size`` is more than this log ever had.
        """
        return self._request(witness, old_size).encode()

    def countersign(self, witness: str, call: Callable[[bytes], bytes]) -> bytes:
        """Get the newest checkpoint cosigned, and keep the cosignature.

        Args:
            witness: Key name of an enrolled witness.
            call: Takes an ``add-checkpoint`` body and returns cosignature lines; raises
                ``WitnessRefused`` if the witness refuses.

        Returns:
            The cosigned checkpoint.

        Raises:
            WitnessRefused: The witness does not cosign.
            VerificationError: The witness has seen more than this ledger holds: it was rolled
                back; or the cosignature does not hold.
        """
        request = self._request(witness, None)
        self._step("checkpoint:signed")
        try:
            lines = call(request.encode())
        except WitnessRefused as refused:
            if refused.size is None or refused.size == request.old_size:
                raise
            if refused.size > self.size:
                raise VerificationError(
                    f"{self._path}: witness {witness} has seen {refused.size} entries, the ledger "
                    f"has {self.size}: it was rolled back or replaced by an older copy. Restore "
                    "the newest copy; nothing was sent"
                ) from refused
            request = self._request(witness, refused.size)
            lines = call(request.encode())
        self._step("checkpoint:cosigned")
        signed = self.add_cosignature(request.note.encode() + lines, witness)
        self._step("cosignature:stored")
        return signed

    def add_cosignature(self, signed: bytes, witness: str) -> bytes:
        """Keep a witness's cosignature of one of this log's checkpoints.

        Args:
            signed: The checkpoint with its signatures, the witness's among them.
            witness: Key name of an enrolled witness.

        Returns:
            The stored checkpoint.

        Raises:
            VerificationError: It is no checkpoint of this log, or no cosignature of an enrolled
                key of this witness holds.
        """
        head, note = checkpoints.decode(signed, what="cosigned checkpoint")
        with self._writing() as state:
            if head.origin != state.origin or head.size > state.size:
                raise VerificationError(f"checkpoint {head.origin} {head.size} is not of this log")
            if head.root != merkle.root(state.leaves[: head.size]):
                raise VerificationError(f"checkpoint of size {head.size} has another root")
            identifiers = [
                notes.key_id(witness, notes.COSIGNATURE, key)
                for key in self._cosigners(state, note, witness)
            ]
            lines = [x for i in identifiers for x in notes.signatures_of(note, witness, i)]
            row = self._db.execute("select note from heads where size = ?", (head.size,)).fetchone()
            stored = notes.decode(row[0]) if row else checkpoints.sign(head, [self._signing_key()])
            merged = stored.with_signatures(lines).encode()
            self._db.execute("insert or replace into heads values (?, ?, 1)", (head.size, merged))
        return merged

    def inclusion_proof(self, seq: int, *, witness: str | None = None) -> bytes:
        """A ``tlog-proof`` of an entry, in the newest cosigned checkpoint that covers it.

        If none does, in the newest checkpoint, with the consistency proof from what ``witness``
        saw last as extra data: a server that gets it in a file can be the witness.

        Raises:
            VerificationError: There is no such entry.
        """
        state = self._state
        if not 0 <= seq < state.size:
            raise VerificationError(f"{self._path}: there is no entry {seq}")
        with database.explained(self._path):
            row = self._db.execute(
                "select size, note from heads where cosigned and size > ? "
                "order by size desc limit 1",
                (seq,),
            ).fetchone()
        if row is not None:
            size, note, extra = row[0], notes.decode(row[1]), b""
        else:
            request = self._request(witness or "", None)
            size, note, extra = state.size, request.note, request.head()
        path = merkle.inclusion_proof(state.leaves[:size], seq)
        return Proof(index=seq, path=tuple(path), note=note, extra=extra).encode()

    def heads(self) -> list[bytes]:
        """Stored checkpoints by size: every cosigned one, and the newest."""
        with database.explained(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    def export(self, path: Path) -> None:
        """Write everything a verifier needs to a ``.wgl`` file."""
        from wg_common.ledger import export

        export.write(self._path, path)

    # --- inside -------------------------------------------------------------------------------

    @property
    def _state(self) -> LedgerState:
        """The fold over all entries on disk; reads what other processes added."""
        with database.explained(self._path):
            if self._loaded is None:
                self._loaded = self._load()
            else:
                self._follow(self._loaded)
        return self._loaded

    def _load(self) -> LedgerState:
        state = LedgerState()
        outside = not self._db.in_transaction
        if outside:
            self._db.execute("begin")
        try:
            heads = dict(self._db.execute("select size, note from heads").fetchall())
            for _ in self._fold(state):
                if state.size in heads:
                    check_head(state, heads[state.size])
            unknown = max(heads, default=0)
            if unknown > state.size:
                raise VerificationError(
                    f"{self._path}: a signed checkpoint has {unknown} entries, the ledger has "
                    f"{state.size}: entries were deleted"
                )
            if state.size not in heads:
                raise VerificationError(
                    f"{self._path}: entry {state.size - 1}: no signed checkpoint covers it"
                )
        finally:
            if outside:
                self._db.execute("rollback")
        return state

    def _follow(self, state: LedgerState) -> None:
        row = self._db.execute(
            "select hash from entries where seq = ?", (state.size - 1,)
        ).fetchone()
        if row is None or row[0] != state.prev:
            raise VerificationError(
                f"{self._path}: entry {state.size - 1} was changed while the ledger was open"
            )
        for _ in self._fold(state):
            pass

    def _fold(self, state: LedgerState) -> Iterator[Entry]:
        rows = self._db.execute(
            "select seq, entry, hash from entries where seq >= ? order by seq", (state.size,)
        )
        for seq, data, leaf in rows:
            if seq != state.size:
                raise VerificationError(f"{self._path}: entry {state.size} is missing")
            if merkle.leaf_hash(data) != leaf:
                raise VerificationError(f"{self._path}: entry {seq} does not match its stored hash")
            yield state.apply(data)
        if state.size == 0:
            raise VerificationError(f"{self._path}: the ledger is empty: entries were deleted")

    @contextmanager
    def _writing(self) -> Iterator[LedgerState]:
        """The write lock, with a state that holds everything committed before."""
        self._signing_key()
        with self._transaction():
            yield self._state

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with database.explained(self._path):
            self._db.execute("begin immediate")
            size = self._loaded.size if self._loaded else 0
            try:
                yield
                self._step("transaction:filled")
                self._db.execute("commit")
            except BaseException:
                if self._loaded is None or self._loaded.size != size:
                    self._loaded = None
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    def _append(self, entry: Entry, keys: list[Ed25519PrivateKey] | None = None) -> int:
        """Add an entry and the signed checkpoint of the new size, inside a transaction."""
        state = self._loaded
        if state is None:
            raise ConfigError(f"{self._path}: not loaded")
        data = entries.encode(entry)
        seq = state.size
        state.apply(data)
        self._db.execute("insert into entries values (?, ?, ?)", (seq, data, state.prev))
        head = Checkpoint(state.origin, state.size, state.frontier.root())
        note = checkpoints.sign(head, keys or [self._signing_key()])
        self._db.execute("delete from heads where not cosigned")
        self._db.execute("insert into heads values (?, ?, 0)", (head.size, note.encode()))
        return seq

    def _head(self, kind: str, *, key_id: str | None = None) -> Head:
        state = self._loaded
        if state is None:
            raise ConfigError(f"{self._path}: not loaded")
        return Head(
            kind=kind,
            seq=state.size,
            prev=state.prev.hex(),
            origin=state.origin,
            key_id=key_id or state.key_id,
            time=self._clock(),
        )

    def _request(self, witness: str, old_size: int | None) -> WitnessRequest:
        note = notes.decode(self.checkpoint())
        size = checkpoints.decode_text(note.text).size
        seen = self._seen_by(witness) if old_size is None else old_size
        return WitnessRequest(old_size=seen, path=tuple(self.consistency(seen, size)), note=note)

    def _seen_by(self, witness: str) -> int:
        """Size of the newest checkpoint that a witness cosigned; zero if it cosigned none."""
        rows = self._db.execute("select size, note from heads where cosigned order by size desc")
        for size, data in rows:
            if any(line.name == witness for line in notes.decode(data).signatures):
                return int(size)
        return 0

    def _anchor(self) -> Checkpoint | None:
        row = self._db.execute(
            "select note from heads where cosigned order by size desc limit 1"
        ).fetchone()
        return checkpoints.decode(row[0])[0] if row else None

    def _own_signatures(
        self, state: LedgerState, note: Note, size: int
    ) -> list[notes.SignatureLine]:
        lines = []
        for raw in state.keys_at(size):
            identifier = notes.key_id(state.origin, notes.ED25519, raw)
            found = notes.signatures_of(note, state.origin, identifier)
            if found:
                notes.verify(note, state.origin, signing.public_from_bytes(raw))
                lines += found
        if not lines:
            raise VerificationError(f"checkpoint of size {size}: not signed by this log")
        return lines

    def _cosigners(self, state: LedgerState, note: Note, witness: str) -> list[bytes]:
        keys = state.witness_keys(witness)
        if not keys:
            raise VerificationError(f"witness {witness!r} is not enrolled")
        valid = []
        for raw in keys:
            identifier = notes.key_id(witness, notes.COSIGNATURE, raw)
            if notes.signatures_of(note, witness, identifier):
                checkpoints.verify_cosignature(note, witness, signing.public_from_bytes(raw))
                valid.append(raw)
        if not valid:
            raise VerificationError(f"checkpoint: no cosignature of an enrolled key of {witness}")
        return valid

    def _cost(self, lineage: LineageState, event: PrivacyEvent) -> tuple[float, float]:
        spent = lineage.events()
        after = LineageState(lineage.id, lineage.cap_epsilon, lineage.cap_delta)
        for one in (*spent, event):
            after.add(one)
        delta = lineage.cap_delta
        return self._epsilon(spent, delta), self._epsilon(after.events(), delta)

    def _epsilon(self, events: tuple[PrivacyEvent, ...], delta: str) -> float:
        key = (events, delta)
        if key not in self._epsilons:
            while len(self._epsilons) >= 8:
                self._epsilons.pop(next(iter(self._epsilons)))
            self._epsilons[key] = self._accountant(events, float(delta))
        return self._epsilons[key]

    def _dataset(self, name: str) -> Dataset:
        found = self._state.datasets.get(name)
        if found is None:
            raise ConfigError(f"data set {name!r} is not registered on the ledger")
        return found

    def _named_lineage(self, name: str) -> LineageState:
        state = self._state
        if name in state.datasets:
            return state.lineage(state.datasets[name].lineage)
        for lineage in state.lineages.values():
            if name in (lineage.id, *lineage.names):
                return lineage
        raise ConfigError(f"lineage: no data set {name!r} on the ledger")

    def _charge(self, charge: int | str) -> ChargeState | None:
        state = self._state
        if isinstance(charge, int):
            return state.charges.get(charge)
        found = [c for c in state.charges.values() if c.request_id == charge]
        return found[-1] if found else None

    def _signing_key(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise ConfigError(f"{self._path}: opened for reading, without the signing key")
        return self._key


def check_head(state: LedgerState, data: bytes) -> Note:
    """Check a stored checkpoint against the entries of its size.

    Raises:
        VerificationError: It has another root, or no valid signature of the log.
    """
    head, note = checkpoints.decode(data, what=f"checkpoint of size {state.size}")
    found = (head.origin, head.size, head.root)
    if found != (state.origin, state.size, state.frontier.root()):
        raise VerificationError(
            f"checkpoint of size {state.size}: is for {head.origin} at {head.size} with root "
            f"{head.root.hex()}, the entries up to {state.size - 1} give "
            f"{state.frontier.root().hex()}: entries were changed"
        )
    errors = []
    for raw in state.keys_at(state.size):
        try:
            notes.verify(note, state.origin, signing.public_from_bytes(raw))
        except VerificationError as error:
            errors.append(str(error))
        else:
            return note
    raise VerificationError(f"checkpoint of size {state.size}: {'; '.join(errors)}")


def rounded_up(value: float) -> str:
    """A number as decimal string of 12 digits, rounded up."""
    return format(_ROUND_UP.create_decimal(Decimal(value)).normalize(_ROUND_UP), "f")


def _defaults(
    accountant: Accountant | None, clock: Clock | None, on_step: Step | None
) -> tuple[Accountant, Clock, Step]:
    return accountant or _dp_accounting, clock or _now, on_step or _ignore


def _dp_accounting(events: Sequence[PrivacyEvent], delta: float) -> float:
    from wg_common.privacy import accounting

    return accounting.epsilon(events, delta)


def _now() -> int:
    return int(time.time())


def _ignore(step: str) -> None:
    del step
