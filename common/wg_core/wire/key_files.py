"""Private keys on disk: PKCS #8 PEM (RFC 5958, RFC 7468), readable by their owner only."""

import re
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from wg_core import atomic
from wg_core.errors import ConfigError

_FILE_BYTES_LIMIT = 16 << 10
_PEM_BLOCK_PATTERN = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----\s*", re.DOTALL)


def save_private_keys(
    path: Path, *keys: EllipticCurvePrivateKey | Ed25519PrivateKey | MLDSA44PrivateKey
) -> None:
    """Write private keys, in order, to one PEM file that only its owner can read."""
    pem = b"".join(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        for key in keys
    )
    atomic.write_private_bytes(path, pem)


def load_ec_key(path: Path) -> EllipticCurvePrivateKey:
    """Read an elliptic-curve private key from a PEM file.

    Raises:
        ConfigError: The file is missing, or does not hold exactly one such key.
    """
    keys = load_private_keys(path)
    if len(keys) != 1 or not isinstance(keys[0], EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: another kind of key, expected elliptic curve")
    return keys[0]


def load_private_keys(path: Path) -> list[object]:
    """Read all private keys in a PEM file, in order.

    Raises:
        ConfigError: The file is missing, or holds anything else.
    """
    pem = atomic.read_bytes(path, limit=_FILE_BYTES_LIMIT)
    blocks = _PEM_BLOCK_PATTERN.findall(pem) or [pem]
    try:
        return [serialization.load_pem_private_key(block, password=None) for block in blocks]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not a PEM private key") from error
