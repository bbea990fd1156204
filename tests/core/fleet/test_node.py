"""The node's own rules; what it does against a server is in ``tests/e2e/test_fleet*.py``."""

from __future__ import annotations

import functools
import logging
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from tests.patience import wait_until

from wg_core.connection import server_link
from wg_core.errors import (
    ApprovalPending,
    BudgetExceeded,
    ConfigError,
    DataError,
    DecodeError,
    InternalError,
    PeerError,
    PolicyRefused,
    RefusedError,
    StorageError,
    VerificationError,
    WgError,
)
from wg_core.fleet import flower, node, node_answers
from wg_core.fleet.node_interface import MessageDeclined, NodeHandlers, NodeOptions
from wg_core.fleet.query_slot import AnswerSlot, NodeStopped
from wg_core.ledger.witness import WitnessRefused
from wg_core.privacy import time_slots
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire import canonical, flower_messages, protocol
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Delivery, Refusal, StatisticsQuery

REQUEST = "0" * 32


def test_an_answer_goes_through() -> None:
    envelope = Envelope("statistics", b"", b"data")
    assert (
        node_answers.answer_or_refuse(
            REQUEST, lambda: envelope, flower_messages.QUERY_REFUSAL_WORDS
        )
        == envelope
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BudgetExceeded("7.9 of 8 spent"), "budget"),
        (PolicyRefused("/plant/file"), "policy"),
        (WitnessRefused(422, "/plant/file"), "witness"),
        (PeerError("/plant/file"), "peer"),
        (ApprovalPending("/plant/file"), flower_messages.AWAITING_APPROVAL),
    ],
)
def test_what_request_policy_budget_and_peer_cause_has_its_word(
    error: Exception, code: str
) -> None:
    assert _word(error) == code


@pytest.mark.parametrize(
    "error",
    [
        DataError("/plant/broken.png"),
        ConfigError("/plant/snapshots: no snapshot"),
        StorageError("/plant: the disk is full"),
        DecodeError("/plant/snapshots/3/manifest.json: damaged"),
        VerificationError("/plant/ledger.sqlite: was rolled back"),
        RefusedError("was charged for other data; that charge is burned"),
        InternalError("/plant"),
        OSError(28, "/plant"),
        RuntimeError("/plant/file"),
        MemoryError(),
    ],
)
def test_whatever_data_disk_snapshot_or_a_crash_cause_is_one_word(error: Exception) -> None:
    assert _word(error) == flower_messages.PLANT_UNAVAILABLE
    assert _word(error, frozenset()) == flower_messages.PLANT_UNAVAILABLE


def test_a_word_of_a_question_is_none_of_a_delivery() -> None:
    assert (
        _word(ApprovalPending("x"), flower_messages.DELIVERY_REFUSAL_WORDS)
        == flower_messages.PLANT_UNAVAILABLE
    )


def _word(error: Exception, words: frozenset[str] = flower_messages.QUERY_REFUSAL_WORDS) -> str:
    def fail() -> Envelope:
        raise error

    answer = node_answers.answer_or_refuse(REQUEST, fail, words)
    assert answer.kind == "refusal" and answer.payload == b""
    refusal = canonical.decode(Refusal, answer.record, input_name="refusal")
    assert refusal.request_id == REQUEST
    assert b"plant" not in answer.record and b"spent" not in answer.record
    return refusal.code


def test_every_word_of_a_refusal_is_explained_to_the_operator() -> None:
    assert {
        *flower_messages.QUERY_REFUSAL_WORDS,
        *flower_messages.DELIVERY_REFUSAL_WORDS,
        flower_messages.PLANT_UNAVAILABLE,
    } == set(flower_messages.REFUSAL_MEANINGS)


