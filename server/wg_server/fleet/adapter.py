"""Adapter to Flower: the Fleet API of ``flwr==1.42.0``, and a way to exchange messages over it.

All server code that depends on Flower's internals is in this module. The Control and Runtime APIs
are not mounted: nobody can start a run, ship an app or read results over the network. Link state is
in memory only: the campaign queue survives a restart, and sends lost messages again.
``TaskIdentity`` is global to the process, so there is one run at a time.
"""

# long: all code on Flower's internals is in one module per side

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import (
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
    SUPERLINK_NODE_ID,
    SYSTEM_TIME_TOLERANCE,
    TIMESTAMP_HEADER,
    TIMESTAMP_TOLERANCE,
    SubStatus,
)
from flwr.common.serde import message_from_proto
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    DeactivateNodeResponse,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import ObjectTree
from flwr.server.superlink.linkstate import LinkState
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
    NodeStatus,
    TaskType,
)
from flwr.supercore.date import now
from flwr.supercore.error import http_error_translator
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    get_object_type_from_object_content,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStore
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import (
    PROTOBUF_REQUEST_TYPES,
    ProtobufTranslationMiddleware,
)
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import get_objectstore_linkstate_factories
from flwr.superlink.federation import FederationManager, NoOpFederationManager
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.routers.fleet.router import router
from flwr.superlink.servicer.fleet import fleet_handlers as handlers
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from wg_core.errors import DecodeError, InternalError
from wg_core.wire import flower_messages, protocol
from wg_core.wire.flower_messages import Envelope
from wg_server.fleet.guards import SITE_STATE_KEY, TROUBLE_STATE_KEY
from wg_server.store import site_refusals
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS, StoredSite

log = logging.getLogger(__name__)

_ASSEMBLED_OBJECTS_LIMIT = 64
_UPLOADED_OBJECTS_LIMIT = 8  # an honest reply has three: message, record dictionary, record
_ALLOWED_OBJECT_TYPES = frozenset({"Message", "RecordDict", "ConfigRecord"})

FleetHandler = Callable[[Any, LinkState], Any]  # Maps a protobuf request to its response

RequestCheck = Callable[[Request, object], object | None]
"""Check of a request that Flower has authenticated: raises, returns a response, or None to pass it
on."""

_HANDLERS_BY_NAME: Mapping[str, FleetHandler] = {
    "register-node": partial(handlers.register_node, enable_supernode_auth=True),
    "activate-node": handlers.activate_node,
    "deactivate-node": handlers.deactivate_node,
    "unregister-node": partial(handlers.unregister_node, enable_supernode_auth=True),
    "send-node-heartbeat": handlers.send_node_heartbeat,
    "pull-messages": lambda message, state: handlers.pull_messages(
        message, state, state.object_store
    ),
    "push-messages": handlers.push_messages,
    "get-run": handlers.get_run,
    "get-fab": handlers.get_fab,
    "push-object": handlers.push_object,
    "pull-object": handlers.pull_object,
    "confirm-message-received": lambda message, state: handlers.confirm_message_received(
        message, state, state.object_store
    ),
}

HANDLERS_BY_PATH = {
    f"{router.prefix}/{name}": handler for name, handler in _HANDLERS_BY_NAME.items()
}
"""Handlers by path, one for each route of Flower's router."""


