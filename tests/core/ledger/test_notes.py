"""Signed notes, checkpoints, cosignatures and proofs: published example, round trips, forgery."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.ledger.conftest import key as fixed_key

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import inclusion_proof, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.inclusion_proof import Proof
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey

KEY = fixed_key(1)
OTHER = fixed_key(2)
HEAD = Checkpoint("example.com/log", 7, bytes(range(32)))

# The example of Go's golang.org/x/mod/sumdb/note.
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
GO_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]

names = st.text(min_size=1, max_size=20).filter(
    lambda s: (
        not any(c.isspace() or c == "+" or ord(c) < 0x20 or "\ud800" <= c <= "\udfff" for c in s)
    )
)
lines = st.builds(
    notes.SignatureLine,
    names,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=80),
)
heads = st.builds(
    Checkpoint, names, st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32)
)


def test_the_note_of_another_implementation_verifies() -> None:
    note = notes.decode(GO_NOTE)
    assert note.text == GO_TEXT and note.encode() == GO_NOTE
    key = signing.public_from_bytes(GO_KEY)
    checkpoints.verified_signature_time(note, "PeterNeumann", notes.LOG_ROLE, key)


@given(heads, st.lists(lines, min_size=1, max_size=4))
def test_checkpoints_round_trip(head: Checkpoint, signatures: list[notes.SignatureLine]) -> None:
    note = notes.Note(head.text(), tuple(signatures))
    assert checkpoints.decode(note.encode()) == (head, note)


@given(
    st.integers(0, (1 << 63) - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    heads,
    st.lists(lines, min_size=1, max_size=3),
    st.binary(max_size=99),
)
def test_proofs_round_trip(
    index: int,
    path: list[bytes],
    head: Checkpoint,
    signatures: list[notes.SignatureLine],
    extra: bytes,
) -> None:
    note = notes.Note(head.text(), tuple(signatures))
    whole = Proof(index=index, path=tuple(path), note=note, extra_data=extra)
    assert inclusion_proof.decode(whole.encode()) == whole


def test_a_signature_of_an_unknown_key_is_ignored() -> None:
    note = checkpoints.sign(HEAD, [OTHER, KEY])
    assert checkpoints.verify(note, HEAD.origin, KEY.public_key()) == HEAD


def test_a_bad_signature_of_a_known_key_refuses_the_note() -> None:
    good = checkpoints.sign(HEAD, [KEY])
    line = good.signatures[0]
    bad = notes.SignatureLine(line.name, line.key_id, line.signature[::-1])
    with pytest.raises(VerificationError, match="does not hold"):
        checkpoints.verify(good.with_signatures([bad]), HEAD.origin, KEY.public_key())


def test_another_log_or_key_does_not_verify() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    with pytest.raises(VerificationError, match="expected 'example"):
        checkpoints.verify(note, "example.com/other", KEY.public_key())
    with pytest.raises(VerificationError, match="no Ed25519 signature"):
        checkpoints.verify(note, HEAD.origin, OTHER.public_key())


def test_a_cosignature_says_who_and_when() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    first, second = (checkpoints.cosign(note, "w.example/1", OTHER, t) for t in (5, 9))
    signed = note.with_signatures([*first, *second])
    assert checkpoints.verified_cosignature_time(signed, "w.example/1", OTHER.public_key()) == 9
    assert checkpoints.verify(signed, HEAD.origin, KEY.public_key()) == HEAD


def test_a_cosignature_binds_text_and_time() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    grown = checkpoints.sign(Checkpoint(HEAD.origin, 8, HEAD.root), [KEY])
    for part in OTHER.parts:
        key = PrivateKey((part,))
        lines = checkpoints.cosign(note, "w.example/1", key, 5)
        later = [replace(x, signature=(6).to_bytes(8, "big") + x.signature[8:]) for x in lines]
        for forged in (note.with_signatures(later), grown.with_signatures(lines)):
            with pytest.raises(VerificationError, match="does not hold"):
                checkpoints.verified_cosignature_time(forged, "w.example/1", key.public_key())


def test_a_log_signature_is_no_cosignature() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    with pytest.raises(VerificationError, match="no Ed25519 cosignature"):
        checkpoints.verified_cosignature_time(note, HEAD.origin, KEY.public_key())
    alone = PrivateKey(KEY.parts[1:]).public_key()  # in ML-DSA-44 a log signs as cosigners do
    with pytest.raises(VerificationError, match="says no time"):
        checkpoints.verified_cosignature_time(note, HEAD.origin, alone)
    for identifier in notes.key_ids("w", notes.COSIGNER_ROLE, OTHER.public_key()):
        short = notes.SignatureLine("w", identifier, b"12345678")
        others = [x for x in checkpoints.cosign(note, "w", OTHER, 5) if x.key_id != identifier]
        with pytest.raises(VerificationError, match="wrong size"):
            checkpoints.verified_cosignature_time(
                note.with_signatures([*others, short]), "w", OTHER.public_key()
            )


@pytest.mark.parametrize(("parts", "step"), [(1, 1), (2, 29)], ids=["Ed25519", "both"])
def test_a_flipped_byte_of_a_proof_is_found(parts: int, step: int) -> None:
    log, cosigner = PrivateKey(KEY.parts[:parts]), PrivateKey(OTHER.parts[:parts])
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(6)]
    head = Checkpoint("example.com/log", 6, merkle.root(leaves))
    note = checkpoints.sign(head, [log])
    note = note.with_signatures(checkpoints.cosign(note, "w.example/1", cosigner, 5))
    whole = Proof(index=4, path=tuple(merkle.inclusion_proof(leaves, 4)), note=note)
    good = whole.encode()

    def check(data: bytes) -> None:
        found = inclusion_proof.decode(data)
        if found.index != 4:
            raise VerificationError("another entry")
        found.verify(bytes([4]))
        checkpoints.verify(found.note, head.origin, log.public_key())
        checkpoints.verified_cosignature_time(found.note, "w.example/1", cosigner.public_key())

    check(good)
    for position in range(0, len(good), step):
        bad = bytearray(good)
        bad[position] ^= 1
        with pytest.raises((DecodeError, VerificationError)):
            check(bytes(bad))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "é" * 128])
def test_a_key_name_that_breaks_the_format_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        checkpoints.cosign(checkpoints.sign(HEAD, [KEY]), name, OTHER, 5)


def test_a_repeated_signature_is_kept_once() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    assert note.with_signatures(note.signatures) == note
