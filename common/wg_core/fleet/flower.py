"""The plant's session with a Flower Fleet API (``flwr==1.42.0``); no other core module uses Flower.

It speaks the Fleet API like an ordinary SuperNode, but never requests an app bundle (``GetFab`` is
not called). Messages of the server are bounded here: the message type must be on the site's list,
the run must name the installed app, and objects are counted, measured, typed and hashed before they
are unpacked.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httpx
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto, run_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    get_object_type_from_object_content,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from wg_core.connection import server_link, transport
from wg_core.errors import DecodeError
from wg_core.fleet.node_interface import MessageDeclined, NodeOptions
from wg_core.site.home import ClientHome
from wg_core.wire import flower_messages, key_files
from wg_core.wire.flower_messages import Envelope

log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 300.0
"""Flower's heartbeat interval; a server that relies on it alone waits for two intervals."""
_SILENCE_LIMIT_SECONDS = 90.0
"""Seconds without an answer of the server after which a busy node sends a heartbeat."""
_HEARTBEAT_CHECK_SECONDS = 5.0
_ACCEPTED_OBJECT_TYPES = frozenset({"Message", "RecordDict", "ConfigRecord"})


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """Message waiting at the server: its metadata, and the ids of its objects."""

    metadata: Message
    object_tree: ObjectTree

    @property
    def message_type(self) -> str:
        """Type of the message, as the server states it."""
        return str(self.metadata.metadata.message_type)


class FlowerSession:
    """Session of a plant's node with the Flower server on one connection, with heartbeats."""

    def __init__(
        self,
        home: ClientHome,
        fleet_url: str,
        options: NodeOptions,
        on_server_contact: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a session; ``on_server_contact`` is called whenever the server answers."""
        frame_bytes = 4096
        self._options = options
        self._on_beat = on_server_contact
        key = key_files.load_ec_key(home.node_key)
        self._public = public_key_to_bytes(key.public_key())
        client = transport.open_client(
            "",
            server_link.client_tls_context(home),
            max_body_bytes=options.max_message_bytes + frame_bytes,
            call_seconds=transport.TRANSFER_LIMIT_SECONDS,
        )
        interceptor = NodeAuthHttpInterceptor(key, key.public_key())
        self._client = FleetClient(fleet_url, client, interceptor)
        self._quiet = threading.Event()
        self._beat = threading.Thread(
            target=self._send_heartbeats, name="wg-heartbeat", daemon=True
        )
        self._apps: dict[int, str] = {}
        self._answered = self._beaten = 0.0
        self.node = Node()

    def __enter__(self) -> Self:
        request = ActivateNodeRequest(
            public_key=self._public, heartbeat_interval=_HEARTBEAT_SECONDS
        )
        try:
            reply = self._client.ActivateNode(request)
        except BaseException:
            self._client.close()
            raise
        self.node = Node(node_id=reply.node_id)
        self._answered = self._beaten = time.monotonic()
        self._beat.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._quiet.set()
        self._beat.join(timeout=10)
        if not isinstance(error, httpx.HTTPError):
            try:
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=self.node.node_id))
            except Exception as problem:  # noqa: BLE001 - the session is over either way
                log.info("could not say good-bye: %s", type(problem).__name__)
        self._client.close()

    def pull_message(self) -> WaitingMessage | None:
        """Return the next message without its content; None if no message waits.

        Raises:
            DecodeError: The message has no list of objects.
        """
        reply = self._client.PullMessages(PullMessagesRequest(node=self.node))
        self._answered = time.monotonic()
        self._on_beat()
        if not reply.messages_list:
            return None
        if not reply.message_object_trees:
            raise DecodeError("the server sent a message without its object tree")
        metadata = message_from_proto(reply.messages_list[0])
        return WaitingMessage(metadata, reply.message_object_trees[0])

    def read_envelope(self, message: WaitingMessage, allowed_types: frozenset[str]) -> Envelope:
        """Fetch a message's content, if its type is allowed and its app is the installed one.

        The receipt is confirmed in any case, so that the server may delete the message.

        Raises:
            MessageDeclined: The message is not allowed, exceeds a bound, or is malformed.
        """
        try:
            contents = self._fetch_objects(message, allowed_types)
        except MessageDeclined:
            self._confirm_receipt(message)
            raise
        self._confirm_receipt(message)
        try:
            return _unpack_envelope(message, contents)
        except (KeyError, ValueError, TypeError, DecodeError) as error:
            log.warning("malformed message: %s", error)
            raise MessageDeclined(flower_messages.MESSAGE_MALFORMED) from error

    def send_answer(self, message: WaitingMessage, envelope: Envelope) -> None:
        """Send the plant's answer to a message of the server."""
        content = RecordDict(
            {flower_messages.CONFIG_RECORD_NAME: ConfigRecord(dict(envelope.fields()))}
        )
        self._send_reply(Message(content, reply_to=message.metadata))

    def decline_message(self, message: WaitingMessage, reason: str) -> None:
        """Decline a message with a word of ``wg_core.wire.flower_messages.DECLINE_MEANINGS``."""
        error = Error(ErrorCode.MOD_FAILED_PRECONDITION, reason)
        self._send_reply(Message(error, reply_to=message.metadata))

    def _fetch_objects(self, message: WaitingMessage, types: frozenset[str]) -> dict[str, bytes]:
        """Fetch a message's Flower objects by id, within the limits of number and size."""
        run_id = message.metadata.metadata.run_id
        if self._app_hash(run_id) != flower_messages.APP_HASH:
            raise MessageDeclined(flower_messages.APP_MISMATCH)
        if message.message_type not in types:
            raise MessageDeclined(flower_messages.MESSAGE_TYPE_DENIED)
        contents: dict[str, bytes] = {}
        bytes_left = self._options.max_message_bytes
        for object_id in _object_ids(message.object_tree, self._options.max_message_objects):
            request = PullObjectRequest(node=self.node, run_id=run_id, object_id=object_id)
            content = self._client.PullObject(request).object_content
            bytes_left -= len(content)
            if bytes_left < 0:
                raise MessageDeclined(flower_messages.MESSAGE_TOO_LARGE)
            _check_object(object_id, content)
            contents[object_id] = content
        return contents

    def _confirm_receipt(self, message: WaitingMessage) -> None:
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self.node,
                run_id=message.metadata.metadata.run_id,
                message_object_id=message.metadata.metadata.message_id,
            )
        )

    def _send_reply(self, reply: Message) -> None:
        """Send a reply to the server, with retries on network errors; replies are idempotent."""
        send_tries = 5
        reply.metadata.__dict__["_message_id"] = reply.object_id
        for attempt in range(1, send_tries + 1):
            try:
                self._push_reply(reply)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                is_refused = isinstance(error, httpx.HTTPStatusError) and (
                    error.response.status_code < 500
                )
                if is_refused or attempt == send_tries:
                    raise
                time.sleep(self._options.backoff_seconds * 2**attempt)
            else:
                return

    def _push_reply(self, reply: Message) -> None:
        with no_object_id_recompute():
            objects = get_all_nested_objects(reply)
            head = remove_content_from_message(reply) if reply.has_content() else reply
            answer = self._client.PushMessages(
                PushMessagesRequest(
                    node=self.node,
                    messages_list=[message_to_proto(head)],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[0.0],  # the true duration is private
                )
            )
            for object_id in answer.objects_to_push:
                if object_id not in objects:
                    raise DecodeError("the server asked for an object that the reply lacks")
                self._client.PushObject(
                    PushObjectRequest(
                        node=self.node,
                        run_id=reply.metadata.run_id,
                        object_id=object_id,
                        object_content=objects[object_id].deflate(),
                        session_id=answer.session_id,
                    )
                )

    def _app_hash(self, run_id: int) -> str:
        """Return the hash of the Flower app that a run of the server names."""
        if run_id not in self._apps:
            reply = self._client.GetRun(GetRunRequest(node=self.node, run_id=run_id))
            self._apps = {run_id: str(run_from_proto(reply.run).fab_hash)}
        return self._apps[run_id]

    def _send_heartbeats(self) -> None:
        """Send heartbeats to the server when no poll for messages has reached it recently."""
        while not self._quiet.wait(_HEARTBEAT_CHECK_SECONDS):
            current_time = time.monotonic()
            if (
                current_time - self._answered < _SILENCE_LIMIT_SECONDS
                and current_time - self._beaten < _HEARTBEAT_SECONDS
            ):
                continue
            self._beaten = current_time
            try:
                self._client.SendNodeHeartbeat(
                    SendNodeHeartbeatRequest(node=self.node, heartbeat_interval=_HEARTBEAT_SECONDS)
                )
                self._answered = time.monotonic()
                self._on_beat()
            except Exception as error:  # noqa: BLE001 - whatever the error, go on sending
                log.info("no heartbeat: %s", type(error).__name__)


