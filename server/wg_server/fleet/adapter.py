"""Flower, embedded: the Fleet API of ``flwr==1.42.0`` and a grid to send and receive through it.

With ``link_state`` and ``pipeline`` all of the server that knows Flower's internals. Control and
Runtime APIs are not mounted: nobody can start a run, ship an app or read results over the network.
Link state lives in memory: the campaign queue is what survives, and it asks again for what a
restart lost. ``TaskIdentity`` is global to the process, so there is one run at a time.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

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
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    FLWR_IN_MEMORY_DB_NAME,
    NOOP_FEDERATION_ID,
    NodeStatus,
    TaskType,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    get_object_type_from_object_content,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import get_objectstore_linkstate_factories
from flwr.superlink.federation import NoOpFederationManager
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import Scope

from wg_core.errors import DecodeError, InternalError
from wg_core.wire import fleet, protocol
from wg_core.wire.fleet import Envelope
from wg_server.fleet.guards import SITE_STATE, TROUBLE_STATE
from wg_server.fleet.link_state import NodeMessages
from wg_server.fleet.pipeline import FleetApi
from wg_server.store import troubles
from wg_server.store.site import PRESENT_SECONDS, Site

log = logging.getLogger(__name__)

_OBJECTS_LIMIT = 64
_REPLY_OBJECTS_LIMIT = 8  # an honest reply has three: message, record dictionary, record
_OBJECT_TYPES = frozenset({"Message", "RecordDict", "ConfigRecord"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one message.

    Attributes:
        message_id: Flower's id of the message that is answered.
        envelope: The answer's content, if it has one.
        error: Else why not: a word of ``wg_core.wire.fleet``, or ``lost`` (the node went away or
            the message expired: ask again).
    """

    message_id: str
    envelope: Envelope | None
    error: str = ""


LOST = "lost"


class FleetState:
    """Flower's link state: which nodes are there, and the messages between us."""

    def __init__(self) -> None:
        objects, self._factory = get_objectstore_linkstate_factories(
            FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager()
        )
        self._state: LinkState = NodeMessages(self._factory.federation_manager, objects.store())
        self._factory.state_instance = self._state
        self._activations: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._left: set[str] = set()
        self._run_lock = threading.Lock()

    def mount(self, app: FastAPI) -> None:
        """Let an application, whose requests are identified already, know the state."""
        app.state.linkstate_factory = self._factory

    def middleware(self) -> Middleware:
        """The Fleet API, with our guard before each of its handlers."""
        return Middleware(FleetApi, state=self._state, judge=self._judge)

    def online(self, sites: Iterable[Site]) -> set[str]:
        """Names of the sites whose node is there now: any request of it says so."""
        keys = {site.node_key.encode("ascii"): site.name for site in sites}
        nodes = self._state.get_node_info(statuses=[NodeStatus.ONLINE])
        connected = {
            keys[node.public_key] for node in nodes if node.public_key in keys
        } - self._left
        since = time.monotonic() - PRESENT_SECONDS
        return {name for name in connected if self._heard.get(name, 0.0) > since}

    def activated(self, site: str) -> float:
        """When (monotonic) a site's node last came online; 0 if never."""
        return self._activations.get(site, 0.0)

    @contextmanager
    def run(self) -> Iterator[FleetRun]:
        """A run under which messages are sent; one at a time."""
        with self._run_lock:
            state = self._state
            run_id = state.create_run(
                fleet.APP.name,
                f"{fleet.APP.protocol}.0.0",
                fleet.APP_HASH,
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
                target=self._heartbeat, args=(task_id, quiet), name="wg-run", daemon=True
            )
            beat.start()
            outcome = SubStatus.FAILED
            try:
                yield FleetRun(state, run_id)
                outcome = SubStatus.COMPLETED
            finally:
                quiet.set()
                beat.join()
                state.finish_task(task_id, sub_status=outcome, details="")
                state.cleanup_run(run_id)

    def _heartbeat(
        self, task_id: int, quiet: threading.Event, *, heartbeat_seconds: float = 10.0
    ) -> None:
        while not quiet.wait(heartbeat_seconds):
            self._state.acknowledge_task_heartbeat(task_id)

    def _judge(self, request: Request, message: object) -> object | None:
        """Bind the Flower identity to the certificate; close what Flower leaves open."""
        site: Site = getattr(request.state, SITE_STATE)
        if _public_key(request) != site.node_key.encode("ascii"):
            setattr(request.state, TROUBLE_STATE, troubles.NODE_KEY)
            raise HTTPException(403, "the certificate belongs to another node key")
        self._heard[site.name] = time.monotonic()
        if isinstance(message, GetFabRequest):
            raise HTTPException(403, "nodes run the app that is installed with them")
        if isinstance(message, PushMessagesRequest):
            _check_push(message)
        if isinstance(message, DeactivateNodeRequest):
            # Flower would forget the node's last reply with it; its heartbeat runs out anyway.
            self._left.add(site.name)
            return DeactivateNodeResponse()
        if isinstance(message, ActivateNodeRequest):
            self._before_activation(site)
        return None

    def _before_activation(self, site: Site) -> None:
        """Make the node known, and let one that died come back before its heartbeat runs out."""
        key = site.node_key.encode("ascii")
        node_id = self._state.get_node_id_by_public_key(key)
        if node_id is None:
            self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, 0, name=site.name)
        else:
            self._state.deactivate_node(node_id)
        self._activations[site.name] = time.monotonic()
        self._left.discard(site.name)