class _Clock:
    """Time that goes by only when somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        hold = functools.partial(time_slots.wait_for_slot_end, clock=lambda: self.now)
        monkeypatch.setattr(time_slots, "wait_for_slot_end", hold)

    def wait(self, seconds: float | None = None) -> bool:
        self.now += seconds or 0
        return False


@pytest.mark.parametrize("work", [0.0, 0.4, 1.9])
def test_an_answer_takes_one_slot_however_often_its_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, work: float
) -> None:
    clock = _Clock(monkeypatch)
    slot = AnswerSlot(2.0, clock)  # type: ignore[arg-type]  # a clock that one can wait on
    clock.now += work
    slot.send_at_end(lambda: None)
    assert clock.now == 1002.0
    clock.now += 0.1  # the witness answers
    assert slot.send_at_end(lambda: clock.now) == pytest.approx(1002.1)
    assert clock.now == pytest.approx(1002.1)


def test_a_node_that_is_stopped_sends_nothing_before_the_slot_ends() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(NodeStopped):
        AnswerSlot(3600.0, stop).send_at_end(lambda: pytest.fail("sent"))


def test_the_witness_is_asked_only_when_the_slot_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    asked: list[float] = []

    class Connection:
        def cosign(self, body: bytes) -> Any:
            asked.append(clock.now)
            raise PeerError("gone")

    slot = AnswerSlot(2.0, clock)  # type: ignore[arg-type]
    clock.now += 0.7
    with pytest.raises(PeerError):
        node_answers.server_witness(Connection(), slot)(b"")  # type: ignore[arg-type]
    assert asked == [1002.0]


@dataclass
class _Server:
    """One message, in the place of a session with a server; notes when what goes back leaves."""

    clock: _Clock
    message_type: str
    envelope: Envelope | None
    seen: list[tuple[str, float]] = field(default_factory=list)

    def pull_message(self) -> _Server:
        return self

    def read_envelope(self, message: _Server, allowed: frozenset[str]) -> Envelope:
        if self.envelope is None:
            raise MessageDeclined(flower_messages.MESSAGE_MALFORMED)
        return self.envelope

    def send_answer(self, message: _Server, reply: Envelope) -> None:
        self.seen.append((reply.kind, self.clock.now))

    def decline_message(self, message: _Server, reason: str) -> None:
        self.seen.append((reason, self.clock.now))


QUERY = StatisticsQuery(
    request_id=REQUEST, site="a", encoder="e", epsilon="1", delta="1e-5", purpose="p", expires=1
)
ASKED = Envelope("query", canonical.encode(QUERY))
GARBAGE = Envelope("query", b"{}")
OFFER = Delivery(request_id=REQUEST, site="b", package_sha256="0" * 64)


def _node(
    home: Path, monkeypatch: pytest.MonkeyPatch, stop: Any, answer: Any, slot: float = 2.0
) -> node.Node:
    """A node of a plant that has a configuration and nothing else."""
    zeros = "00" * 32
    server = PinnedServer(
        fleet_url="https://127.0.0.1:1",
        name="s",
        signing_key=zeros,
        witness_name="w",
        witness_key=zeros,
    )
    data = DataConfig(name="line", path="nowhere", labels=("good", "bad"), encoder=zeros)
    privacy = PrivacyConfig(answer_slot_seconds=slot)
    config = ClientConfig(site="a", pin=server, data=data, privacy=privacy)
    monkeypatch.setattr(configuration, "load", lambda home: config)
    monkeypatch.setattr(server_link.ServerLink, "open", lambda *_: nullcontext())
    handlers = NodeHandlers(answer_query=answer, apply_package=lambda *_: None)
    return node.Node(ClientHome(home), handlers, stop, NodeOptions())


@pytest.mark.parametrize(
    ("kind", "envelope", "outcome", "left"),
    [
        (protocol.QUERY_MESSAGE_TYPE, ASKED, "statistics", 1002.0),
        (protocol.QUERY_MESSAGE_TYPE, ASKED, "refusal", 1002.0),
        (protocol.QUERY_MESSAGE_TYPE, GARBAGE, flower_messages.MESSAGE_MALFORMED, 1002.0),
        (protocol.QUERY_MESSAGE_TYPE, None, flower_messages.MESSAGE_MALFORMED, 1002.0),
        (protocol.DELIVERY_MESSAGE_TYPE, ASKED, flower_messages.MESSAGE_MALFORMED, 1000.0),
        (
            protocol.DELIVERY_MESSAGE_TYPE,
            Envelope("delivery", canonical.encode(OFFER)),
            "refusal",
            1000.0,
        ),
        (protocol.DELIVERY_MESSAGE_TYPE, GARBAGE, flower_messages.MESSAGE_MALFORMED, 1000.0),
    ],
)
def test_whatever_goes_back_for_a_question_leaves_at_the_end_of_its_slot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    envelope: Envelope | None,
    outcome: str,
    left: float,
) -> None:
    clock = _Clock(monkeypatch)

    def answer(*_: object, **__: object) -> bytes:
        clock.now += 1.3
        if outcome == "refusal":
            raise DataError("/plant/broken.png")
        return b"data"

    running = _node(tmp_path, monkeypatch, clock, answer)
    line = _Server(clock, kind, envelope)
    assert running.answer_next_message(line)  # type: ignore[arg-type]
    assert line.seen == [(outcome, left)]


def test_a_reply_does_not_say_when_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower stamps a message when it is made: a refusal is made when its slot has ended."""
    pushed: list[PushMessagesRequest] = []

    class Client:
        def PushMessages(self, request: PushMessagesRequest) -> PushMessagesResponse:
            pushed.append(request)
            return PushMessagesResponse()

    def refuse(*_: object, **__: object) -> bytes:
        raise DataError("/plant/broken.png")

    session = object.__new__(flower.FlowerSession)
    session._client = Client()  # type: ignore[assignment]
    session.node = Node(node_id=1)
    asked = Metadata(
        run_id=1,
        message_id="m",
        src_node_id=2,
        dst_node_id=1,
        message_type="query.statistics",
        created_at=time.time(),
        ttl=60.0,
    )
    head = message_from_proto(MessageProto(metadata=asked, content=RecordDictProto()))
    monkeypatch.setattr(session, "pull_message", lambda: flower.WaitingMessage(head, ObjectTree()))
    monkeypatch.setattr(session, "read_envelope", lambda *_: ASKED)
    running = _node(tmp_path, monkeypatch, threading.Event(), refuse, slot=0.3)
    begun = time.time()
    assert running.answer_next_message(session)
    (stamp,) = [message.metadata.created_at for each in pushed for message in each.messages_list]
    assert stamp >= begun + 0.29


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupt() -> Envelope:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        node_answers.answer_or_refuse(REQUEST, interrupt, flower_messages.QUERY_REFUSAL_WORDS)


