"""Private keys on disk: PKCS #8 PEM (RFC 5958, RFC 7468), readable by their owner only."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wg_core import atomic
from wg_core.errors import ConfigError

_LIMIT = 16 << 10


def save(path: Path, key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> None:
    """Write a private key."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    atomic.write_bytes(path, pem, mode=atomic.PRIVATE)


def load_ed25519(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key.

    Raises:
        ConfigError: The file is missing or holds no such key.
    """
    key = _load(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: found another kind of key, expected Ed25519")
    return key


def load_ec(path: Path) -> EllipticCurvePrivateKey:
    """Read an elliptic-curve private key.

    Raises:
        ConfigError: The file is missing or holds no such key.
    """
    key = _load(path)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: found another kind of key, expected elliptic curve")
    return key


def _load(path: Path) -> object:
    pem = atomic.read_bytes(path, limit=_LIMIT)
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not a PEM private key") from error
