"""Logs and cosignatures under Ed25519 and ML-DSA-44: neither alone is enough, nor altered.

The messages are built once more here, from c2sp.org/signed-note and c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from tests.core.ledger.conftest import Site
from tests.core.ledger.conftest import key as fixed_key

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import log_sources, witness
from wg_core.ledger import log_verification as histories
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.signed_note import Note, SignatureLine, SignatureRole
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire import handover, signing
from wg_core.wire.signing import PrivateKey, PublicKey

LOG, WITNESS = "example.com/log", "w.example/1"
KEY, COSIGNER, OTHER = fixed_key(1), fixed_key(2), fixed_key(3)
HEAD = Checkpoint(LOG, 7, bytes(range(32)))
TIME = 1_700_000_000

Change = Callable[[list[SignatureLine]], list[SignatureLine]]


def alone(key: PrivateKey, part: int = 0) -> PrivateKey:
    """One algorithm of a key: 0 is Ed25519, 1 is ML-DSA-44."""
    return PrivateKey((key.parts[part],))


def signed() -> Note:
    note = checkpoints.sign(HEAD, [KEY])
    return note.with_signatures(checkpoints.cosign(note, WITNESS, COSIGNER, TIME))


def check(note: Note) -> int:
    checkpoints.verify(note, LOG, KEY.public_key())
    return checkpoints.verified_cosignature_time(note, WITNESS, COSIGNER.public_key())


def cosigned_message(name: str, time: int) -> bytes:
    """``cosigned_message`` of tlog-cosignature, field by field."""
    return (
        b"subtree/v1\n\x00"
        + struct.pack("B", len(name))
        + name.encode()
        + struct.pack(">Q", time)
        + struct.pack("B", len(LOG))
        + LOG.encode()
        + struct.pack(">QQ", 0, HEAD.size)
        + HEAD.root
    )


def test_the_lines_are_what_the_specification_says() -> None:
    note = signed()
    assert check(note) == TIME
    assert [line.name for line in note.signatures] == [LOG, LOG, WITNESS, WITNESS]
    for line, key, time in ((note.signatures[1], KEY, 0), (note.signatures[3], COSIGNER, TIME)):
        raw = key.public_key().parts[1].raw
        assert len(raw) == 1312 and len(line.signature) == 8 + 2420
        digest = hashlib.sha256(line.name.encode() + b"\n\x06" + raw).digest()
        assert line.key_id == digest[:4]
        assert line.signature[:8] == struct.pack(">Q", time)
        public = MLDSA44PublicKey.from_public_bytes(raw)
        public.verify(line.signature[8:], cosigned_message(line.name, time))


def test_each_algorithm_holds_by_itself_for_who_knows_it_alone() -> None:
    note = signed()
    for part in (0, 1):
        checkpoints.verify(note, LOG, alone(KEY, part).public_key())
        key = alone(COSIGNER, part).public_key()
        assert checkpoints.verified_cosignature_time(note, WITNESS, key) == TIME


@pytest.mark.parametrize("index", range(4))
def test_a_missing_line_refuses_the_note(index: int) -> None:
    lines = signed().signatures
    remaining = tuple(line for at, line in enumerate(lines) if at != index)
    with pytest.raises(VerificationError, match=r"no (Ed25519|ML-DSA-44) (co)?signature"):
        check(Note(HEAD.text(), remaining))


@pytest.mark.parametrize("index", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[:8],
        lambda data: data[:7],
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
        lambda data: struct.pack(">Q", 1 << 63) + data[8:],
        lambda data: struct.pack(">Q", 5) + data[8:],
        lambda data: data[:8] + bytes(2420),
    ],
)
def test_a_cut_or_altered_signature_refuses_the_note(
    index: int, change: Callable[[bytes], bytes]
) -> None:
    lines = list(signed().signatures)
    lines[index] = replace(lines[index], signature=change(lines[index].signature))
    with pytest.raises(VerificationError, match=r"does not hold|wrong size"):
        check(Note(HEAD.text(), tuple(lines)))


def test_a_line_of_another_name_time_size_or_log_does_not_hold() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    cosigner = alone(COSIGNER, 1)
    lines = checkpoints.cosign(note, WITNESS, cosigner, TIME)
    identifier = lines[0].key_id
    for other in (
        checkpoints.cosign(note, "w.example/2", cosigner, TIME),
        checkpoints.cosign(note, WITNESS, alone(OTHER, 1), TIME),
        *(
            checkpoints.cosign(checkpoints.sign(head, [KEY]), WITNESS, cosigner, TIME)
            for head in (replace(HEAD, size=8), replace(HEAD, root=bytes(32)))
        ),
    ):
        moved = [replace(line, name=WITNESS, key_id=identifier) for line in other]
        with pytest.raises(VerificationError, match="does not hold"):
            checkpoints.verified_cosignature_time(
                note.with_signatures(moved), WITNESS, cosigner.public_key()
            )


def test_parts_of_two_keys_are_no_key() -> None:
    """The Ed25519 line of one key and the ML-DSA-44 line of another hold for neither."""
    note = checkpoints.sign(HEAD, [alone(KEY, 0), alone(OTHER, 1)])
    for key in (KEY, OTHER):
        with pytest.raises(VerificationError, match=r"no (Ed25519|ML-DSA-44) signature"):
            checkpoints.verify(note, LOG, key.public_key())
    swapped = KEY.public_key().parts[1].raw + KEY.public_key().parts[0].raw
    assert signing.public_bytes(KEY) != swapped
    with pytest.raises(VerificationError):
        checkpoints.verify(signed(), LOG, signing.public_from_bytes(swapped))


def test_no_algorithm_vouches_for_a_time_alone() -> None:
    note = checkpoints.sign(HEAD, [KEY])
    old = checkpoints.cosign(note, WITNESS, COSIGNER, TIME)
    for part in (0, 1):
        new = checkpoints.cosign(note, WITNESS, alone(COSIGNER, part), TIME + 60)
        assert check(note.with_signatures([*old, *new])) == TIME


def colliding(name: str, role: SignatureRole, key: PublicKey) -> bytes:
    """Key IDs have four bytes: an ML-DSA-44 key whose first two are those of a given one."""
    wanted = notes.key_ids(name, role, key)[0][:2]
    while True:
        raw = os.urandom(1312)
        if notes.key_id(name, notes.SignatureType.ML_DSA_44, raw)[:2] == wanted:
            return raw


def test_a_key_whose_id_collides_verifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes of a key ID are made to collide, as four would for who tries long enough."""
    full = notes.key_id

    def short(name: str, kind: int, raw: bytes) -> bytes:
        return full(name, kind, raw)[:2] + b"\0\0"

    stranger = signing.public_from_bytes(
        colliding(WITNESS, notes.COSIGNER_ROLE, alone(COSIGNER, 1).public_key())
    )
    monkeypatch.setattr(notes, "key_id", short)
    note = checkpoints.sign(HEAD, [KEY])
    note = note.with_signatures(checkpoints.cosign(note, WITNESS, alone(COSIGNER, 1), TIME))
    with pytest.raises(VerificationError, match="does not hold"):
        checkpoints.verified_cosignature_time(note, WITNESS, stranger)