class FleetApiMiddleware:
    """ASGI middleware that serves the Fleet API in one thread-pool call per request.

    Requests outside the API's prefix are passed on. Flower's own application puts four middlewares
    and FastAPI's injection around each handler, with six hops between threads and event loop, which
    was most of the cost of a request. This class makes the same checks in the same order with
    Flower's functions: media type, message, signed time, node id. Then it calls its argument
    ``check``, which may answer in place of Flower's handler.
    """

    def __init__(self, app: ASGIApp, state: LinkState, check: RequestCheck) -> None:
        self._app = app
        self._state = state
        self._check_request = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request to the Fleet API."""
        if scope["type"] != "http" or scope["path"] not in HANDLERS_BY_PATH:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = await http_error_translator(request, self._answer_request)
        await response(scope, receive, send)

    async def _answer_request(self, request: Request) -> Response:
        kind = PROTOBUF_REQUEST_TYPES.get((request.method, request.url.path))
        if kind is None:
            raise HTTPException(405, "Method Not Allowed")
        translation = ProtobufTranslationMiddleware
        translation._check_request_media_type(request)
        message = translation._parse_request(await request.body(), kind)
        request.state.protobuf_request = message
        answer = await run_in_threadpool(self._run_handler, request, message)
        return Response(answer, media_type=PROTOBUF_MEDIA_TYPE)

    def _run_handler(self, request: Request, message: object) -> bytes:
        authenticate_node(request)
        answer: Any = self._check_request(request, message)
        if answer is None:
            answer = HANDLERS_BY_PATH[request.url.path](message, self._state)
        return bytes(answer.SerializeToString())


class IndexedLinkState(InMemoryLinkState):
    """Flower's in-memory link state with an index of messages by node.

    Flower searches the messages of all nodes for a node's next message, and checks each of them: if
    a campaign asks 1,000 nodes, delivering one message to each takes a million checks.
    """

    def __init__(self, federation: FederationManager, objects: ObjectStore) -> None:
        super().__init__(federation, objects)
        self._waiting: defaultdict[int, dict[str, None]] = defaultdict(dict)

    def store_message_ins(self, message: Message) -> str | None:
        """Store a message, and add it to the index of its node."""
        with self.lock:
            message_id: str | None = super().store_message_ins(message)
            if message_id is not None:
                self._waiting[message.metadata.dst_node_id][message_id] = None
            return message_id

    def get_message_ins(
        self, node_id: int, limit: int | None, *, run_id: int | None = None
    ) -> list[Message]:
        """Return a node's undelivered messages, oldest first, and mark them as delivered."""
        messages: list[Message] = []
        with self.lock:
            for message_id in list(self._waiting.get(node_id, ())):
                self._check_stored_messages({message_id})
                message = self.message_ins_store.get(message_id)
                if message is None or message.metadata.delivered_at:
                    self._remove_from_index(node_id, message_id)
                elif run_id is None or message.metadata.run_id == run_id:
                    self._remove_from_index(node_id, message_id)
                    message.metadata.delivered_at = now().isoformat()
                    messages.append(message)
                if limit is not None and len(messages) >= limit:
                    break
        return messages

    def delete_messages(self, message_ins_ids: set[str]) -> None:
        """Delete messages, also from the index."""
        with self.lock:
            for message_id in message_ins_ids:
                message = self.message_ins_store.get(message_id)
                if message is not None:
                    self._remove_from_index(message.metadata.dst_node_id, message_id)
            super().delete_messages(message_ins_ids)

    def _remove_from_index(self, node_id: int, message_id: str) -> None:
        waiting = self._waiting.get(node_id)
        if waiting is not None:
            waiting.pop(message_id, None)
            if not waiting:
                del self._waiting[node_id]


@dataclass(frozen=True, slots=True)
class NodeReply:
    """Reply of a site's node to one message.

    Attributes:
        message_id: Flower's id of the message that was sent.
        envelope: Content of the reply, or None.
        error_code: Error code if there is no content: a code of ``wg_core.wire.flower_messages``,
            or ``lost`` (the node disconnected or the message expired; the message should be sent
            again).
    """

    message_id: str
    envelope: Envelope | None
    error_code: str = ""


LOST_REPLY_CODE = "lost"


