"""Signing keys of one or two algorithms, and signatures with a context.

Ed25519 (RFC 8032) signs files. Keys that sign or cosign ledgers have ML-DSA-44 (FIPS 204) as well.
A key with both consists of the two keys' bytes in this order, and its signature of both signatures,
which must both be valid. Files are signed with Ed25519 alone because making a file again must give
the same bytes, and ML-DSA-44 uses fresh randomness each time.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.wire import key_files

STATISTICS_CONTEXT = "statistics"
WEIGHTS_CONTEXT = "weights"
OFFER_CONTEXT = "offer"

ED25519: Final = "Ed25519"
ML_DSA_44: Final = "ML-DSA-44"
_KEY_SIZES = {ED25519: 32, ML_DSA_44: 1312}
_SIGNATURE_SIZES = {ED25519: 64, ML_DSA_44: 2420}
_ALGORITHMS_BY_SIZE = {
    sum(_KEY_SIZES[x] for x in algorithms): algorithms
    for algorithms in ((ED25519,), (ML_DSA_44,), (ED25519, ML_DSA_44))
}
"""Algorithms of a key, by its number of bytes."""

_FIELD_PRIME = 2**255 - 19
_ORDER_EIGHT_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = {
    *(0, 1, _ORDER_EIGHT_Y, _FIELD_PRIME - _ORDER_EIGHT_Y),
    *(_FIELD_PRIME - 1, _FIELD_PRIME, _FIELD_PRIME + 1),
}
"""y-coordinates of the points of order 1, 2, 4 and 8, as RFC 8032 encodes them (section 5.1.2).

Under such a key anybody can make valid signatures of some messages; under the identity, of all.
"""


@dataclass(frozen=True, slots=True)
class PublicKeyPart:
    """Part of a public key: the raw key of one algorithm.

    Attributes:
        algorithm: ``ED25519`` or ``ML_DSA_44``.
        raw: Raw key of 32 or 1,312 bytes.
    """

    algorithm: str
    raw: bytes
    _key: Ed25519PublicKey | MLDSA44PublicKey = field(repr=False, compare=False)

    @property
    def signature_size(self) -> int:
        """Number of bytes of a signature: 64 or 2,420."""
        return _SIGNATURE_SIZES[self.algorithm]

    def verify(self, signature: bytes, message: bytes) -> None:
        """Verify a signature by this key; raise cryptography's ``InvalidSignature`` if invalid."""
        self._key.verify(signature, message)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Public key, with one part for each of its algorithms."""

    parts: tuple[PublicKeyPart, ...]

    @property
    def raw(self) -> bytes:
        """Raw bytes of the public key: those of its parts, concatenated."""
        return b"".join(part.raw for part in self.parts)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Names of the key's algorithms."""
        return tuple(part.algorithm for part in self.parts)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """Private key, with one part for each of its algorithms."""

    parts: tuple[Ed25519PrivateKey | MLDSA44PrivateKey, ...]

    def public_key(self) -> PublicKey:
        """Return the public key that belongs to this private key."""
        raw = b"".join(part.public_key().public_bytes_raw() for part in self.parts)
        return public_from_bytes(raw)


def generate_key() -> PrivateKey:
    """Generate a key that signs files, from the operating system's random source."""
    return PrivateKey((Ed25519PrivateKey.generate(),))


def generate_hybrid_key() -> PrivateKey:
    """Generate a key of Ed25519 and ML-DSA-44, which signs or cosigns ledgers."""
    return PrivateKey((Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()))


def save(path: Path, key: PrivateKey) -> None:
    """Write all parts of a private key to one file, readable by its owner only."""
    key_files.save_private_keys(path, *key.parts)


def load(path: Path) -> PrivateKey:
    """Read a private key of one or both algorithms from its file.

    Raises:
        ConfigError: The file is missing or holds no such key.
    """
    parts, algorithms = [], []
    for part in key_files.load_private_keys(path):
        if isinstance(part, Ed25519PrivateKey | MLDSA44PrivateKey):
            parts.append(part)
            algorithms.append(ED25519 if isinstance(part, Ed25519PrivateKey) else ML_DSA_44)
    if tuple(algorithms) not in _ALGORITHMS_BY_SIZE.values():
        raise ConfigError(f"{path}: another kind of key, expected Ed25519, ML-DSA-44 or both")
    return PrivateKey(tuple(parts))


def public_bytes(key: PrivateKey | PublicKey) -> bytes:
    """Return the raw bytes of a public key: 32 for Ed25519, 1,312 for ML-DSA-44, 1,344 for both."""
    return (key.public_key() if isinstance(key, PrivateKey) else key).raw