def test_a_key_under_which_anybody_signs_is_refused() -> None:
    zeros = bytes(range(32)) + bytes(1280)
    for raw in (zeros, signing.public_bytes(alone(KEY)) + zeros, bytes(32) + zeros):
        with pytest.raises(DecodeError, match="anybody can sign"):
            signing.public_from_bytes(raw)


@pytest.mark.parametrize("size", [0, 31, 33, 1311, 1313, 1343, 1345])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="expected 32, 1312, 1344"):
        signing.public_from_bytes(b"\1" * size)


# --- logs


def history(site: Site, anchors: TrustAnchors) -> histories.VerifiedLog:
    return histories.verify_log(log_sources.open_source(site.path), anchors)


def anchors(site: Site, *, part: int | None = None, name: str = WITNESS) -> TrustAnchors:
    """What an auditor knows who asks for ML-DSA-44; ``part``: of one algorithm of the witness."""
    key = site.witness_key if part is None else alone(site.witness_key, part)
    known = TrustedWitness(name, signing.public_bytes(key))
    return TrustAnchors(
        ledger_key=signing.public_bytes(site.key), witnesses=(known,), requires_post_quantum=True
    )


@pytest.fixture
def ledger(site: Site) -> Ledger:
    with site.create() as opened:
        site.release(opened)
        site.cosign(opened)
    return opened


NAME = "server.example/witness"


def test_a_log_under_both_is_verified_under_both(site: Site, ledger: Ledger) -> None:
    found = history(site, anchors(site, name=NAME))
    assert found.signature_algorithms == ("Ed25519", "ML-DSA-44")
    assert found.witnessed_size == found.state.size


