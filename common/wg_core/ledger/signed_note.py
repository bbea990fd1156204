"""Signed notes (c2sp.org/signed-note): text, a blank line, and one line for each signature.

Signatures of unknown keys are ignored, as the specification requires. A key of two algorithms signs
one line with each. The module ``checkpoint`` defines the bytes that are signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from wg_core.errors import DecodeError, check_byte_count
from wg_core.wire import signing
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT
from wg_core.wire.signing import PublicKey


class SignatureType(IntEnum):
    """Type byte of a signature's key (c2sp.org/signed-note, "Signature types")."""

    ED25519 = 1  # Ed25519 over the text
    COSIGNATURE = 4  # Timestamped Ed25519 cosignature
    ML_DSA_44 = 6  # Timestamped ML-DSA-44 (sub)tree cosignature


SignatureRole = Mapping[str, SignatureType]
"""Role of a signer (log or cosigner): the signature type that it uses for each algorithm."""
LOG_ROLE: SignatureRole = MappingProxyType(
    {signing.ED25519: SignatureType.ED25519, signing.ML_DSA_44: SignatureType.ML_DSA_44}
)
"""Role of a log that signs its own checkpoint; ML-DSA-44 has one signature type for all roles."""
COSIGNER_ROLE: SignatureRole = MappingProxyType(
    {signing.ED25519: SignatureType.COSIGNATURE, signing.ML_DSA_44: SignatureType.ML_DSA_44}
)
"""Role of a witness, or another party, that cosigns the checkpoint of a log."""

KEY_ID_SIZE = 4
KEY_NAME_BYTES_LIMIT = 255  # Most bytes of a key name (tlog-cosignature)
SIGNATURES_LIMIT = 32
_SIGNATURE_PREFIX = "— "


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """Signature line of a note: key name of the signer, key ID (4 bytes), signature."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the signature line as text, without its newline."""
        return f"{_SIGNATURE_PREFIX}{self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """Signed note: its text (ending in a newline), and its signatures."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def encode(self) -> bytes:
        """Return the bytes of the signed note."""
        lines = "".join(f"{line.encode()}\n" for line in self.signatures)
        return f"{self.text}\n{lines}".encode()

    def with_signatures(self, lines: Iterable[SignatureLine]) -> Note:
        """Return the note with further signatures added, without repetitions."""
        merged_lines = dict.fromkeys((*self.signatures, *lines))
        return Note(self.text, tuple(merged_lines))

    def replace_signatures(self, lines: Iterable[SignatureLine]) -> Note:
        """Return the note with new signatures in place of earlier ones by the same keys."""
        new = tuple(lines)
        keys = {(line.name, line.key_id) for line in new}
        remaining = tuple(x for x in self.signatures if (x.name, x.key_id) not in keys)
        return Note(self.text, (*remaining, *new))


def check_key_name(name: str) -> str:
    """Return a key name after checking it: 1 to 255 bytes, no space, plus or control character.

    Raises:
        DecodeError: The name is not allowed on a signature line.
    """
    if name.split() != [name] or "+" in name or min(name) < " ":
        raise DecodeError(f"key name {name!r}: empty, or holds a space, plus or control character")
    if len(name.encode()) > KEY_NAME_BYTES_LIMIT:
        raise DecodeError(f"key name {name[:40]!r}…: over {KEY_NAME_BYTES_LIMIT} bytes")
    return name


def key_id(key_name: str, signature_type: int, public_key: bytes) -> bytes:
    """Return a key ID: 4 bytes of ``SHA-256(key name || 0x0A || type || public key)``."""
    named_key = key_name.encode() + b"\n" + bytes([signature_type]) + public_key
    return hashlib.sha256(named_key).digest()[:KEY_ID_SIZE]


def key_ids(key_name: str, role: SignatureRole, key: PublicKey) -> tuple[bytes, ...]:
    """Return the 4-byte key ID of each algorithm of a key; the first is shown to people."""
    return tuple(key_id(key_name, role[part.algorithm], part.raw) for part in key.parts)


def encode_verifier_keys(key_name: str, role: SignatureRole, key: PublicKey) -> tuple[str, ...]:
    """Return a verifier key, ``name+key ID+base64(type, key)``, for each algorithm of a key."""
    check_key_name(key_name)
    return tuple(
        f"{key_name}+{identifier.hex()}+{encode_base64(bytes([role[part.algorithm]]) + part.raw)}"
        for identifier, part in zip(key_ids(key_name, role, key), key.parts, strict=True)
    )