def public_from_bytes(raw: bytes) -> PublicKey:
    """Return the public key with the given raw bytes.

    Raises:
        DecodeError: The bytes are not a key, or a weak key under which anybody can sign.
    """
    algorithms = _ALGORITHMS_BY_SIZE.get(len(raw))
    if algorithms is None:
        sizes = ", ".join(map(str, _ALGORITHMS_BY_SIZE))
        raise DecodeError(f"public key: {len(raw)} bytes, expected {sizes}")
    parts = []
    for algorithm in algorithms:
        size = _KEY_SIZES[algorithm]
        parts.append(_decode_key_part(algorithm, raw[:size]))
        raw = raw[size:]
    return PublicKey(tuple(parts))


def public_from_hex(text: str, *, input_name: str = "public key") -> PublicKey:
    """Return the public key given in lower-case hex digits.

    Raises:
        DecodeError: The text is not a key; the message begins with ``input_name``.
    """
    if len(text) % 2 or text.strip("0123456789abcdef"):
        raise DecodeError(f"{input_name}: {text[:80]!r}, expected lower-case hex digits")
    try:
        return public_from_bytes(bytes.fromhex(text))
    except DecodeError as error:
        raise DecodeError(f"{input_name}: {error}") from error


def display_key(raw: bytes) -> str:
    """Return a public key as 64 hex digits: an Ed25519 key itself, the SHA-256 of any other."""
    return (raw if len(raw) == _KEY_SIZES[ED25519] else hashlib.sha256(raw).digest()).hex()


def matches_public_key(key_or_digest: bytes, raw: bytes) -> bool:
    """Return whether bytes given by a person are a raw key, or the 32 bytes of ``display_key``."""
    return key_or_digest == raw or key_or_digest.hex() == display_key(raw)


def has_shared_part(keys: Iterable[PublicKey]) -> bool:
    """Return whether two of the keys share a part, so that one signature would count for both."""
    parts = [part.raw for key in keys for part in key.parts]
    return len(set(parts)) != len(parts)


def check_successor(key: PublicKey, successor: PublicKey) -> None:
    """Check that a successor has every algorithm of the key that it replaces.

    Raises:
        VerificationError: An algorithm is missing.
    """
    missing = [x for x in key.algorithms if x not in successor.algorithms]
    if missing:
        raise VerificationError(f"the new key has no {missing[0]}, which the key before it has")


def signature_size(key: PublicKey) -> int:
    """Return the number of bytes of a key's signature."""
    return sum(part.signature_size for part in key.parts)


def sign(key: PrivateKey, context: str, message: bytes) -> bytes:
    """Return a message's signatures by every part of a key, concatenated.

    Args:
        context: Word signed before the message, so that no signature is valid for another use of
            the key; such as ``STATISTICS_CONTEXT``.
    """
    return b"".join(part.sign(_with_context(context, message)) for part in key.parts)


def verify(key: PublicKey, context: str, message: bytes, signature: bytes) -> None:
    """Verify a message's signatures by every part of a public key.

    ``context`` is the word that was signed before the message.

    Raises:
        VerificationError: A signature is missing or not valid.
    """
    if len(signature) != signature_size(key):
        raise VerificationError(
            f"{context}: the signature does not hold: {len(signature)} bytes, expected"
            f" {signature_size(key)}"
        )
    for part in key.parts:
        try:
            part.verify(signature[: part.signature_size], _with_context(context, message))
        except InvalidSignature as error:
            raise VerificationError(
                f"{context}: the signature does not hold ({part.algorithm})"
            ) from error
        signature = signature[part.signature_size :]


def _decode_key_part(algorithm: str, raw: bytes) -> PublicKeyPart:
    if algorithm == ML_DSA_44:
        if not any(raw[32:]):
            raise DecodeError("public key: an ML-DSA-44 key of zeros, under which anybody can sign")
        return PublicKeyPart(algorithm, raw, MLDSA44PublicKey.from_public_bytes(raw))
    if int.from_bytes(raw, "little") & ((1 << 255) - 1) in _SMALL_ORDER_Y:
        raise DecodeError("public key: a point of small order, under which anybody can sign")
    return PublicKeyPart(algorithm, raw, Ed25519PublicKey.from_public_bytes(raw))


def _with_context(context: str, message: bytes) -> bytes:
    return b"weightgate/v1/" + context.encode("ascii") + b"\n" + message
