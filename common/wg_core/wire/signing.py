"""Ed25519 keys (RFC 8032) and signatures with a context, so that none can be used elsewhere."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import key_files

STATISTICS = "statistics"
WEIGHTS = "weights"

_FIELD = 2**255 - 19
_ORDER_EIGHT = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {0, 1, _ORDER_EIGHT, _FIELD - _ORDER_EIGHT, _FIELD - 1, _FIELD, _FIELD + 1}
"""y-coordinates of the points of order 1, 2, 4 and 8, as RFC 8032 encodes them (section 5.1.2).

Under such a key a signature that nobody made holds: the identity's, for any message.
"""


def generate() -> Ed25519PrivateKey:
    """Make a key from the operating system's random source."""
    return Ed25519PrivateKey.generate()


def save(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a private key, readable by its owner only."""
    key_files.save(path, key)


def load(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        ConfigError: The file is missing or holds no Ed25519 key.
    """
    return key_files.load_ed25519(path)


def public_bytes(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The 32 raw bytes of a public key."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def public_from_bytes(raw: bytes) -> Ed25519PublicKey:
    """A public key from its 32 raw bytes.

    Raises:
        DecodeError: The bytes are no key, or one of small order.
    """
    if int.from_bytes(raw, "little") & ((1 << 255) - 1) in _SMALL_ORDER:
        raise DecodeError("public key: a point of small order, under which anybody can sign")
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        raise DecodeError(f"public key: {len(raw)} bytes, expected 32") from error


def sign(key: Ed25519PrivateKey, context: str, message: bytes) -> bytes:
    """Sign ``message`` under a context; 64 bytes."""
    return key.sign(_bound(context, message))


def verify(key: Ed25519PublicKey, context: str, message: bytes, signature: bytes) -> None:
    """Check a signature.

    Raises:
        VerificationError: It does not hold.
    """
    try:
        key.verify(signature, _bound(context, message))
    except InvalidSignature as error:
        raise VerificationError(f"{context}: the signature does not hold") from error


def _bound(context: str, message: bytes) -> bytes:
    return b"weightgate/v1/" + context.encode("ascii") + b"\n" + message