class FleetRun:
    """Messages of one run."""

    def __init__(self, state: LinkState, run_id: int) -> None:
        self._state = state
        self._run_id = run_id
        self._uploading: dict[str, tuple[Message, ObjectTree]] = {}

    def send(self, site: Site, kind: str, envelope: Envelope, seconds: float) -> str | None:
        """Send a message to a site's node.

        Args:
            site: The site; its node must have been online once.
            kind: Message type, one of ``wg_core.wire.protocol``.
            seconds: How long it is good for.

        Returns:
            Flower's id of the message, or nothing if the node is not known.
        """
        state = self._state
        node_id = state.get_node_id_by_public_key(site.node_key.encode("ascii"))
        if node_id is None:
            return None
        content = RecordDict({fleet.RECORD_NAME: ConfigRecord(dict(envelope.fields()))})
        message = Message(content, dst_node_id=node_id, message_type=kind, ttl=seconds)
        with no_object_id_recompute():
            message.metadata.__dict__["_message_id"] = message.object_id
            objects = get_all_nested_objects(message)
            session = state.start_session(self._run_id)
            stored, missing = state.store_message_and_object_tree(
                remove_content_from_message(message), get_object_tree(message), session
            )
            if not stored:
                return None
            for object_id in missing:
                state.store_object(self._run_id, session, object_id, objects[object_id].deflate())
        return str(message.metadata.message_id)

    def poll(self, message_ids: set[str]) -> list[Reply]:
        """Replies that are there, each once; waits for none, not even for slow uploads."""
        state = self._state
        replies: list[Reply] = []
        ask = message_ids - self._uploading.keys()
        messages, broken = self._heads(ask)
        replies += [Reply(message_id, None, fleet.MALFORMED) for message_id in broken]
        for head in messages:
            message_id = head.metadata.reply_to_message_id
            if head.has_error():
                replies.append(Reply(message_id, None, _error(head)))
                continue
            try:
                tree = state.object_store.get_object_tree(head.metadata.message_id)
            except NoObjectInStoreError:
                replies.append(Reply(message_id, None, LOST))
                continue
            self._uploading[message_id] = (head, tree)
        if messages:
            state.delete_messages({head.metadata.reply_to_message_id for head in messages})
        for message_id in message_ids & self._uploading.keys():
            try:
                reply = self._receive(message_id, *self._uploading[message_id])
            except Exception:  # one node's reply must not end the others' run
                log.exception("reply to %s", message_id[:16])
                reply = Reply(message_id, None, fleet.MALFORMED)
            if reply is not None:
                del self._uploading[message_id]
                replies.append(reply)
        return replies

    def _heads(self, message_ids: set[str]) -> tuple[list[Message], list[str]]:
        """Replies without their content, and ids of messages whose reply cannot be read."""
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
            except Exception:  # this one it is
                log.exception("reply to %s", message_id[:16])
                broken.append(message_id)
        return heads, broken

    def forget(self, message_id: str) -> None:
        """Withdraw a message whose answer is no longer waited for."""
        self._uploading.pop(message_id, None)
        self._state.delete_messages({message_id})
        self._state.object_store.delete(message_id)

    def _receive(self, message_id: str, head: Message, tree: ObjectTree) -> Reply | None:
        """The reply, or nothing while its objects are still being sent."""
        contents: dict[str, bytes] = {}
        for count, node in enumerate(iterate_object_tree(tree)):
            content = self._state.get_object(self._run_id, node.object_id)
            if content is None:
                return Reply(message_id, None, LOST)
            if content == b"":
                return None
            size = sum(map(len, contents.values())) + len(content)
            if count >= _OBJECTS_LIMIT or size > protocol.STATISTICS_LIMIT:
                return Reply(message_id, None, fleet.TOO_LARGE)
            contents[node.object_id] = content
        reply_id = head.metadata.message_id
        self._state.object_store.delete(reply_id)
        try:
            return Reply(message_id, _open(reply_id, contents))
        except (DecodeError, KeyError, ValueError, TypeError) as error:
            log.warning("malformed reply to %s: %s", message_id[:16], error)
            return Reply(message_id, None, fleet.MALFORMED)


