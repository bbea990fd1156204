"""Rules of a witness (c2sp.org/tlog-witness, ``add-checkpoint``), as pure functions.

A witness remembers one checkpoint of each log, the largest that it cosigned, and cosigns only
checkpoints that provably extend it. ``cosign_extension`` takes this state and returns the new one;
its caller must read the old state and store the new one in a single transaction. A signed
checkpoint that contradicts the state is kept as evidence that the log has two histories.

Not guaranteed: that the witness's own state was not replaced by an older copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from wg_core.errors import DecodeError, PeerError, VerificationError, check_byte_count
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.inclusion_proof import Proof, decode_hashes, split_at_blank_line
from wg_core.ledger.signed_note import Note
from wg_core.wire.signing import PrivateKey, PublicKey

AskWitness = Callable[[bytes], bytes]
"""Function from an ``add-checkpoint`` body to cosignature lines; may raise ``WitnessRefused``."""
SIZE_CONTENT_TYPE = "text/x.tlog.size"  # Of a reply 409, whose body is the size cosigned last
UNCOSIGNED_CHECKPOINTS_LIMIT = 16
"""Most checkpoints of one log that were sent in files and wait for a cosignature."""
CONTRADICTION_STATUSES = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""HTTP statuses of a witness for a log that does not extend the checkpoint cosigned last."""
_REQUESTS_IN_PROOF_LIMIT = 64
REQUEST_BYTES_LIMIT = 136 << 10
_SIZE_BODY_PATTERN = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class WitnessRefused(PeerError):
    """Error: a witness refuses to cosign a checkpoint.

    Attributes:
        status: HTTP status of the refusal.
        last_seen_size: Log size that the witness cosigned last, stated with status 409; else None.
        body: Body of the HTTP reply.
    """

    code = "witness"

    def __init__(self, status: int, message: str, *, last_seen_size: int | None = None) -> None:
        super().__init__(f"witness: {message}")
        self.status = status
        self.last_seen_size = last_seen_size
        self.body = b"" if last_seen_size is None else f"{last_seen_size}\n".encode()


class WitnessFork(WitnessRefused):
    """Error: a log signed a checkpoint that contradicts an earlier one.

    Attributes:
        evidence: The two signed checkpoints, to be kept.
    """

    code = "fork"

    def __init__(self, status: int, message: str, evidence: ForkEvidence) -> None:
        super().__init__(status, message)
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Evidence of two histories of a log: two signed checkpoints that contradict each other.

    If they have equal sizes, their roots prove the contradiction. If not, there only was no valid
    consistency proof between them.
    """

    earlier_checkpoint: bytes
    later_checkpoint: bytes


@dataclass(frozen=True, slots=True)
class WitnessState:
    """State of a witness for one log: the largest checkpoint it cosigned, as a signed note."""

    signed_checkpoint: bytes

    @property
    def newest_checkpoint(self) -> Checkpoint:
        """Newest checkpoint that the witness cosigned, decoded."""
        return checkpoints.decode(self.signed_checkpoint, input_name="remembered checkpoint")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRequest:
    """Request to cosign: size cosigned last, consistency proof from it, and new checkpoint."""

    old_size: int
    consistency_proof: tuple[bytes, ...]
    note: Note

    def encode_preamble(self) -> bytes:
        """Return the request body up to the checkpoint, including the blank line before it."""
        hashes = "".join(f"{notes.encode_base64(x)}\n" for x in self.consistency_proof)
        return f"old {self.old_size}\n{hashes}\n".encode()

    def encode(self) -> bytes:
        """Return the body of the HTTP request, the checkpoint included."""
        return self.encode_preamble() + self.note.encode()


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """Answer of a witness: cosignature lines, each with its newline, and its new state."""

    cosignature_lines: bytes
    new_state: WitnessState


def decode_request(data: bytes) -> WitnessRequest:
    """Decode an ``add-checkpoint`` body; raise ``DecodeError`` if it is malformed."""
    subject = "witness request"
    check_byte_count(len(data), REQUEST_BYTES_LIMIT, subject)
    lines, body = split_at_blank_line(data, input_name=subject)
    if not lines[0].startswith("old "):
        raise DecodeError(f"{subject}: first line {lines[0][:40]!r}, expected 'old SIZE'")
    old_size = notes.decode_decimal(lines[0][len("old ") :], input_name=f"{subject}: old size")
    _, note = checkpoints.decode(body, input_name=f"{subject}: checkpoint")
    return WitnessRequest(
        old_size=old_size, consistency_proof=decode_hashes(lines[1:], input_name=subject), note=note
    )


def requests_in_proof(decoded_proof: Proof) -> tuple[WitnessRequest, ...]:
    """Return the witness requests in the extra data of a proof from a site without a network.

    All ask to cosign the proof's checkpoint; each starts from another old size.

    Raises:
        DecodeError: The proof has no extra data (it is cosigned already), or other data.
    """
    subject = "proof: extra data"
    if not decoded_proof.extra_data:
        raise DecodeError(f"{subject}: none, expected consistency proofs for a witness")
    heads = decoded_proof.extra_data.removesuffix(b"\n\n").split(b"\n\n")
    if not decoded_proof.extra_data.endswith(b"\n\n") or len(heads) > _REQUESTS_IN_PROOF_LIMIT:
        raise DecodeError(
            f"{subject}: not 1 to {_REQUESTS_IN_PROOF_LIMIT} heads of witness requests"
        )
    note = decoded_proof.note.encode()
    return tuple(decode_request(head + b"\n\n" + note) for head in heads)


class KnownLog(NamedTuple):
    """Log known to a witness: origin, and the public key that must sign the log's checkpoints."""

    origin: str
    key: PublicKey