class FlowerLink:
    """Flower's link state: connected nodes, and the messages between them and this server."""

    def __init__(self) -> None:
        objects, self._factory = get_objectstore_linkstate_factories(
            FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager()
        )
        self._state: LinkState = IndexedLinkState(self._factory.federation_manager, objects.store())
        self._factory.state_instance = self._state
        self._activations: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._left: set[str] = set()
        self._run_lock = threading.Lock()

    def attach_to_app(self, app: FastAPI) -> None:
        """Give an application behind ``IdentityGuard`` access to Flower's link state."""
        app.state.linkstate_factory = self._factory

    def fleet_api_middleware(self) -> Middleware:
        """Return the Fleet API as middleware, with this class's checks before each request."""
        return Middleware(FleetApiMiddleware, state=self._state, check=self._check_request)

    def online_sites(self, sites: Iterable[StoredSite]) -> set[str]:
        """Return the names of sites with requests in the last ``ONLINE_LIMIT_SECONDS``."""
        keys = {site.node_key.encode("ascii"): site.name for site in sites}
        nodes = self._state.get_node_info(statuses=[NodeStatus.ONLINE])
        connected_nodes = {
            keys[node.public_key] for node in nodes if node.public_key in keys
        } - self._left
        since = time.monotonic() - ONLINE_LIMIT_SECONDS
        return {name for name in connected_nodes if self._heard.get(name, 0.0) > since}

    def last_activation_time(self, site: str) -> float:
        """Return the monotonic time at which a site's node last connected; 0 if it never did."""
        return self._activations.get(site, 0.0)

    @contextmanager
    def open_run(self) -> Iterator[FlowerRun]:
        """Open a Flower run for the body, under which messages are sent; one run at a time."""
        with self._run_lock:
            state = self._state
            run_id = state.create_run(
                flower_messages.APP_NAME,
                f"{protocol.PROTOCOL_VERSION}.0.0",
                flower_messages.APP_HASH,
                {},
                NOOP_FEDERATION_ID,
                None,
                NOOP_FLWR_AID,
                TaskType.SERVER_APP,
            )
            task_id = state.get_run_info(run_ids=[run_id])[0].primary_task_id
            if task_id is None or not state.claim_task(task_id) or not state.activate_task(task_id):
                raise InternalError("Flower did not start a run")
            TaskIdentity.task_id = task_id
            TaskIdentity.run_id = run_id
            TaskIdentity.node_id = SUPERLINK_NODE_ID
            quiet = threading.Event()
            beat = threading.Thread(
                target=self._send_heartbeats, args=(task_id, quiet), name="wg-run", daemon=True
            )
            beat.start()
            outcome = SubStatus.FAILED
            try:
                yield FlowerRun(state, run_id)
                outcome = SubStatus.COMPLETED
            finally:
                quiet.set()
                beat.join()
                state.finish_task(task_id, sub_status=outcome, details="")
                state.cleanup_run(run_id)

    def _send_heartbeats(self, task_id: int, stop_event: threading.Event) -> None:
        heartbeat_seconds = 10.0
        while not stop_event.wait(heartbeat_seconds):
            self._state.acknowledge_task_heartbeat(task_id)

    def _check_request(self, request: Request, message: object) -> object | None:
        """Refuse another node key than the enrolled one, and requests that are not allowed here."""
        site: StoredSite = getattr(request.state, SITE_STATE_KEY)
        if _request_node_key(request) != site.node_key.encode("ascii"):
            setattr(request.state, TROUBLE_STATE_KEY, site_refusals.NODE_KEY_TROUBLE)
            raise HTTPException(403, "the certificate belongs to another node key")
        self._heard[site.name] = time.monotonic()
        if isinstance(message, GetFabRequest):
            raise HTTPException(403, "nodes run the app that is installed with them")
        if isinstance(message, PushMessagesRequest):
            _check_reply_upload(message)
        if isinstance(message, DeactivateNodeRequest):
            # Flower would drop the node's last reply; the node's heartbeat expires anyway.
            self._left.add(site.name)
            return DeactivateNodeResponse()
        if isinstance(message, ActivateNodeRequest):
            self._register_node(site)
        return None

    def _register_node(self, site: StoredSite) -> None:
        """Register a node, so that a restarted one connects before its old heartbeat expires."""
        key = site.node_key.encode("ascii")
        node_id = self._state.get_node_id_by_public_key(key)
        if node_id is None:
            self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0, name=site.name)
        else:
            self._state.deactivate_node(node_id)
        self._activations[site.name] = time.monotonic()
        self._left.discard(site.name)


