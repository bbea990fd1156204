"""Which signatures a checkpoint must have, given what the log says about keys and witnesses."""

from __future__ import annotations

from wg_common.errors import VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import note as notes
from wg_common.ledger.note import Note, SignatureLine
from wg_common.ledger.state import LedgerState
from wg_common.wire import signing


def check_head(state: LedgerState, data: bytes) -> None:
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
            return
    raise VerificationError(f"checkpoint of size {state.size}: {'; '.join(errors)}")


def own_signatures(state: LedgerState, note: Note, size: int) -> list[SignatureLine]:
    """Signatures of the log itself on a checkpoint of its own.

    Raises:
        VerificationError: There is none, or one does not hold.
    """
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


def cosignatures(state: LedgerState, note: Note, witness: str) -> list[SignatureLine]:
    """Cosignatures of an enrolled witness on a checkpoint.

    Raises:
        VerificationError: The witness is not enrolled, there is none, or one does not hold.
    """
    keys = state.witness_keys(witness)
    if not keys:
        raise VerificationError(f"witness {witness!r} is not enrolled")
    valid = []
    for raw in keys:
        identifier = notes.key_id(witness, notes.COSIGNATURE, raw)
        found = notes.signatures_of(note, witness, identifier)
        if found:
            checkpoints.verify_cosignature(note, witness, signing.public_from_bytes(raw))
            valid += found
    if not valid:
        raise VerificationError(f"checkpoint: no cosignature of an enrolled key of {witness}")
    return valid
