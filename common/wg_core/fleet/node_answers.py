"""The node's answers to the server's messages: statistics, and receipts of weights packages.

No error text is sent: every failure that may depend on data, disk or snapshot is answered with the
single word ``unavailable``. The text stays in the plant's log.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from wg_core import logs
from wg_core.connection import server_link
from wg_core.errors import ApprovalPending, DecodeError, VerificationError, WgError
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.node_interface import MessageDeclined, NodeHandlers
from wg_core.fleet.query_slot import AnswerSlot, NodeStopped
from wg_core.ledger.witness import AskWitness
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, flower_messages, protocol
from wg_core.wire.flower_messages import Envelope
from wg_core.wire.protocol import Delivery, Refusal, StatisticsQuery

log = logging.getLogger(__name__)

T = TypeVar("T")


class MessageHandler:
    """Handler of the server's messages to one plant, which computes the plant's answers."""

    def __init__(self, home: ClientHome, config: ClientConfig, handlers: NodeHandlers) -> None:
        self._home = home
        self._config = config
        self._handlers = handlers
        self._inbox = Inbox(home)

    def answer(self, message_type: str, envelope: Envelope, slot: AnswerSlot) -> Envelope:
        """Answer a server's message of an allowed type, or return a one-word refusal.

        Raises:
            MessageDeclined: The message is malformed.
            NodeStopped: The node is stopped before the answer may leave.
        """
        try:
            if message_type == protocol.QUERY_MESSAGE_TYPE:
                return self._answer_query(envelope, slot)
            return self._receive_package(envelope)
        except DecodeError as error:
            log.warning("malformed message: %s", error)
            raise MessageDeclined(flower_messages.MESSAGE_MALFORMED) from error

    def _answer_query(self, envelope: Envelope, slot: AnswerSlot) -> Envelope:
        query = _decode_record(StatisticsQuery, envelope, "query")
        log.info("request %s: statistics, epsilon %s", query.request_id, query.epsilon)

        def answer() -> Envelope:
            with server_link.ServerLink.open(
                self._home, self._config.server.fleet_url
            ) as connection:
                payload = self._handlers.answer_query(
                    self._home,
                    query,
                    witness=server_witness(connection, slot),
                    clock=lambda: slot.arrival_time,
                )
            log.info("request %s: answered with %d bytes", query.request_id, len(payload))
            return Envelope("statistics", b"", payload)

        return answer_or_refuse(query.request_id, answer, flower_messages.QUERY_REFUSAL_WORDS)

    def _receive_package(self, envelope: Envelope) -> Envelope:
        """Receive the weights package in a message of the server; return its receipt."""
        delivery = _decode_record(Delivery, envelope, "delivery")

        def receive() -> Envelope:
            if delivery.site != self._config.site:
                raise VerificationError(f"delivery: made for site {delivery.site!r}")
            receipt = self._inbox.store_package(delivery, envelope.payload)
            log.info("request %s: package received", delivery.request_id)
            return Envelope("receipt", canonical.encode(receipt))

        return answer_or_refuse(
            delivery.request_id, receive, flower_messages.DELIVERY_REFUSAL_WORDS
        )


def answer_or_refuse(
    request_id: str, make_answer: Callable[[], Envelope], sendable_refusal_words: frozenset[str]
) -> Envelope:
    """Return a handler's answer or, if it raises, a refusal of one word; the error is logged.

    Args:
        sendable_refusal_words: Words that may be sent, since they depend only on the request, the
            policy, the budget, the clock and the server. Every other error becomes ``unavailable``.

    Raises:
        DecodeError: The request id is malformed.
        NodeStopped: The node is stopped.
    """
    flower_messages.check_request_id(request_id)
    with logs.log_context(request=request_id):
        try:
            return make_answer()
        except NodeStopped:
            raise
        except WgError as error:
            if isinstance(error, ApprovalPending):
                log.info("%s", error)
            else:
                log.warning("request %s refused: %s", request_id, error)
            return _refusal_envelope(
                request_id,
                error.code
                if error.code in sendable_refusal_words
                else flower_messages.PLANT_UNAVAILABLE,
            )
        except Exception:
            log.exception("request %s failed", request_id)
            return _refusal_envelope(request_id, flower_messages.PLANT_UNAVAILABLE)


def server_witness(connection: server_link.ServerLink, slot: AnswerSlot) -> AskWitness:
    """Return a function that waits for the slot's end, then has the server cosign."""
    return lambda request: slot.send_at_end(partial(connection.cosign, request))


def _refusal_envelope(request_id: str, refusal_word: str) -> Envelope:
    return Envelope("refusal", canonical.encode(Refusal(request_id=request_id, code=refusal_word)))


def _decode_record(record_type: type[T], envelope: Envelope, expected_kind: str) -> T:
    if envelope.kind != expected_kind:
        raise DecodeError(f"message: kind {envelope.kind!r}, expected {expected_kind!r}")
    return canonical.decode(
        record_type,
        envelope.record,
        input_name=expected_kind,
        max_bytes=protocol.MESSAGE_BYTES_LIMIT,
    )