class FlowerRun:
    """Flower run: the messages to nodes under one run id, and their replies."""

    def __init__(self, state: LinkState, run_id: int) -> None:
        self._state = state
        self._run_id = run_id
        self._uploading: dict[str, tuple[Message, ObjectTree]] = {}

    def send_message(
        self, site: StoredSite, message_type: str, envelope: Envelope, lifetime_seconds: float
    ) -> str | None:
        """Send a message to a site's node.

        Args:
            site: Site whose node has connected at least once.
            message_type: Message type, one of ``wg_core.wire.protocol``.
            lifetime_seconds: Lifetime of the message.

        Returns:
            Flower's id of the message, or None if the node is unknown.
        """
        state = self._state
        node_id = state.get_node_id_by_public_key(site.node_key.encode("ascii"))
        if node_id is None:
            return None
        content = RecordDict(
            {flower_messages.CONFIG_RECORD_NAME: ConfigRecord(dict(envelope.fields()))}
        )
        message = Message(
            content, dst_node_id=node_id, message_type=message_type, ttl=lifetime_seconds
        )
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            objects = get_all_nested_objects(message)
            session = state.start_session(self._run_id)
            stored_id, missing = state.store_message_and_object_tree(
                remove_content_from_message(message), get_object_tree(message), session
            )
            if not stored_id:
                return None
            for object_id in missing:
                state.store_object(self._run_id, session, object_id, objects[object_id].deflate())
        return str(message.metadata.message_id)

    def poll_replies(self, message_ids: set[str]) -> list[NodeReply]:
        """Return the replies that are complete by now, each once; do not wait for others."""
        state = self._state
        replies: list[NodeReply] = []
        ask = message_ids - self._uploading.keys()
        messages, broken = self._fetch_heads_and_unreadable_ids(ask)
        replies += [
            NodeReply(message_id, None, flower_messages.MESSAGE_MALFORMED) for message_id in broken
        ]
        for head in messages:
            message_id = head.metadata.reply_to_message_id
            if head.has_error():
                replies.append(NodeReply(message_id, None, _known_error_code(head)))
                continue
            try:
                tree = state.object_store.get_object_tree(head.metadata.message_id)
            except NoObjectInStoreError:
                replies.append(NodeReply(message_id, None, LOST_REPLY_CODE))
                continue
            self._uploading[message_id] = (head, tree)
        if messages:
            state.delete_messages({head.metadata.reply_to_message_id for head in messages})
        for message_id in message_ids & self._uploading.keys():
            try:
                reply = self._assemble_reply(message_id, *self._uploading[message_id])
            except Exception:  # one node's reply must not end the others' run
                log.exception("reply to %s", message_id[:16])
                reply = NodeReply(message_id, None, flower_messages.MESSAGE_MALFORMED)
            if reply is not None:
                del self._uploading[message_id]
                replies.append(reply)
        return replies

    def _fetch_heads_and_unreadable_ids(
        self, message_ids: set[str]
    ) -> tuple[list[Message], list[str]]:
        """Return replies without their content, and ids of messages whose reply is unreadable."""
        if not message_ids:
            return [], []
        try:
            return self._state.get_message_res(message_ids=message_ids, run_id=self._run_id), []
        except Exception:
            log.exception("replies cannot be read together; reading one at a time")
        heads: list[Message] = []
        broken: list[str] = []
        for message_id in message_ids:
            try:
                heads += self._state.get_message_res(message_ids={message_id}, run_id=self._run_id)
            except Exception:  # the unreadable reply
                log.exception("reply to %s", message_id[:16])
                broken.append(message_id)
        return heads, broken

    def withdraw_message(self, message_id: str) -> None:
        """Withdraw a message whose reply is no longer needed."""
        self._uploading.pop(message_id, None)
        self._state.delete_messages({message_id})
        self._state.object_store.delete(message_id)

    def _assemble_reply(
        self, message_id: str, reply_head: Message, object_tree: ObjectTree
    ) -> NodeReply | None:
        """Return the reply to a message, or None while its parts are still being uploaded."""
        contents: dict[str, bytes] = {}
        for count, node in enumerate(iterate_object_tree(object_tree)):
            content = self._state.get_object(self._run_id, node.object_id)
            if content is None:
                return NodeReply(message_id, None, LOST_REPLY_CODE)
            if content == b"":
                return None
            size = sum(map(len, contents.values())) + len(content)
            if count >= _ASSEMBLED_OBJECTS_LIMIT or size > protocol.STATISTICS_BYTES_LIMIT:
                return NodeReply(message_id, None, flower_messages.MESSAGE_TOO_LARGE)
            contents[node.object_id] = content
        reply_id = reply_head.metadata.message_id
        self._state.object_store.delete(reply_id)
        try:
            return NodeReply(message_id, _unpack_reply(reply_id, contents))
        except (DecodeError, KeyError, ValueError, TypeError) as error:
            log.warning("malformed reply to %s: %s", message_id[:16], error)
            return NodeReply(message_id, None, flower_messages.MESSAGE_MALFORMED)


