"""Tamper-evident, append-only log in one SQLite file, with signed checkpoints.

Every append takes the write lock of the file, applies the entries that other processes added,
checks the new entry with the rules that a verifier uses, and commits it with a signed checkpoint of
the new size in the same transaction. Hence editing any stored entry, even the last, invalidates a
signature. ``cosigned`` adds the signatures of witnesses, ``budget_ledger`` the rules of budgets.

Not guaranteed: that the file was not replaced by an older copy of itself. Only a witness can detect
that (``CosignedLog.request_cosignature`` fails).
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import checkpoint_signatures, database, entries, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.charging import SOFTWARE_VERSION
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import (
    Entry,
    EntryHeader,
    Genesis,
    KeyHandover,
    Predecessor,
    Rotation,
    Witness,
)
from wg_core.ledger.log_state import ROTATION_CONTEXT, LedgerState
from wg_core.wire import handover as handovers
from wg_core.wire import signing
from wg_core.wire.handover import Handover
from wg_core.wire.signing import PrivateKey

StepHook = Callable[[str], None]  # Called with the name of each step of a write
UnixClock = Callable[[], int]  # Returns the Unix time in seconds


class Log:
    """Open ledger log, to which entries are appended.

    A context manager, not to be shared between threads.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        key: PrivateKey | None,
        clock: UnixClock | None,
        on_step: StepHook | None,
    ) -> None:
        self._path = path
        self._db = connection
        self._key = key
        self._clock: UnixClock = clock or (lambda: int(time.time()))
        self._step: StepHook = on_step or (lambda step: None)
        self._loaded: LedgerState | None = None

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        origin: str,
        key: PrivateKey,
        site: str,
        predecessor: Predecessor | None = None,
        clock: UnixClock | None = None,
        on_step: StepHook | None = None,
    ) -> Self:
        """Create a ledger with its genesis entry.

        Args:
            path: Ledger file; must not hold a ledger.
            origin: Unique name of the log, the first line of its checkpoints.
            predecessor: Ledger that this one replaces after a compromise (``log_succession``).
            clock: Function that returns the Unix time in seconds.
            on_step: Function called with the name of each step, at which tests stop a process.

        Raises:
            ConfigError: A ledger exists already, or the file cannot be created.
        """
        notes.check_key_name(origin)
        connection = database.create_ledger_file(path)
        self = cls(path, connection, key, clock, on_step)
        self._loaded = LedgerState()
        try:
            with self._transaction():
                database.install_schema(connection)
                public = key.public_key()
                head = EntryHeader(
                    kind=entries.GENESIS_KIND,
                    seq=0,
                    prev="",
                    origin=origin,
                    key_id=notes.key_ids(origin, notes.LOG_ROLE, public)[0].hex(),
                    time=self._clock(),
                )
                genesis = Genesis(
                    head=head,
                    site=site,
                    ledger_key=public.raw.hex(),
                    software=SOFTWARE_VERSION,
                    predecessor=predecessor,
                )
                self._append_entry(genesis, [key])
        except BaseException:
            connection.close()
            raise
        return self

    @classmethod
    def open(
        cls,
        path: Path,
        key: PrivateKey | None = None,
        *,
        clock: UnixClock | None = None,
        on_step: StepHook | None = None,
    ) -> Self:
        """Open a ledger and verify it: hash chain, arithmetic, and every stored checkpoint.

        Without a key the ledger is opened for reading only.

        Raises:
            ConfigError: The file is missing or unreadable, or the key is not its signing key.
            VerificationError: The ledger was edited, truncated, or is damaged.
        """
        connection = database.connect(path) if key is not None else database.connect_read_only(path)
        self = cls(path, connection, key, clock, on_step)
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger file."""
        self._db.close()

    @property
    def path(self) -> Path:
        """Path of the ledger file."""
        return self._path

    @property
    def origin(self) -> str:
        """Origin line of the log, which names it in checkpoints."""
        return self._state.origin

    @property
    def site(self) -> str:
        """Name of the site that keeps the log."""
        return self._state.site

    @property
    def size(self) -> int:
        """Number of entries in the log."""
        return self._state.size

    @property
    def public_key(self) -> bytes:
        """Raw public key that currently signs the log."""
        return self._state.public_key

    @property
    def newest_rotation_seq(self) -> int | None:
        """Index of the ROTATION entry that introduced the signing key; None for the first key."""
        keys = self._state.key_periods
        return keys[-1].first_size - 1 if len(keys) > 1 else None

    def entry_bytes(self, seq: int) -> bytes:
        """Return an entry's canonical bytes by its index; ``ConfigError`` if it does not exist."""
        with database.translate_sqlite_errors(self._path):
            row = self._db.execute("select entry from entries where seq = ?", (seq,)).fetchone()
        if row is None:
            raise ConfigError(f"{self._path}: there is no entry {seq}")
        return bytes(row[0])

    def enrol_witness(self, name: str, public_key: bytes) -> int:
        """Enrol a witness with its raw key, if it is not enrolled yet; return the entry's index."""
        notes.check_key_name(name)
        with self._write_lock() as state:
            witness = next((w for w in reversed(state.witnesses) if w.name == name), None)
            if witness is not None and witness.public_key == public_key:
                return witness.enrolment_seq
            head = self._new_header(entries.WITNESS_KIND)
            return self._append_entry(Witness(head=head, name=name, public_key=public_key.hex()))

    def record_handover(self, handover: Handover) -> int:
        """Record a hand-over of a server's or witness's key, if new; return its entry's index.

        Raises:
            VerificationError: The signature is not valid, or the old key is not the witness's.
        """
        with self._write_lock() as state:
            for entry in state.handovers:
                if entry.handover == handover:
                    return entry.head.seq
            same_name = [w for w in state.witnesses if w.name == handover.name]
            witness = handover.use == handovers.WITNESS_USE
            if witness and same_name and same_name[-1].public_key.hex() == handover.now:
                return same_name[-1].enrolment_seq  # already enrolled with this key
            head = self._new_header(entries.HANDOVER_KIND)
            return self._append_entry(KeyHandover(head=head, handover=handover))

    def rotate_key(self, new_key: PrivateKey) -> int:
        """Change the log's signing key; return the index of the rotation entry.

        Both the old and the new key sign the checkpoint of the change.

        Raises:
            ConfigError: The ledger was opened without a key.
        """
        with self._write_lock() as state:
            old_key = self._signing_key()
            public = new_key.public_key()
            key_id = notes.key_ids(state.origin, notes.LOG_ROLE, public)[0].hex()
            head = self._new_header(entries.ROTATION_KIND, key_id=key_id)
            new_hex = public.raw.hex()
            statement = entries.rotation_signed_bytes(head, state.public_key.hex(), new_hex)
            seq = self._append_entry(
                Rotation(
                    head=head,
                    new_key=new_hex,
                    old_signature=signing.sign(old_key, ROTATION_CONTEXT, statement).hex(),
                    new_signature=signing.sign(new_key, ROTATION_CONTEXT, statement).hex(),
                ),
                [old_key, new_key],
            )
            self._step("rotation:inserted")
        self._key = new_key
        return seq

    def newest_checkpoint(self) -> bytes:
        """Return the newest signed checkpoint, with its stored cosignatures."""
        size = self.size
        with database.translate_sqlite_errors(self._path):
            row = self._db.execute("select note from heads where size = ?", (size,)).fetchone()
        if row is None:
            raise VerificationError(f"{self._path}: no checkpoint of size {size}")
        return bytes(row[0])

    def checkpoints(self) -> list[bytes]:
        """Return the log's stored checkpoints by size: all cosigned or sent, and the newest."""
        with database.translate_sqlite_errors(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    # --- inside

    @property
    def _state(self) -> LedgerState:
        """State of the log after all entries on disk, including those of other processes."""
        with database.translate_sqlite_errors(self._path):
            if self._loaded is None:
                self._loaded = self._load_state()
            else:
                self._apply_new_entries(self._loaded)
        return self._loaded

    def _load_state(self) -> LedgerState:
        state = LedgerState()
        outside = not self._db.in_transaction
        if outside:
            self._db.execute("begin")
        try:
            stored_heads = dict(self._db.execute("select size, note from heads").fetchall())
            for _ in self._apply_stored_entries(state):
                if state.size in stored_heads:
                    checkpoint_signatures.check_checkpoint(state, stored_heads[state.size])
            newest = max(stored_heads, default=0)
            if newest > state.size:
                raise VerificationError(
                    f"{self._path}: a signed checkpoint has {newest} entries, the ledger has "
                    f"{state.size}: entries were deleted"
                )
            if state.size not in stored_heads:
                raise VerificationError(
                    f"{self._path}: entry {state.size - 1}: no signed checkpoint covers it"
                )
        finally:
            if outside:
                self._db.execute("rollback")
        return state

    def _apply_new_entries(self, state: LedgerState) -> None:
        query = "select hash from entries where seq = ?"
        row = self._db.execute(query, (state.size - 1,)).fetchone()
        if row is None or row[0] != state.last_leaf_hash:
            raise VerificationError(
                f"{self._path}: entry {state.size - 1} was changed while the ledger was open"
            )
        for _ in self._apply_stored_entries(state):
            pass

    def _apply_stored_entries(self, state: LedgerState) -> Iterator[Entry]:
        rows = self._db.execute(
            "select seq, entry, hash from entries where seq >= ? order by seq", (state.size,)
        )
        for seq, data, leaf in rows:
            if seq != state.size:
                raise VerificationError(f"{self._path}: entry {state.size} is missing")
            if not isinstance(data, bytes) or merkle.leaf_hash(data) != leaf:
                raise VerificationError(f"{self._path}: entry {seq} does not match its stored hash")
            yield state.apply_entry(data)
        if state.size == 0:
            raise VerificationError(f"{self._path}: the ledger is empty: entries were deleted")

    @contextmanager
    def _write_lock(self) -> Iterator[LedgerState]:
        """Take the log's write lock, yield the newest state of the log, and commit or roll back."""
        key = signing.public_bytes(self._signing_key())
        with self._transaction():
            state = self._state
            if key != state.public_key:  # rotated by another process since the log was opened
                raise ConfigError(f"{self._path}: signed by key {state.key_id} now, open it again")
            yield state

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with database.translate_sqlite_errors(self._path):
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

    def _append_entry(self, entry: Entry, signing_keys: list[PrivateKey] | None = None) -> int:
        """Add an entry and a signed checkpoint to the log, inside a transaction."""
        state = self._loaded
        if state is None:
            raise ConfigError(f"{self._path}: not loaded")
        data = entries.encode(entry)
        seq = state.size
        state.apply_entry(data)
        self._db.execute("insert into entries values (?, ?, ?)", (seq, data, state.last_leaf_hash))
        head = Checkpoint(state.origin, state.size, state.frontier.root())
        note = checkpoints.sign(head, signing_keys or [self._signing_key()])
        self._db.execute("delete from heads where cosigned = 0")
        self._db.execute("insert into heads values (?, ?, 0)", (head.size, note.encode()))
        return seq

    def _new_header(self, kind: str, *, key_id: str | None = None) -> EntryHeader:
        state = self._loaded
        if state is None:
            raise ConfigError(f"{self._path}: not loaded")
        return EntryHeader(
            kind=kind,
            seq=state.size,
            prev=state.last_leaf_hash.hex(),
            origin=state.origin,
            key_id=key_id or state.key_id,
            time=self._clock(),
        )

    def _signing_key(self) -> PrivateKey:
        if self._key is None:
            raise ConfigError(f"{self._path}: opened for reading, without the signing key")
        return self._key