def decode_verifier_key(text: str, role: SignatureRole) -> tuple[str, PublicKey]:
    """Decode a verifier key into its key name and its public key of one algorithm.

    Raises:
        DecodeError: The text is malformed, of another role, or has the key ID of another key.
    """
    subject = "verifier key"
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise DecodeError(f"{subject}: {text[:80]!r}, expected NAME+KEYID+BASE64")
    name, identifier, body = parts
    check_key_name(name)
    raw = decode_base64(body, input_name=subject)
    key = signing.public_from_bytes(raw[1:])
    (algorithm, *other_algorithms) = key.algorithms
    if other_algorithms or raw[0] != role[algorithm]:
        raise DecodeError(
            f"{subject}: {name}: signature type {raw[0]} with {len(raw) - 1} bytes, expected"
            f" {role[algorithm]}"
        )
    if key_id(name, raw[0], raw[1:]).hex() != identifier:
        raise DecodeError(f"{subject}: {name}: key id {identifier[:40]!r} is of another key")
    return name, key


def signature_lines(
    note: Note, key_name: str, role: SignatureRole, key: PublicKey
) -> list[SignatureLine]:
    """Return a note's signature lines that name a key, by name and key ID, without verifying."""
    identifiers = key_ids(key_name, role, key)
    return [x for x in note.signatures if x.name == key_name and x.key_id in identifiers]


def decode(data: bytes, *, input_name: str = "note") -> Note:
    """Decode a signed note without verifying its signatures.

    Raises:
        DecodeError: The bytes are not a signed note.
    """
    check_byte_count(len(data), NOTE_CHARACTERS_LIMIT, input_name)
    try:
        note_text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{input_name}: not UTF-8") from error
    if min(note_text.replace("\n", " "), default=" ") < " ":
        raise DecodeError(f"{input_name}: holds a control character")
    text, separator, tail = note_text.rpartition("\n\n")
    if not separator or not text:
        raise DecodeError(f"{input_name}: no blank line between text and signatures")
    return Note(text + "\n", decode_signature_lines(tail, input_name=input_name))


def decode_signature_lines(text: str, *, input_name: str = "note") -> tuple[SignatureLine, ...]:
    """Decode one or more signature lines, each ending in a newline.

    Raises:
        DecodeError: A line is not a signature line.
    """
    if not text.endswith("\n"):
        raise DecodeError(f"{input_name}: does not end in a signature line and a newline")
    lines = text[:-1].split("\n")
    if len(lines) > SIGNATURES_LIMIT:
        raise DecodeError(f"{input_name}: {len(lines)} signatures, at most {SIGNATURES_LIMIT}")
    return tuple(_decode_signature_line(line, input_name) for line in lines)


def encode_base64(data: bytes) -> str:
    """Return bytes as standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, *, input_name: str) -> bytes:
    """Decode standard base64 with padding, accepting only the canonical spelling.

    Raises:
        DecodeError: The text is not canonical base64.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"{input_name}: not base64") from error
    if encode_base64(data) != text:
        raise DecodeError(f"{input_name}: not canonical base64")
    return data


def decode_decimal(text: str, *, input_name: str) -> int:
    """Decode an ASCII decimal below 2^63 without leading zeros; raise ``DecodeError`` otherwise."""
    ascii_digits = text.isascii() and text.isdigit() and len(text) <= 19
    if not ascii_digits or (text[0] == "0" and text != "0") or int(text) >= 1 << 63:
        raise DecodeError(f"{input_name}: {text[:40]!r} is not a plain decimal below 2^63")
    return int(text)


def _decode_signature_line(line: str, input_name: str) -> SignatureLine:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise DecodeError(f"{input_name}: a signature line must begin with an em dash and a space")
    name, space, body = line[len(_SIGNATURE_PREFIX) :].partition(" ")
    if not space:
        raise DecodeError(f"{input_name}: a signature line needs a name and a signature")
    check_key_name(name)
    raw = decode_base64(body, input_name=f"{input_name}: signature of {name}")
    if len(raw) <= KEY_ID_SIZE:
        raise DecodeError(f"{input_name}: the signature of {name} is too short")
    return SignatureLine(name, raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])