def _unpack_reply(reply_id: str, contents_by_object_id: dict[str, bytes]) -> Envelope:
    """Unpack a node's reply, given its objects by id.

    Raises:
        DecodeError: An object does not match its id (a hash) or has a type that is not allowed, or
            the reply does not hold exactly one record.
    """
    for object_id, content in contents_by_object_id.items():
        if get_object_id(content) != object_id:
            raise DecodeError("reply: an object does not match its hash")
        if get_object_type_from_object_content(content) not in _ALLOWED_OBJECT_TYPES:
            raise DecodeError("reply: an object of another type")
    message = inflate_object_from_contents(reply_id, contents_by_object_id)
    if not isinstance(message, Message) or not message.has_content():
        raise DecodeError("reply: no content")
    record = message.content.config_records.get(flower_messages.CONFIG_RECORD_NAME)
    if record is None or len(message.content) != 1:
        raise DecodeError("reply: expected exactly one record")
    return flower_messages.read_envelope(dict(record), input_name="reply")


def _check_reply_upload(request: PushMessagesRequest) -> None:
    """Refuse an upload unless it is one reply, in the node's own name, with few enough objects.

    Flower registers objects before it requests their bytes, so their number bounds its memory.
    """
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise HTTPException(400, "expected one reply and its object tree")
    if request.messages_list[0].metadata.src_node_id != request.node.node_id:
        raise HTTPException(403, "the reply names another node as its source")
    objects = itertools.islice(
        iterate_object_tree(request.message_object_trees[0]), _UPLOADED_OBJECTS_LIMIT + 1
    )
    if sum(1 for _ in objects) > _UPLOADED_OBJECTS_LIMIT:
        raise HTTPException(413, "a reply of too many objects")
    try:
        message_from_proto(request.messages_list[0])
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(400, "the reply is no message") from error


def _known_error_code(reply_head: Message) -> str:
    """Return the error code of a node's reply if it is known, else ``lost``."""
    refusals = {
        flower_messages.APP_MISMATCH,
        flower_messages.MESSAGE_TYPE_DENIED,
        flower_messages.MESSAGE_TOO_LARGE,
        flower_messages.MESSAGE_MALFORMED,
    }
    reason = reply_head.error.reason or ""
    return reason if reason in refusals else LOST_REPLY_CODE


def clock_skew_seconds(scope: Scope, current_time: float) -> float | None:
    """Return by how many seconds a signed request's clock is ahead; None if it is unsigned."""
    text = Headers(scope=scope).get(TIMESTAMP_HEADER, "")
    try:
        return datetime.fromisoformat(text).timestamp() - current_time
    except (ValueError, OverflowError):
        return None


def is_clock_refused(skew_seconds: float) -> bool:
    """Return whether Flower refuses a clock that is this many seconds ahead."""
    return (
        skew_seconds > SYSTEM_TIME_TOLERANCE
        or -skew_seconds > TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE
    )


def _request_node_key(request: Request) -> bytes:
    try:
        return base64.b64decode(request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
    except (KeyError, binascii.Error, ValueError):
        return b""