class NamedKey(NamedTuple):
    """Name and private key with which a witness cosigns."""

    name: str
    key: PrivateKey


def cosign_extension(
    state: WitnessState | None,
    request_body: bytes,
    *,
    log: KnownLog,
    witness: NamedKey,
    current_time: int,
) -> WitnessAnswer:
    """Cosign a checkpoint after verifying that it extends the one that the witness remembers.

    Args:
        state: State of the witness about this log; ``None`` if it never cosigned the log.
        request_body: Body of the ``add-checkpoint`` request.
        log: Log that the sender of the request owns.
        current_time: Unix time in seconds, by the witness's clock.

    Raises:
        WitnessRefused: The request is refused with HTTP status 400, 403, 404, 409 or 422.
        WitnessFork: The checkpoint contradicts the state; the error has the evidence.
    """
    origin, log_key = log
    request, head = _verified_request(request_body, origin, log_key)
    head_before = state.newest_checkpoint if state else None
    size = head_before.size if head_before else 0
    if head_before and state and head.size == size and head.root != head_before.root:
        evidence = ForkEvidence(state.signed_checkpoint, request.note.encode())
        message = f"two signed roots for size {size} of log {origin}"
        raise WitnessFork(HTTPStatus.CONFLICT, message, evidence)
    if request.old_size != size:
        message = f"old size {request.old_size}, but size {size} was cosigned last"
        raise WitnessRefused(HTTPStatus.CONFLICT, message, last_seen_size=size)
    try:
        known_root = head_before.root if head_before else merkle.EMPTY_ROOT
        merkle.verify_consistency(size, known_root, head.size, head.root, request.consistency_proof)
    except VerificationError as error:
        if state is None:
            raise WitnessRefused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        evidence = ForkEvidence(state.signed_checkpoint, request.note.encode())
        raise WitnessFork(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), evidence) from error
    lines = notes.signature_lines(request.note, origin, notes.LOG_ROLE, log_key)
    return _cosigned_answer(Note(request.note.text, tuple(lines)), witness, current_time)


def _verified_request(
    request_body: bytes, origin: str, log_key: PublicKey
) -> tuple[WitnessRequest, Checkpoint]:
    """Decode a witness request and its checkpoint, and verify the log's signature."""
    try:
        request = decode_request(request_body)
    except DecodeError as error:
        raise WitnessRefused(HTTPStatus.BAD_REQUEST, str(error)) from error
    head = checkpoints.decode_text(request.note.text)
    if head.origin != origin:
        message = f"log {head.origin!r} is unknown, expected {origin!r}"
        raise WitnessRefused(HTTPStatus.NOT_FOUND, message)
    try:
        checkpoints.verify(request.note, origin, log_key)
    except VerificationError as error:
        raise WitnessRefused(HTTPStatus.FORBIDDEN, str(error)) from error
    if request.old_size > head.size:
        message = f"old size {request.old_size} above new {head.size}"
        raise WitnessRefused(HTTPStatus.BAD_REQUEST, message)
    return request, head


def cosign_again(
    state: WitnessState, *, witness_name: str, witness_key: PrivateKey, current_time: int
) -> WitnessAnswer:
    """Cosign the checkpoint in ``state`` again, to state that no larger one has been seen."""
    head, note = checkpoints.decode(state.signed_checkpoint, input_name="remembered checkpoint")
    log_note = Note(note.text, tuple(x for x in note.signatures if x.name == head.origin))
    return _cosigned_answer(log_note, NamedKey(witness_name, witness_key), current_time)


def read_cosignature_lines(status: int, body: bytes) -> bytes:
    """Return the cosignature lines in a witness's HTTP answer.

    Raises:
        WitnessRefused: The witness did not cosign; status 409 states the size it cosigned last.
    """
    if status == HTTPStatus.OK:
        return body
    states_size = status == HTTPStatus.CONFLICT and _SIZE_BODY_PATTERN.fullmatch(body)
    size = int(body) if states_size else None
    raise WitnessRefused(status, f"refused with status {status}", last_seen_size=size)


def _cosigned_answer(note: Note, witness: NamedKey, current_time: int) -> WitnessAnswer:
    cosignatures = checkpoints.cosign(note, *witness, current_time)
    state = WitnessState(note.with_signatures(cosignatures).encode())
    return WitnessAnswer("".join(f"{x.encode()}\n" for x in cosignatures).encode(), state)
