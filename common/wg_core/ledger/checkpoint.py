"""Checkpoints and cosignatures (c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature).

A checkpoint is a signed note with three lines: origin, tree size, root hash. The log signs it
under its origin as key name. A cosigner adds timestamped signatures after checking that entries
were only appended. Extension lines are refused: ML-DSA-44 signatures would not cover them.

There are three signature types: 1 is Ed25519 over the text (signed-note, "Ed25519 signatures"),
4 is Ed25519 over a time and the text (tlog-cosignature, "Ed25519 signed message"), 6 is ML-DSA-44
over name, time, origin, size and root (tlog-cosignature, "ML-DSA-44 signed message"). A log signs
with types 1 and 6, the latter with time zero, because it makes no statement about time
(tlog-checkpoint, "Signatures"). A cosigner signs with types 4 and 6. A key of two algorithms is
verified only if both signatures are present and valid, so removing one of the two lines does not
help a forger. Cosigners other than ours may use a single algorithm.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import signed_note as notes
from wg_core.ledger.merkle import HASH_SIZE
from wg_core.ledger.signed_note import Note, SignatureLine, SignatureRole
from wg_core.wire.signing import PrivateKey, PublicKey

_UINT64_STRUCT = struct.Struct(">Q")
_SUBTREE_PREFIX = b"subtree/v1\n\0"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a log: its origin (a unique name), number of entries, and Merkle root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the checkpoint as note text: three lines, each ending in a newline."""
        return f"{self.origin}\n{self.size}\n{notes.encode_base64(self.root)}\n"


def sign(checkpoint: Checkpoint, keys: Iterable[PrivateKey]) -> Note:
    """Return a signed note of a checkpoint, by the log's key, or by both keys of a rotation."""
    note = Note(checkpoint.text(), ())
    return note.with_signatures(
        line for key in keys for line in _sign_note(note, checkpoint.origin, notes.LOG_ROLE, key, 0)
    )


def decode(data: bytes, *, input_name: str = "checkpoint") -> tuple[Checkpoint, Note]:
    """Decode a signed checkpoint without verifying its signatures.

    Raises:
        DecodeError: The bytes are not a checkpoint.
    """
    note = notes.decode(data, input_name=input_name)
    return decode_text(note.text, input_name=input_name), note


def decode_text(text: str, *, input_name: str = "checkpoint") -> Checkpoint:
    """Decode the three lines of a checkpoint; raise ``DecodeError`` if they are malformed."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise DecodeError(f"{input_name}: {len(lines) - 1} lines, expected origin, size and root")
    origin, size, root = lines[:3]
    notes.check_key_name(origin)
    digest = notes.decode_base64(root, input_name=f"{input_name}: root hash")
    if len(digest) != HASH_SIZE:
        raise DecodeError(f"{input_name}: root hash of {len(digest)} bytes, expected {HASH_SIZE}")
    entry_count = notes.decode_decimal(size, input_name=f"{input_name}: tree size")
    return Checkpoint(origin, entry_count, digest)


def verify(note: Note, origin: str, log_key: PublicKey) -> Checkpoint:
    """Verify a checkpoint's origin and the log's signatures, and return the checkpoint.

    Raises:
        VerificationError: The checkpoint is of another log, or a signature is missing or invalid.
    """
    checkpoint = decode_text(note.text)
    if checkpoint.origin != origin:
        raise VerificationError(f"checkpoint: of log {checkpoint.origin!r}, expected {origin!r}")
    verified_signature_time(note, origin, notes.LOG_ROLE, log_key)
    return checkpoint


def cosign(note: Note, key_name: str, key: PrivateKey, unix_time: int) -> tuple[SignatureLine, ...]:
    """Return a cosigner's signature lines; the caller has checked that entries were only added."""
    return _sign_note(note, key_name, notes.COSIGNER_ROLE, key, unix_time)


def verified_cosignature_time(note: Note, key_name: str, witness_key: PublicKey) -> int:
    """Verify a witness's cosignature of a checkpoint under every algorithm of its key.

    Returns:
        Time of the cosignature by the cosigner's clock, Unix seconds. If the times of two
        algorithms differ, the earlier one: no algorithm vouches for a time alone.

    Raises:
        VerificationError: A cosignature of this key is missing, invalid, or states no time.
    """
    time = verified_signature_time(note, key_name, notes.COSIGNER_ROLE, witness_key)
    if not time:
        raise VerificationError(f"checkpoint: the cosignature of {key_name} says no time")
    return time


def _sign_note(
    note: Note, key_name: str, role: SignatureRole, key: PrivateKey, unix_time: int
) -> tuple[SignatureLine, ...]:
    notes.check_key_name(key_name)
    public = key.public_key()
    lines = []
    key_ids = notes.key_ids(key_name, role, public)
    for part, of, identifier in zip(key.parts, public.parts, key_ids, strict=True):
        kind = role[of.algorithm]
        stamp = b"" if kind == notes.SignatureType.ED25519 else _UINT64_STRUCT.pack(unix_time)
        signature = part.sign(_signed_bytes(kind, key_name, note.text, unix_time))
        lines.append(SignatureLine(key_name, identifier, stamp + signature))
    return tuple(lines)


def verified_signature_time(note: Note, key_name: str, role: SignatureRole, key: PublicKey) -> int:
    """Verify a key's signature lines on a checkpoint: at least one for each of its algorithms.

    Returns:
        Newest time that every algorithm confirms, Unix seconds; 0 if the role signs no time.

    Raises:
        VerificationError: A line is missing or invalid.
    """
    newest = []
    word = "signature" if role is notes.LOG_ROLE else "cosignature"
    for part, identifier in zip(key.parts, notes.key_ids(key_name, role, key), strict=True):
        kind, subject = role[part.algorithm], f"{part.algorithm} {word} of {key_name}"
        times = []
        for line in note.signatures:
            if (line.name, line.key_id) != (key_name, identifier):
                continue
            signature, time = line.signature, 0
            if kind != notes.SignatureType.ED25519:
                signature = line.signature[_UINT64_STRUCT.size :]
                time = int.from_bytes(line.signature[: _UINT64_STRUCT.size], "big")
            if len(signature) != part.signature_size or time >= (1 << 63):
                raise VerificationError(f"checkpoint: the {subject} has a wrong size")
            try:
                part.verify(signature, _signed_bytes(kind, key_name, note.text, time))
            except InvalidSignature as error:
                raise VerificationError(f"checkpoint: the {subject} does not hold") from error
            times.append(time)
        if not times:
            raise VerificationError(f"checkpoint: no {subject} with key {identifier.hex()}")
        newest.append(max(times))
    return min(newest)


def _signed_bytes(signature_type: int, key_name: str, note_text: str, unix_time: int) -> bytes:
    """Return the message that a signature of the given type on a checkpoint signs."""
    if signature_type == notes.SignatureType.ED25519:
        return note_text.encode()
    if signature_type == notes.SignatureType.COSIGNATURE:
        return f"cosignature/v1\ntime {unix_time}\n{note_text}".encode()
    head = decode_text(note_text)
    return b"".join(
        (
            _SUBTREE_PREFIX,
            _length_prefixed_bytes(key_name),
            _UINT64_STRUCT.pack(unix_time),
            _length_prefixed_bytes(head.origin),
            _UINT64_STRUCT.pack(0),
            _UINT64_STRUCT.pack(head.size),
            head.root,
        )
    )


def _length_prefixed_bytes(text: str) -> bytes:
    """Return a string of 1 to 255 bytes, with its length as first byte (RFC 8446)."""
    data = text.encode()
    return bytes([len(data)]) + data
