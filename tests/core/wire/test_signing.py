"""Signatures are bound to their context; keys are read strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey


def test_a_signature_holds_for_its_message_context_and_key_only() -> None:
    key, other = signing.generate_key(), signing.generate_key()
    signature = signing.sign(key, signing.WEIGHTS_CONTEXT, b"text")
    signing.verify(key.public_key(), signing.WEIGHTS_CONTEXT, b"text", signature)
    for public, context, message in (
        (other.public_key(), signing.WEIGHTS_CONTEXT, b"text"),
        (key.public_key(), signing.STATISTICS_CONTEXT, b"text"),
        (key.public_key(), signing.WEIGHTS_CONTEXT, b"texT"),
    ):
        with pytest.raises(VerificationError, match="does not hold"):
            signing.verify(public, context, message, signature)


def test_every_part_of_a_key_must_have_signed() -> None:
    key, other = signing.generate_hybrid_key(), signing.generate_hybrid_key()
    signature, another = (signing.sign(x, signing.WEIGHTS_CONTEXT, b"text") for x in (key, other))
    public = key.public_key()
    signing.verify(public, signing.WEIGHTS_CONTEXT, b"text", signature)
    for forged in (
        signature[:64],
        signature[64:],
        signature[:-1],
        signature + b"\0",
        signature[:64] + another[64:],
        another[:64] + signature[64:],
        signature[64:] + signature[:64],
    ):
        with pytest.raises(VerificationError, match="does not hold"):
            signing.verify(public, signing.WEIGHTS_CONTEXT, b"text", forged)


@pytest.mark.parametrize("generate", [signing.generate_key, signing.generate_hybrid_key])
def test_a_key_survives_its_file_and_is_private(
    generate: Callable[[], PrivateKey], tmp_path: Path
) -> None:
    key, path = generate(), tmp_path / "key.pem"
    signing.save(path, key)
    assert path.stat().st_mode & 0o077 == 0
    assert signing.public_bytes(signing.load(path)) == signing.public_bytes(key)


def test_parts_in_another_order_are_no_key(tmp_path: Path) -> None:
    key, path = signing.generate_hybrid_key(), tmp_path / "key.pem"
    for parts in (key.parts[::-1], key.parts[:1] * 2):
        signing.save(path, PrivateKey(parts))
        with pytest.raises(ConfigError, match="expected Ed25519, ML-DSA-44 or both"):
            signing.load(path)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(ConfigError, match="expected Ed25519"):
        signing.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="not a PEM private key"):
        signing.load(path)
    with pytest.raises(DecodeError, match="expected 32"):
        signing.public_from_bytes(b"short")
