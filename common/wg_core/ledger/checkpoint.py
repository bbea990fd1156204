"""Checkpoints and cosignatures (c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature).

A checkpoint is a signed note with three lines: origin, tree size, root hash. The log signs it
under its origin as key name. A cosigner adds a timestamped signature after it has checked that
the tree only grew. Extension lines are refused: nothing of ours uses them.
"""

import base64
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import note as notes
from wg_core.ledger.merkle import HASH_SIZE
from wg_core.ledger.note import Note, SignatureLine
from wg_core.wire import signing

_TIMESTAMP = struct.Struct(">Q")
_ED25519_SIZE = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Head of a log's tree: origin, number of leaves, root hash of 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text: three lines, each ending in a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


def sign(checkpoint: Checkpoint, keys: Iterable[Ed25519PrivateKey]) -> Note:
    """Sign a checkpoint with the log's key, or with the old and the new one at a rotation."""
    text = checkpoint.text()
    return Note(text, tuple(notes.sign(text, checkpoint.origin, key) for key in keys))


def decode(data: bytes, *, what: str = "checkpoint") -> tuple[Checkpoint, Note]:
    """Read a signed checkpoint; says nothing about whether its signatures hold.

    Raises:
        DecodeError: The bytes are not a checkpoint.
    """
    note = notes.decode(data, what=what)
    return decode_text(note.text, what=what), note


def decode_text(text: str, *, what: str = "checkpoint") -> Checkpoint:
    """Read a checkpoint's three lines, or ``DecodeError``."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise DecodeError(f"{what}: {len(lines) - 1} lines, expected origin, size and root")
    origin, size, root = lines[:3]
    notes.check_key_name(origin)
    digest = notes.decode_base64(root, what=f"{what}: root hash")
    if len(digest) != HASH_SIZE:
        raise DecodeError(f"{what}: root hash of {len(digest)} bytes, expected {HASH_SIZE}")
    return Checkpoint(origin, notes.decode_decimal(size, what=f"{what}: tree size"), digest)


def verify(note: Note, origin: str, key: Ed25519PublicKey) -> Checkpoint:
    """Check origin and the log's signature.

    Raises:
        VerificationError: The checkpoint is of another log, or the signature does not hold.
    """
    checkpoint = decode_text(note.text)
    if checkpoint.origin != origin:
        raise VerificationError(f"checkpoint: of log {checkpoint.origin!r}, expected {origin!r}")
    notes.verify(note, origin, key)
    return checkpoint


def cosign(note: Note, name: str, key: Ed25519PrivateKey, time: int) -> SignatureLine:
    """Cosign a checkpoint at a time (Unix seconds). Checking consistency is the caller's duty."""
    notes.check_key_name(name)
    identifier = notes.key_id(name, notes.COSIGNATURE, signing.public_bytes(key))
    signature = key.sign(_cosigned_message(note.text, time))
    return SignatureLine(name, identifier, _TIMESTAMP.pack(time) + signature)


def verify_cosignature(note: Note, name: str, key: Ed25519PublicKey) -> int:
    """Check that a cosigner signed this checkpoint.

    Returns:
        When, by the cosigner's clock (Unix seconds); of several signatures, the latest.

    Raises:
        VerificationError: There is no cosignature of this key, or one does not hold.
    """
    identifier = notes.key_id(name, notes.COSIGNATURE, signing.public_bytes(key))
    found = notes.signatures_of(note, name, identifier)
    if not found:
        raise VerificationError(f"checkpoint: no cosignature of {name} with {identifier.hex()}")
    times: list[int] = []
    for line in found:
        if len(line.signature) != _TIMESTAMP.size + _ED25519_SIZE:
            raise VerificationError(f"checkpoint: the cosignature of {name} has a wrong size")
        (time,) = _TIMESTAMP.unpack_from(line.signature)
        try:
            key.verify(line.signature[_TIMESTAMP.size :], _cosigned_message(note.text, time))
        except InvalidSignature as error:
            raise VerificationError(
                f"checkpoint: the cosignature of {name} does not hold"
            ) from error
        times.append(time)
    return max(times)


def _cosigned_message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
