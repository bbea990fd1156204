"""The witness remembers: roll-back, fork and replay are refused, and evidence is kept."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.ledger.conftest import key

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle, witness
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.inclusion_proof import Proof
from wg_core.ledger.witness import WitnessFork, WitnessRefused, WitnessRequest, WitnessState
from wg_core.wire import signing

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

LOG = "weightgate/plant-a/0011"
NAME = "server.example/witness"


PIECES = [b"old 0\n", b"old 2\n", b"\n", b"A" * 43 + b"=\n", b"old 02\n", b"\xff"]


def leaves(count: int, salt: str = "") -> list[bytes]:
    return [merkle.leaf_hash(f"{salt}{index}".encode()) for index in range(count)]


def request(
    site: Site, hashes: list[bytes], old: int, *, path: list[bytes] | None = None, origin: str = LOG
) -> bytes:
    head = Checkpoint(origin, len(hashes), merkle.root(hashes))
    proof = merkle.consistency_proof(hashes, min(old, len(hashes))) if path is None else path
    note = checkpoints.sign(head, [site.key])
    return WitnessRequest(old_size=old, consistency_proof=tuple(proof), note=note).encode()


def refused(site: Site, body: bytes) -> WitnessRefused:
    before = site.memory
    with pytest.raises(WitnessRefused) as caught:
        site.call(body)
    assert site.memory == before, "a refusal must not change what the witness remembers"
    return caught.value


def test_requests_round_trip(site: Site) -> None:
    body = request(site, leaves(9), 4)
    assert witness.decode_request(body).encode() == body


def test_a_growing_log_is_cosigned(site: Site) -> None:
    for old, new in ((0, 1), (1, 5), (5, 5), (5, 12)):
        site.call(request(site, leaves(new), old))
        assert site.memory is not None and site.memory.newest_checkpoint.size == new


def test_the_memory_holds_the_log_s_and_its_own_signature_only(site: Site) -> None:
    body = request(site, leaves(3), 0) + "— stranger AAAAAAAA\n".encode()
    site.call(body)
    assert site.memory is not None
    note = checkpoints.decode(site.memory.signed_checkpoint)[1]
    assert [line.name for line in note.signatures] == [LOG, LOG, NAME, NAME]


def test_a_wrong_old_size_is_a_conflict_that_says_the_right_one(site: Site) -> None:
    site.call(request(site, leaves(5), 0))
    for old in (0, 4, 6):
        found = refused(site, request(site, leaves(7), old))
        assert (found.status, found.last_seen_size, found.body) == (409, 5, b"5\n")


def test_a_smaller_log_is_a_conflict(site: Site) -> None:
    site.call(request(site, leaves(5), 0))
    assert refused(site, request(site, leaves(3), 3)).status == 409


def test_an_old_size_above_the_new_is_a_bad_request(site: Site) -> None:
    site.call(request(site, leaves(5), 0))
    assert refused(site, request(site, leaves(3), 5, path=[])).status == 400


def test_a_fork_is_refused_with_evidence(site: Site) -> None:
    site.call(request(site, leaves(5), 0))
    other = leaves(8, "other")
    found = refused(site, request(site, other, 5))
    assert isinstance(found, WitnessFork) and found.status == 422
    signed = [
        checkpoints.decode(x)[1]
        for x in (found.evidence.earlier_checkpoint, found.evidence.later_checkpoint)
    ]
    heads = [checkpoints.verify(note, LOG, site.key.public_key()) for note in signed]
    assert [head.size for head in heads] == [5, 8]


def test_two_roots_for_one_size_are_a_fork(site: Site) -> None:
    site.call(request(site, leaves(5), 0))
    found = refused(site, request(site, leaves(5, "other"), 5, path=[]))
    assert isinstance(found, WitnessFork) and found.status == 409


@pytest.mark.parametrize("path", [[], [bytes(32)], [bytes(32)] * 63])
def test_a_bad_consistency_proof_is_unprocessable(site: Site, path: list[bytes]) -> None:
    site.call(request(site, leaves(5), 0))
    assert refused(site, request(site, leaves(8), 5, path=path)).status == 422


def test_a_proof_from_nothing_must_be_empty(site: Site) -> None:
    found = refused(site, request(site, leaves(8), 0, path=[bytes(32)]))
    assert found.status == 422 and not isinstance(found, WitnessFork)


def test_another_log_is_not_found(site: Site) -> None:
    assert refused(site, request(site, leaves(5), 0, origin="someone/else")).status == 404


def test_another_key_is_forbidden(site: Site) -> None:
    body = request(site, leaves(5), 0)
    site.key = site.signing_key
    assert refused(site, body).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"old 0\n", b"new 0\n\nx", b"old 00\n\nx", b"old 0\nAA==\n\nx", b"\xff\n\n"]
)
def test_what_is_no_request_is_a_bad_request(site: Site, body: bytes) -> None:
    assert refused(site, body).status == 400


def test_a_replayed_request_gives_nothing_new(site: Site) -> None:
    body = request(site, leaves(5), 0)
    site.call(body)
    site.call(request(site, leaves(9), 5))
    assert refused(site, body).status == 409


@given(st.binary(max_size=400) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_whatever_a_file_carries_for_a_witness_is_requests_or_refused(extra: bytes) -> None:
    note = checkpoints.sign(Checkpoint(LOG, 3, merkle.root(leaves(3))), [key(1)])
    found = Proof(index=0, path=(), note=note, extra_data=extra)
    try:
        requests = witness.requests_in_proof(found)
    except DecodeError:
        return
    assert requests and all(request.note == note for request in requests)
    assert b"".join(request.encode_preamble() for request in requests) == extra


def test_http_answers_are_read() -> None:
    assert witness.read_cosignature_lines(200, b"line\n") == b"line\n"
    for status, body, size in (
        (409, b"12\n", 12),
        (409, b"012\n", None),
        (409, b"", None),
        (422, b"12\n", None),
        (500, b"", None),
    ):
        with pytest.raises(WitnessRefused) as caught:
            witness.read_cosignature_lines(status, body)
        assert (caught.value.status, caught.value.last_seen_size) == (status, size)


# --- the ledger's side ------------------------------------------------------------------------


def test_a_cosignature_is_kept(site: Site, ledger: Ledger) -> None:
    signed = site.cosign(ledger)
    assert ledger.newest_checkpoint() == signed and signed in ledger.checkpoints()
    site.release(ledger)
    assert signed in ledger.checkpoints(), "cosigned checkpoints stay"
    site.cosign(ledger)
    assert len(ledger.checkpoints()) == 2


def test_a_checkpoint_that_is_cosigned_again_and_again_keeps_the_newest_line(
    site: Site, ledger: Ledger
) -> None:
    """A plant that waits for another witness asks this one each time."""
    for _ in range(40):
        site.current_time += 60
        signed = site.cosign(ledger)
    _, note = checkpoints.decode(signed)
    assert [line.name for line in note.signatures] == [LOG, LOG, NAME, NAME]
    key = site.witness_key.public_key()
    assert checkpoints.verified_cosignature_time(note, NAME, key) == site.current_time


def test_a_lost_answer_is_made_up_for(site: Site, ledger: Ledger) -> None:
    site.cosign(ledger)
    site.release(ledger)
    site.call(ledger.witness_request(NAME).encode())  # cosigned, but the answer never arrived
    site.release(ledger, "r2", "0.5")
    site.cosign(ledger)
    assert site.memory is not None and site.memory.newest_checkpoint.size == ledger.size


def test_a_witness_that_forgot_starts_over(site: Site, ledger: Ledger) -> None:
    site.cosign(ledger)
    site.memory = None
    site.release(ledger)
    site.cosign(ledger)
    assert site.memory is not None


def roll_back(site: Site, ledger: Ledger) -> None:
    """The witness sees another release, and the file is what it was before."""
    ledger.close()
    copy = site.folder / "backup"
    shutil.copy(site.path, copy)
    with site.open() as newer:
        site.release(newer, "r2", "0.5")
        site.cosign(newer)
    shutil.copy(copy, site.path)


def test_a_rolled_back_ledger_is_found(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1")
    site.cosign(ledger)
    roll_back(site, ledger)
    with site.open() as older, pytest.raises(VerificationError, match="rolled back"):
        site.cosign(older)


def test_a_rolled_back_ledger_that_grew_again_is_a_fork(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1")
    roll_back(site, ledger)
    with site.open() as older:
        site.release(older, "r3", "0.6")
        site.release(older, "r4", "0.7")
        with pytest.raises(WitnessFork) as caught:
            site.cosign(older)
    assert caught.value.status == 422 and caught.value.evidence.earlier_checkpoint


def test_a_forged_cosignature_is_not_stored(site: Site, ledger: Ledger) -> None:
    forger = Forger(site)
    with pytest.raises(VerificationError):
        ledger.request_cosignature(NAME, forger)
    with pytest.raises(VerificationError, match="not enrolled"):
        ledger.request_cosignature("nobody.example/w", site.call)
    assert all(len(checkpoints.decode(x)[1].signatures) == 2 for x in ledger.checkpoints())


def test_a_cosignature_of_another_log_or_root_is_refused(site: Site, ledger: Ledger) -> None:
    for head in (
        Checkpoint("someone/else", 1, bytes(32)),
        Checkpoint(LOG, 1, bytes(32)),
        Checkpoint(LOG, 99, bytes(32)),
    ):
        note = checkpoints.sign(head, [site.key])
        lines = checkpoints.cosign(note, NAME, site.witness_key, 1)
        with pytest.raises(VerificationError):
            ledger.add_cosignature(note.with_signatures(lines).encode(), NAME)


def test_a_cosignature_that_arrives_late_is_kept(site: Site, ledger: Ledger) -> None:
    body = ledger.witness_request(NAME).encode()
    line = site.call(body)
    site.release(ledger)
    note = witness.decode_request(body).note
    ledger.add_cosignature(note.encode() + line, NAME)
    assert len(ledger.checkpoints()) == 2
    ledger.close()
    with site.open() as opened:
        assert len(opened.checkpoints()) == 2


def test_a_witness_can_change_its_key(site: Site, ledger: Ledger) -> None:
    site.cosign(ledger)
    site.witness_key = site.signing_key
    seq = ledger.enrol_witness(NAME, signing.public_bytes(site.witness_key))
    assert ledger.enrol_witness(NAME, signing.public_bytes(site.witness_key)) == seq
    site.cosign(ledger)
    ledger.close()
    with site.open() as opened:
        assert len(opened.checkpoints()) == 2


def test_a_remembered_state_says_its_head(site: Site) -> None:
    site.call(request(site, leaves(3), 0))
    assert site.memory is not None
    assert WitnessState(site.memory.signed_checkpoint).newest_checkpoint.root == merkle.root(
        leaves(3)
    )


class Forger:
    """A witness with another key under the same name."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, body: bytes) -> bytes:
        note = witness.decode_request(body).note
        lines = checkpoints.cosign(note, NAME, self._site.signing_key, 1)
        return "".join(f"{line.encode()}\n" for line in lines).encode()