def _open(message_id: str, contents: dict[str, bytes]) -> Envelope:
    """Unpack a reply: the three object types of our messages, each under its own hash."""
    for object_id, content in contents.items():
        if get_object_id(content) != object_id:
            raise DecodeError("reply: an object does not match its hash")
        if get_object_type_from_object_content(content) not in _OBJECT_TYPES:
            raise DecodeError("reply: an object of another type")
    message = inflate_object_from_contents(message_id, contents)
    if not isinstance(message, Message) or not message.has_content():
        raise DecodeError("reply: no content")
    record = message.content.config_records.get(fleet.RECORD_NAME)
    if record is None or len(message.content) != 1:
        raise DecodeError("reply: expected exactly one record")
    return fleet.read_envelope(dict(record), subject="reply")


def _check_push(request: PushMessagesRequest) -> None:
    """One reply, in the node's own name, of as many objects as an honest one has, or few more.

    Flower registers objects before it asks for their bytes: their number bounds what it will hold.
    """
    if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
        raise HTTPException(400, "expected one reply and its object tree")
    if request.messages_list[0].metadata.src_node_id != request.node.node_id:
        raise HTTPException(403, "the reply names another node as its source")
    objects = itertools.islice(
        iterate_object_tree(request.message_object_trees[0]), _REPLY_OBJECTS_LIMIT + 1
    )
    if sum(1 for _ in objects) > _REPLY_OBJECTS_LIMIT:
        raise HTTPException(413, "a reply of too many objects")
    try:
        message_from_proto(request.messages_list[0])
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(400, "the reply is no message") from error


def _error(head: Message) -> str:
    """The node's word, if it is one of ours; anything else means that the message is lost."""
    refusals = {fleet.APP_MISMATCH, fleet.TYPE_DENIED, fleet.TOO_LARGE, fleet.MALFORMED}
    reason = head.error.reason or ""
    return reason if reason in refusals else LOST


def clock_skew(scope: Scope, now: float) -> float | None:
    """Seconds by which the clock of who signed a request is ahead; None if nobody signed it."""
    text = Headers(scope=scope).get(TIMESTAMP_HEADER, "")
    try:
        return datetime.fromisoformat(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def is_refused(skew: float) -> bool:
    """Whether Flower refuses a clock that is so many seconds ahead."""
    return skew > SYSTEM_TIME_TOLERANCE or -skew > TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE


def _public_key(request: Request) -> bytes:
    try:
        return base64.b64decode(request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
    except (KeyError, binascii.Error, ValueError):
        return b""