def test_a_request_id_that_is_no_file_name_never_reaches_a_handler() -> None:
    with pytest.raises(DecodeError):
        node_answers.answer_or_refuse(
            "../../x", lambda: pytest.fail("reached"), flower_messages.QUERY_REFUSAL_WORDS
        )


def tree(count: int) -> ObjectTree:
    return ObjectTree(
        object_id="root", children=[ObjectTree(object_id=str(n)) for n in range(count - 1)]
    )


def test_objects_are_counted_before_they_are_fetched() -> None:
    assert len(flower._object_ids(tree(64), 64)) == 64
    with pytest.raises(MessageDeclined, match=flower_messages.MESSAGE_TOO_LARGE):
        flower._object_ids(tree(65), 64)


def test_only_our_object_types_under_their_own_hash_are_unpacked() -> None:
    record = ConfigRecord({"kind": "query"})
    flower._check_object(record.object_id, record.deflate())
    content = RecordDict({"wg": record})
    flower._check_object(content.object_id, content.deflate())
    with pytest.raises(MessageDeclined, match=flower_messages.MESSAGE_MALFORMED):
        flower._check_object("0" * 64, record.deflate())
    arrays = ArrayRecord({"x": Array(dtype="float32", shape=(1,), stype="numpy", data=b"x")})
    with pytest.raises(MessageDeclined, match=flower_messages.MESSAGE_MALFORMED):
        flower._check_object(arrays.object_id, arrays.deflate())


def test_this_program_agrees_with_released_ones_on_the_app() -> None:
    assert (
        flower_messages.APP_HASH
        == "b04222f81323cfae9d651669b420575753147c622badae4c85cc60fdce3cb0cb"
    )


def test_the_node_logs_what_it_does_not_send(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Envelope:
        raise WgError("what the plant's engineer should read")

    with caplog.at_level(logging.WARNING):
        node_answers.answer_or_refuse(REQUEST, fail, flower_messages.QUERY_REFUSAL_WORDS)
    assert "engineer should read" in caplog.text


def test_a_node_that_is_asked_nothing_asks_less_often() -> None:
    options = NodeOptions()
    pauses = [options.poll_pause_seconds(seconds) for seconds in (0.0, 20.0, 200.0, 1200.0, 1e6)]
    assert pauses == [1.0, 1.0, 10.0, 60.0, 60.0]


def test_a_node_asks_a_server_that_answers_late_less_often() -> None:
    options = NodeOptions()
    pauses = [options.poll_pause_seconds(0.0, seconds) for seconds in (0.05, 0.5, 4.0, 30.0)]
    assert pauses == [1.0, 5.0, 40.0, 60.0]


@pytest.mark.parametrize(
    ("answered", "beaten", "beats"),
    [
        (0.0, 0.0, False),  # a question for work was answered just now
        (flower._SILENCE_LIMIT_SECONDS + 1, 0.0, True),  # the node is at work, and asks for none
        (0.0, flower._HEARTBEAT_SECONDS + 1, True),  # a server that goes by heartbeats alone
    ],
)
def test_a_heartbeat_goes_out_where_no_question_says_the_same(
    monkeypatch: pytest.MonkeyPatch, answered: float, beaten: float, beats: bool
) -> None:
    monkeypatch.setattr(flower, "_HEARTBEAT_CHECK_SECONDS", 0.01)
    sent: list[float] = []
    session = object.__new__(flower.FlowerSession)

    class Client:
        def SendNodeHeartbeat(self, request: Any) -> None:
            sent.append(request.heartbeat_interval)

    current_time = time.monotonic()
    session._client = Client()  # type: ignore[assignment]
    session._answered, session._beaten = current_time - answered, current_time - beaten
    session._on_beat = lambda: None
    session._quiet = threading.Event()
    session.node = Node(node_id=1)
    thread = threading.Thread(target=session._send_heartbeats)
    thread.start()
    if beats:
        wait_until(lambda: bool(sent), "a heartbeat")
    else:
        time.sleep(0.2)
    session._quiet.set()
    thread.join()
    assert sent == ([flower._HEARTBEAT_SECONDS] if beats else [])
