"""Checks of the signatures on a checkpoint against the keys of the log and of its witnesses."""

from collections.abc import Iterable

from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import signed_note as notes
from wg_core.ledger.log_state import LedgerState
from wg_core.ledger.signed_note import Note, SignatureLine, SignatureRole
from wg_core.wire import signing


def check_checkpoint(state: LedgerState, checkpoint_bytes: bytes) -> None:
    """Check a stored checkpoint against the log's state at the checkpoint's size.

    Raises:
        VerificationError: Origin, size or root differs, or no signature of the log is valid.
    """
    head, note = checkpoints.decode(checkpoint_bytes, input_name=f"checkpoint of size {state.size}")
    identity = (head.origin, head.size, head.root)
    if identity != (state.origin, state.size, state.frontier.root()):
        raise VerificationError(
            f"checkpoint of size {state.size}: is for {head.origin} at {head.size} with root "
            f"{head.root.hex()}, the entries up to {state.size - 1} give "
            f"{state.frontier.root().hex()}: entries were changed"
        )
    errors = []
    for raw in state.keys_at_size(state.size):
        try:
            checkpoints.verify(note, state.origin, signing.public_from_bytes(raw))
        except VerificationError as error:
            errors.append(str(error))
        else:
            return
    raise VerificationError(f"checkpoint of size {state.size}: {'; '.join(errors)}")


def verified_signature_lines(
    note: Note, key_name: str, role: SignatureRole, raw_keys: Iterable[bytes]
) -> list[SignatureLine]:
    """Return the signature lines on a checkpoint by the given keys, after verifying each line.

    Args:
        role: Role of the signer: ``LOG_ROLE`` or ``COSIGNER_ROLE`` of the module ``signed_note``.
        raw_keys: Raw public keys; those without a line on the note are passed over.

    Raises:
        VerificationError: A signature is not valid.
    """
    verify = checkpoints.verify if role is notes.LOG_ROLE else checkpoints.verified_cosignature_time
    lines = []
    for key in map(signing.public_from_bytes, raw_keys):
        if claimed_lines := notes.signature_lines(note, key_name, role, key):
            verify(note, key_name, key)
            lines += claimed_lines
    return lines


def signatures_by_log(state: LedgerState, note: Note, checkpoint_size: int) -> list[SignatureLine]:
    """Return the log's own signatures on one of its checkpoints.

    Raises:
        VerificationError: The checkpoint has no signature of the log, or an invalid one.
    """
    keys = state.keys_at_size(checkpoint_size)
    lines = verified_signature_lines(note, state.origin, notes.LOG_ROLE, keys)
    if not lines:
        raise VerificationError(f"checkpoint of size {checkpoint_size}: not signed by this log")
    return lines


def witness_cosignatures(state: LedgerState, note: Note, witness: str) -> list[SignatureLine]:
    """Return the cosignatures of an enrolled witness on a checkpoint.

    Raises:
        VerificationError: The witness is not enrolled, or its cosignature is missing or invalid.
    """
    keys = state.witness_keys(witness)
    if not keys:
        raise VerificationError(f"witness {witness!r} is not enrolled")
    lines = verified_signature_lines(note, witness, notes.COSIGNER_ROLE, keys)
    if not lines:
        raise VerificationError(f"checkpoint: no cosignature of an enrolled key of {witness}")
    return lines
