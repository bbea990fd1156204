"""Signatures are bound to their context; keys are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.wire import signing


def test_a_signature_holds_for_its_message_context_and_key_only() -> None:
    key, other = signing.generate(), signing.generate()
    signature = signing.sign(key, signing.WEIGHTS, b"text")
    signing.verify(key.public_key(), signing.WEIGHTS, b"text", signature)
    for public, context, message in (
        (other.public_key(), signing.WEIGHTS, b"text"),
        (key.public_key(), signing.STATISTICS, b"text"),
        (key.public_key(), signing.WEIGHTS, b"texT"),
    ):
        with pytest.raises(VerificationError, match="does not hold"):
            signing.verify(public, context, message, signature)


def test_a_key_survives_its_file_and_is_private(tmp_path: Path) -> None:
    key, path = signing.generate(), tmp_path / "key.pem"
    signing.save(path, key)
    assert path.stat().st_mode & 0o077 == 0
    assert signing.public_bytes(signing.load(path)) == signing.public_bytes(key)


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
