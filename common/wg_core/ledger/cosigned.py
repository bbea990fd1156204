"""Log with witnesses: it gets its checkpoints cosigned, and proves that entries are in them.

A witness cosigns a checkpoint if its log only appended entries to those of the checkpoint that the
witness cosigned before (c2sp.org/tlog-witness). All checkpoints that were sent or cosigned are
stored beside the entries. Proofs (c2sp.org/tlog-proof) refer to the newest cosigned checkpoint. A
witness that has seen more entries than the log holds shows that the log is an older copy.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import checkpoint_signatures, database, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.inclusion_proof import Proof
from wg_core.ledger.log import Log
from wg_core.ledger.signed_note import Note
from wg_core.ledger.witness import WitnessRefused, WitnessRequest
from wg_core.wire import signing


class LedgerRolledBack(VerificationError):
    """Error: a witness has seen more entries than this log holds, so the log is an older copy."""


class CosignedLog(Log):
    """Open ledger log, with proofs of its entries and the cosignatures of its witnesses.

    A context manager, not to be shared between threads.
    """

    def first_entry_checkpoint(self) -> bytes:
        """Return a checkpoint of size 1, signed by the log's current key, for enrolment."""
        head = Checkpoint(self.origin, 1, self._state.leaf_hashes[0])
        return checkpoints.sign(head, [self._signing_key()]).encode()

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the RFC 9162 consistency proof between two sizes of this log.

        Raises:
            VerificationError: A size is beyond the log's, or the two are out of order.
        """
        state = self._state
        if not 0 <= old_size <= new_size <= state.size:
            raise VerificationError(
                f"{self._path}: asked to go from size {old_size} to {new_size}, "
                f"the ledger has {state.size} entries"
            )
        return merkle.consistency_proof(state.leaf_hashes[:new_size], old_size)

    def mark_checkpoint_sent(self) -> None:
        """Record that the newest checkpoint was sent: a witness may cosign it from now on."""
        with self._write_lock() as state:
            self._db.execute(
                "update heads set cosigned = cosigned | ? where size = ?",
                (database.CheckpointFlags.SENT_OUT, state.size),
            )

    def uncosigned_checkpoint_sizes(self, witness: str) -> list[int]:
        """Return the sizes, ascending, of checkpoints sent since a witness's last cosignature."""
        low = self.cosigned_size(witness, self._newest_witness_key(witness))
        with database.translate_sqlite_errors(self._path):
            rows = self._db.execute(
                "select size from heads where cosigned & ? and size > ? order by size",
                (database.CheckpointFlags.SENT_OUT, low),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def witness_request(self, witness: str, *, old_size: int | None = None) -> WitnessRequest:
        """Return the ``add-checkpoint`` request for a witness, with the newest checkpoint.

        Args:
            old_size: Log size that the witness cosigned last; None: the largest size for which
                its cosignature is stored.

        Raises:
            VerificationError: ``old_size`` exceeds the size of this log.
        """
        note = notes.decode(self.newest_checkpoint())
        size = checkpoints.decode_text(note.text).size
        if old_size is None:
            old_size = self.cosigned_size(witness, self._newest_witness_key(witness))
        path = tuple(self.consistency_proof(old_size, size))
        return WitnessRequest(old_size=old_size, consistency_proof=path, note=note)

    def request_cosignature(self, witness: str, ask_witness: Callable[[bytes], bytes]) -> bytes:
        """Have a witness cosign the newest checkpoint; store and return it with the cosignature.

        Args:
            ask_witness: Function that sends an ``add-checkpoint`` body to the witness and returns
                the cosignature lines; raises ``WitnessRefused`` if the witness refuses.

        Raises:
            WitnessRefused: The witness does not cosign.
            LedgerRolledBack: The witness has seen more entries than this ledger holds.
            VerificationError: The cosignature is not valid.
        """
        self.mark_checkpoint_sent()
        request = self._request_without_cosignatures(witness, None)
        self._step("checkpoint:signed")
        try:
            lines = ask_witness(request.encode())
        except WitnessRefused as refused:
            if refused.last_seen_size is None or refused.last_seen_size == request.old_size:
                raise
            if refused.last_seen_size > self.size:
                raise LedgerRolledBack(
                    f"{self._path}: witness {witness} has seen {refused.last_seen_size} entries,"
                    f" the ledger has {self.size}: it was rolled back or replaced by an older copy."
                    " Restore the newest copy; nothing was sent"
                ) from refused
            request = self._request_without_cosignatures(witness, refused.last_seen_size)
            lines = ask_witness(request.encode())
        self._step("checkpoint:cosigned")
        signed = self.add_cosignature(request.note.encode() + lines, witness)
        self._step("cosignature:stored")
        return signed

    def add_cosignature(self, signed_checkpoint: bytes, witness: str) -> bytes:
        """Store a witness's cosignature of one of this log's checkpoints; return that checkpoint.

        Args:
            signed_checkpoint: Checkpoint with its signatures, including the witness's.

        Raises:
            VerificationError: The checkpoint is not of this log, or has no valid cosignature
                under an enrolled key of this witness.
        """
        head, note = checkpoints.decode(signed_checkpoint, input_name="cosigned checkpoint")
        with self._write_lock() as state:
            if head.origin != state.origin or head.size > state.size:
                raise VerificationError(f"checkpoint {head.origin} {head.size} is not of this log")
            if head.root != merkle.root(state.leaf_hashes[: head.size]):
                raise VerificationError(f"checkpoint of size {head.size} has another root")
            lines = checkpoint_signatures.witness_cosignatures(state, note, witness)
            row = self._db.execute("select note from heads where size = ?", (head.size,)).fetchone()
            stored_note = (
                notes.decode(row[0]) if row else checkpoints.sign(head, [self._signing_key()])
            )
            merged_note = stored_note.replace_signatures(lines).encode()
            self._db.execute(
                "insert into heads values (?, ?, ?) on conflict (size) do update"
                " set note = excluded.note, cosigned = cosigned | excluded.cosigned",
                (head.size, merged_note, database.CheckpointFlags.COSIGNED),
            )
        return merged_note

    def inclusion_proof(self, seq: int, *, witness: str) -> bytes:
        """Return a ``tlog-proof`` of an entry in the newest checkpoint that ``witness`` cosigned.

        If that checkpoint does not cover the entry, the proof is for the log's newest one. Its
        extra data then hold consistency proofs from every size that the witness may have cosigned
        last, so that a server that receives the proof in a file can cosign.

        Raises:
            VerificationError: The entry does not exist.
        """
        state = self._state
        if not 0 <= seq < state.size:
            raise VerificationError(f"{self._path}: there is no entry {seq}")
        note = self._cosigned_note_covering(seq, witness)
        if note is not None:
            size = checkpoints.decode_text(note.text).size
            path = merkle.inclusion_proof(state.leaf_hashes[:size], seq)
            return Proof(index=seq, path=tuple(path), note=note).encode()
        cosigned_sizes = {self.cosigned_size(witness, key) for key in state.witness_keys(witness)}
        sizes = sorted({0, *cosigned_sizes, *self.uncosigned_checkpoint_sizes(witness)})
        requests = [self.witness_request(witness, old_size=size) for size in sizes]
        return self._proof_for_witness(seq, requests)

    def is_newest_cosigned(self, witness: str) -> bool:
        """Return whether a witness cosigned the newest checkpoint with its newest key."""
        return self.cosigned_size(witness, self._newest_witness_key(witness)) == self.size

    def cosigned_size(self, witness: str, witness_key: bytes) -> int:
        """Return the size of the newest checkpoint cosigned by a raw witness key; 0 if none is."""
        return next((size for size, _ in self._checkpoints_cosigned_by(witness_key, witness)), 0)

    def is_entry_cosigned(self, seq: int, witness: str) -> bool:
        """Return whether a witness's newest key cosigned a checkpoint that covers an entry."""
        return self._cosigned_note_covering(seq, witness) is not None

    def newest_checkpoint_proof(
        self, seq: int, *, witness: str, old_size: int | None = None
    ) -> bytes:
        """Return a ``tlog-proof`` of an entry in the newest checkpoint, for the witness to cosign.

        Args:
            old_size: Log size that the witness cosigned last; None: the largest size for which
                its cosignature is stored.
        """
        return self._proof_for_witness(seq, [self.witness_request(witness, old_size=old_size)])

    # --- inside

    def _proof_for_witness(self, seq: int, requests: list[WitnessRequest]) -> bytes:
        """Return a proof of an entry in the newest checkpoint; ``requests`` are its extra data."""
        path = merkle.inclusion_proof(self._state.leaf_hashes, seq)
        extra = b"".join(request.encode_preamble() for request in requests)
        return Proof(index=seq, path=tuple(path), note=requests[0].note, extra_data=extra).encode()

    def _request_without_cosignatures(self, witness: str, old_size: int | None) -> WitnessRequest:
        """Return a witness request whose checkpoint is signed by the log alone."""
        request = self.witness_request(witness, old_size=old_size)
        state = self._state
        signatures = checkpoint_signatures.signatures_by_log(state, request.note, state.size)
        return replace(request, note=Note(request.note.text, tuple(signatures)))

    def _newest_witness_key(self, witness: str) -> bytes:
        """Return the newest raw key of a witness; empty if the witness is not enrolled."""
        keys = self._state.witness_keys(witness)
        return keys[0] if keys else b""

    def _checkpoints_cosigned_by(self, key: bytes, witness: str) -> Iterator[tuple[int, Note]]:
        """Yield size and note of the checkpoints that a witness's key cosigned, newest first."""
        if not key:
            return
        public = signing.public_from_bytes(key)
        with database.translate_sqlite_errors(self._path):
            rows = self._db.execute(
                "select size, note from heads where cosigned & ? order by size desc",
                (database.CheckpointFlags.COSIGNED,),
            )
            for size, data in rows:
                note = notes.decode(data)
                if notes.signature_lines(note, witness, notes.COSIGNER_ROLE, public):
                    yield int(size), note

    def _cosigned_note_covering(self, seq: int, witness: str) -> Note | None:
        for size, note in self._checkpoints_cosigned_by(self._newest_witness_key(witness), witness):
            return note if size > seq else None
        return None