def test_keys_that_the_log_names_may_be_given_by_their_hashes(site: Site, ledger: Ledger) -> None:
    asked = anchors(site, name=NAME)
    key, witness_key = asked.ledger_key, asked.witnesses[0].public_key
    assert key is not None

    def given(ledger_key: bytes, witness: bytes) -> TrustAnchors:
        known = TrustedWitness(NAME, hashlib.sha256(witness).digest())
        return replace(asked, ledger_key=hashlib.sha256(ledger_key).digest(), witnesses=(known,))

    found = history(site, given(key, witness_key))
    assert found.anchors.witnesses == asked.witnesses
    assert found.witnessed_size == found.state.size
    with pytest.raises(VerificationError, match="the log is signed by"):
        history(site, given(witness_key, witness_key))
    with pytest.raises(VerificationError, match="0 of 1 known witnesses"):
        history(site, given(key, key))


def test_a_witness_under_ed25519_alone_counts_only_where_nobody_asks_for_more(
    site: Site, ledger: Ledger
) -> None:
    asked = anchors(site, part=0, name=NAME)
    with pytest.raises(VerificationError, match=r"0 of 1 .* none by .* with Ed25519 key"):
        history(site, asked)
    found = history(site, replace(asked, requires_post_quantum=False))
    assert found.witnessed_size == found.state.size
    found = history(site, anchors(site, part=1, name=NAME))
    assert found.witnessed_size == found.state.size


def test_a_log_under_ed25519_alone_is_refused_where_both_are_asked_for(site: Site) -> None:
    site.key = alone(site.key)
    with site.create() as ledger:
        site.release(ledger)
        site.cosign(ledger)
    asked = anchors(site, name=NAME)
    with pytest.raises(VerificationError, match=r"under Ed25519 alone .* ML-DSA-44 is asked for"):
        history(site, asked)
    found = history(site, replace(asked, requires_post_quantum=False))
    assert found.signature_algorithms == ("Ed25519",)


@pytest.mark.parametrize("post_quantum", [False, True])
@pytest.mark.parametrize("name", [None, NAME])
def test_a_log_whose_second_lines_were_left_out_is_refused(
    site: Site, ledger: Ledger, name: str | None, post_quantum: bool
) -> None:
    """Nobody gets round ML-DSA-44 by leaving it out: the log's own first entry names the key."""
    with site.open() as opened:
        note = notes.decode(opened.newest_checkpoint())
        remaining = tuple(
            line
            for line in note.signatures
            if line.name != (name or opened.origin) or len(line.signature) < 2420
        )
        assert len(remaining) == len(note.signatures) - 1
        opened._db.execute(
            "update heads set note = ? where size = ?",
            (Note(note.text, remaining).encode(), opened.size),
        )
    asked = replace(anchors(site, name=NAME), requires_post_quantum=post_quantum)
    with pytest.raises(VerificationError, match=r"no ML-DSA-44 (co)?signature"):
        history(site, asked)


def test_a_witness_refuses_a_checkpoint_without_the_second_line(site: Site) -> None:
    with site.create() as ledger:
        request = ledger.witness_request(NAME)
        request = replace(request, note=Note(request.note.text, request.note.signatures[:1]))
        with pytest.raises(witness.WitnessRefused, match="no ML-DSA-44 signature") as caught:
            site.call(request.encode())
        assert caught.value.status == 403


def test_a_log_keeps_no_cosignature_that_lacks_a_line(site: Site) -> None:
    with site.create() as ledger:
        for line in (0, 1):
            reply = site.call(ledger.witness_request(NAME).encode()).splitlines(keepends=True)
            site.memory = None
            with pytest.raises(VerificationError, match=r"no (Ed25519|ML-DSA-44) cosignature"):
                ledger.add_cosignature(ledger.newest_checkpoint() + reply[line], NAME)


def test_a_key_is_not_followed_by_one_of_fewer_algorithms(site: Site) -> None:
    with site.create() as ledger, pytest.raises(VerificationError, match="has no ML-DSA-44"):
        ledger.rotate_key(alone(OTHER))
    word = handover.sign_handover(handover.WITNESS_USE, NAME, COSIGNER, alone(OTHER))
    with pytest.raises(VerificationError, match="has no ML-DSA-44"):
        word.verify()
    handover.sign_handover(handover.WITNESS_USE, NAME, alone(COSIGNER), OTHER).verify()


def test_a_part_of_a_key_does_not_count_twice(site: Site) -> None:
    both = TrustedWitness("one", signing.public_bytes(COSIGNER))
    for part in (0, 1):
        half = TrustedWitness("two", signing.public_bytes(alone(COSIGNER, part)))
        with pytest.raises(Exception, match="it would count twice"):
            TrustAnchors(witnesses=(both, half))
