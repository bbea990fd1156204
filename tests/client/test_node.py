"""The node's own rules; what it does against a server is in ``tests/e2e/test_fleet*.py``."""

from __future__ import annotations

import logging

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.proto.message_pb2 import ObjectTree

from wg_client import node
from wg_common import canonical, fleet
from wg_common.errors import BudgetExceeded, DecodeError, WgError
from wg_common.fleet import Envelope
from wg_common.protocol import MESSAGE_TYPES, Refusal

REQUEST = "0" * 32


def test_an_answer_goes_through() -> None:
    envelope = Envelope("statistics", b"", b"data")
    assert node._guarded(REQUEST, lambda: envelope) == envelope


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BudgetExceeded("7.9 of 8 spent"), "budget"),
        (DecodeError("/plant/file"), "decode"),
        (RuntimeError("/plant/file"), "internal"),
    ],
)
def test_an_error_becomes_one_word(error: Exception, code: str) -> None:
    def fail() -> Envelope:
        raise error

    answer = node._guarded(REQUEST, fail)
    assert answer.kind == "refusal" and answer.payload == b""
    assert canonical.decode(Refusal, answer.record, what="refusal") == Refusal(
        request_id=REQUEST, code=code
    )
    assert b"plant" not in answer.record and b"spent" not in answer.record


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupt() -> Envelope:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        node._guarded(REQUEST, interrupt)


def test_a_request_id_that_is_no_file_name_never_reaches_a_handler() -> None:
    with pytest.raises(DecodeError):
        node._guarded("../../x", lambda: pytest.fail("reached"))


def tree(count: int) -> ObjectTree:
    return ObjectTree(
        object_id="root", children=[ObjectTree(object_id=str(n)) for n in range(count - 1)]
    )


def test_objects_are_counted_before_they_are_fetched() -> None:
    assert len(node._object_ids(tree(64), 64)) == 64
    with pytest.raises(node._Declined, match=fleet.TOO_LARGE):
        node._object_ids(tree(65), 64)


def test_only_our_object_types_under_their_own_hash_are_unpacked() -> None:
    record = ConfigRecord({"kind": "query"})
    node._check_object(record.object_id, record.deflate())
    content = RecordDict({"wg": record})
    node._check_object(content.object_id, content.deflate())
    with pytest.raises(node._Declined, match=fleet.MALFORMED):
        node._check_object("0" * 64, record.deflate())
    arrays = ArrayRecord({"x": Array(dtype="float32", shape=(1,), stype="numpy", data=b"x")})
    with pytest.raises(node._Declined, match=fleet.MALFORMED):
        node._check_object(arrays.object_id, arrays.deflate())


def test_the_installed_app_answers_known_types_only() -> None:
    assert set(fleet.APP.message_types) <= MESSAGE_TYPES
    assert canonical.sha256_hex(canonical.encode(fleet.APP)) == fleet.APP_HASH


def test_the_node_logs_what_it_does_not_send(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Envelope:
        raise WgError("what the plant's engineer should read")

    with caplog.at_level(logging.WARNING):
        node._guarded(REQUEST, fail)
    assert "engineer should read" in caplog.text