class FleetClient(FleetHttpClient):
    """Client of Flower's Fleet API that sends its requests through a given HTTP client.

    Redirects, and proxy settings in the environment, are thus ignored.
    Flower's version interceptor is left out, because it ends the process on the server's request.
    """

    def __init__(
        self, base_url: str, client: httpx.Client, interceptor: NodeAuthHttpInterceptor
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._interceptors = (interceptor,)
        self._retry_invoker = None
        self._client = client

    def close(self) -> None:
        """Close the connection to the server."""
        self._client.close()


def _object_ids(tree: ObjectTree, max_objects: int) -> list[str]:
    ids: list[str] = []
    for node in iterate_object_tree(tree):
        ids.append(node.object_id)
        if len(ids) > max_objects:
            raise MessageDeclined(flower_messages.MESSAGE_TOO_LARGE)
    return ids


def _check_object(object_id: str, content: bytes) -> None:
    """Decline a Flower object that does not match its hash, or is not of an accepted type."""
    if get_object_id(content) != object_id:
        raise MessageDeclined(flower_messages.MESSAGE_MALFORMED)
    try:
        kind = get_object_type_from_object_content(content)
    except (ValueError, IndexError) as error:
        raise MessageDeclined(flower_messages.MESSAGE_MALFORMED) from error
    if kind not in _ACCEPTED_OBJECT_TYPES:
        raise MessageDeclined(flower_messages.MESSAGE_MALFORMED)


def _unpack_envelope(message: WaitingMessage, contents: dict[str, bytes]) -> Envelope:
    """Unpack the single Flower record of a message from the message's objects.

    Raises:
        KeyError, ValueError, TypeError: Flower finds that the objects are not a message.
        DecodeError: The message differs from its metadata, or is malformed.
    """
    head = message.metadata.metadata
    message_object = inflate_object_from_contents(head.message_id, contents)
    if not isinstance(message_object, Message) or not message_object.has_content():
        raise DecodeError("message: without content")
    metadata = message_object.metadata
    if (metadata.message_type, metadata.run_id) != (message.message_type, head.run_id):
        raise DecodeError("message: of another type or run than was said")
    record = message_object.content.config_records.get(flower_messages.CONFIG_RECORD_NAME)
    if record is None or len(message_object.content) != 1:
        raise DecodeError("message: expected exactly one record")
    return flower_messages.read_envelope(dict(record), input_name="message")
