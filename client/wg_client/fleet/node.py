"""The plant's node: outbound only, and able to run nothing but the app installed with it.

The one module of the client that knows Flower (``flwr==1.42.0``). It speaks Flower's Fleet API as
an ordinary SuperNode does, but never asks for an app bundle (``GetFab`` is not called), starts no
process and opens no port. What a server may do to a plant is bounded here: the message type must
be on the site's list, the run must name the app that is installed, objects are counted, measured,
typed and hashed before they are unpacked, and no error text of the plant goes back.

What a server may learn from a plant's manner is bounded here, too. An answer, or a refusal, leaves
at the end of the time slot in which it was made, which is waited for once, before the witness is
asked (the server is the witness, so when it is asked can be seen). Whatever data, disk, snapshot or
a crash cause is one word, ``unavailable``. A package is applied on a thread of its own while the
node goes on asking and answering: how long that takes depends on the records.

Handlers are given by the caller: this module knows neither data nor models. It is longer than
others because nothing else of the client may import Flower.
"""

from __future__ import annotations

import contextvars
import errno
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar

import httpx
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, ErrorCode
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
from flwr.supercore.run import Run
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from wg_client.connection import link, transport
from wg_client.fleet import download, enrolment
from wg_client.fleet.inbox import Inbox
from wg_client.site import config as configuration
from wg_client.site import locks
from wg_client.site.home import ClientHome
from wg_common import logs
from wg_common.errors import (
    DecodeError,
    InternalError,
    PeerError,
    StorageError,
    VerificationError,
    WgError,
)
from wg_common.ledger import witness as witnesses
from wg_common.privacy import timing
from wg_common.wire import canonical, fleet, key_files, protocol
from wg_common.wire.fleet import Envelope
from wg_common.wire.protocol import Delivery, PackageOffer, Refusal, StatisticsQuery

log = logging.getLogger(__name__)

T = TypeVar("T")

Witness = Callable[[bytes], bytes]
"""Takes an ``add-checkpoint`` body, returns cosignature lines; raises ``WitnessRefused``."""

_HEARTBEAT_SECONDS = 20.0
_SEND_TRIES = 5
_FRAME_BYTES = 4096
_OBJECT_TYPES = frozenset({"Message", "RecordDict", "ConfigRecord"})


class AnswerQuery(Protocol):
    """Answers a statistics query with the bytes of a covered ``.wgs``, or raises ``WgError``."""

    def __call__(
        self,
        home: ClientHome,
        query: StatisticsQuery,
        *,
        witness: Witness | None,
        now: Callable[[], float],
    ) -> bytes:
        """Answer, or refuse by raising; ``now`` is when the question came."""
        ...


class ApplyPackage(Protocol):
    """Verifies and applies a ``.wgw`` file, once for each package."""

    def __call__(self, home: ClientHome, source: Path, /) -> object:
        """Apply, or raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What the installed app does for each message type."""

    answer_query: AnswerQuery
    apply_package: ApplyPackage


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Bounds and speeds; none changes what is released.

    Attributes:
        poll_seconds: Pause between two questions for work.
        backoff_seconds: First pause after an error; doubles up to ``backoff_limit_seconds``,
            and up to as much again is added at random.
        backoff_limit_seconds: See ``backoff_seconds``.
        max_objects: Most Flower objects in one message.
        max_bytes: Most bytes of one message, and of one answer of the server.
        apply_again_seconds: Pause before a package that did not fit on the disk is tried again.
    """

    poll_seconds: float = 1.0
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 60.0
    max_objects: int = 64
    max_bytes: int = 64 << 20
    apply_again_seconds: float = 60.0


def run_node(
    home: ClientHome,
    handlers: Handlers,
    *,
    once: bool = False,
    stop: threading.Event | None = None,
    options: NodeOptions | None = None,
) -> None:
    """Serve the configured server until ``stop``, or, with ``once``, until a package was applied.

    Network errors never end it: it tries again, more and more slowly, and says why in the log.

    Raises:
        ConfigError: The home is not that of an enrolled plant, or another process runs its node.
        WgError: With ``once``: the package could not be applied.
    """
    stop = stop or threading.Event()
    options = options or NodeOptions()
    node = _Node(home, handlers, stop, options)
    with locks.node(home), logs.about(site=node.site):
        applier = _Applier(home, handlers.apply_package, stop, options, once=once)
        with applier:
            while not stop.is_set():
                node.serve(applier)
    if applier.crash is not None:
        raise applier.crash
    if once and applier.failure is not None:
        raise applier.failure


class _Declined(Exception):
    """The node declines a message; the argument is one of the words in ``wg_common.wire.fleet``."""


class _Slot:
    """The time slot of one answer, which ends once."""

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._seconds = seconds
        self._stop = stop
        self._started = time.monotonic()
        self._over = False
        self.arrived = time.time()

    def end(self) -> None:
        """Wait until the slot ends; at once when it did.

        Raises:
            _Stopped: The node is to stop. Nothing is sent early: the server asks again.
        """
        if self._over:
            return
        timing.hold(self._started, self._seconds, sleep=self._sleep)
        self._over = True

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped


class _Stopped(Exception):
    """The node stops before an answer may leave."""


class _Applier:
    """Applies packages on a thread of its own; the inbox on disk is its queue.

    *Crash safety* is the inbox's: a package waits on disk until it was applied or set aside.
    """

    def __init__(
        self,
        home: ClientHome,
        apply_package: ApplyPackage,
        stop: threading.Event,
        options: NodeOptions,
        *,
        once: bool,
    ) -> None:
        self._home = home
        self._apply_package = apply_package
        self._inbox = Inbox(home)
        self._stop = stop
        self._options = options
        self._once = once
        self._wake = threading.Event()
        self._end = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="wg-apply")
        self.failure: WgError | None = None
        self.crash: BaseException | None = None

    def __enter__(self) -> Self:
        self._wake.set()  # what came before this process began
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """The package that is being applied is finished first."""
        self._end.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Say that a package may wait."""
        self._wake.set()

    def _run(self) -> None:
        pause: float | None = None
        try:
            while True:
                self._wake.wait(pause)
                self._wake.clear()
                if self._end.is_set():
                    return
                pause = self._apply_waiting()
        except BaseException as error:  # noqa: BLE001 - it is raised again by ``run_node``
            self.crash = error
            self._stop.set()

    def _apply_waiting(self) -> float | None:
        """Apply packages that are on disk; with ``once``, stop after the first.

        Returns:
            Seconds after which to try again what did not fit on the disk, if anything.
        """
        for path in self._inbox.waiting():
            if self._end.is_set():
                return None
            try:
                self._apply(path)
            except StorageError as error:
                log.error("package %s waits: %s", path.stem, error)
                return self._options.apply_again_seconds
            if self._once:
                self._stop.set()
                self._end.set()
        return None

    def _apply(self, path: Path) -> None:
        """Apply one package, or set it aside for good.

        Raises:
            StorageError: The disk is full; nothing changed.
        """
        try:
            self._apply_package(self._home, path)
        except StorageError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                raise StorageError(f"{path}: cannot be applied: {error.strerror}") from error
            self._reject(path, InternalError(f"{path}: {error}"))
        except WgError as error:
            self._reject(path, error)
        except Exception as error:  # else it would end the node again at every start
            log.exception("package %s", path.stem)
            self._reject(path, InternalError(f"{path}: {type(error).__name__}"))
        else:
            self._inbox.done(path)
            log.info("package %s applied", path.stem)

    def _reject(self, path: Path, error: WgError) -> None:
        kept = self._inbox.reject(path)
        log.error("package %s not applied: %s (kept at %s)", path.stem, error, kept)
        self.failure = error


class _Node:
    """State of one running node."""

    def __init__(
        self,
        home: ClientHome,
        handlers: Handlers,
        stop: threading.Event,
        options: NodeOptions,
    ) -> None:
        self._home = home
        self._handlers = handlers
        self._stop = stop
        self._options = options
        self._inbox = Inbox(home)
        self._config = configuration.load(home)
        self._allowed = frozenset(self._config.privacy.message_types)
        self._backoff = options.backoff_seconds
        self._app = self._make_app()
        self._slot = self._new_slot()
        self.site = self._config.site

    def serve(self, applier: _Applier) -> None:
        """One session: certificate, connection, activation, messages; ends on any failure."""
        try:
            self._renew()
            with _Session(self._home, self._config.server.fleet_url, self._options) as session:
                log.info("online as %s", self._config.site)
                while not self._stop.is_set():
                    if self._serve_one(session):
                        applier.wake()
                    else:
                        self._stop.wait(self._options.poll_seconds)
                    self._backoff = self._options.backoff_seconds
        except _Stopped:
            log.info("stopped before an answer was due; it is kept")
        except httpx.HTTPStatusError as error:
            self._pause(link.explain_status(error.response))
        except httpx.HTTPError as error:
            self._pause(link.describe(error))
        except (PeerError, DecodeError) as error:
            self._pause(str(error))
        except WgError:
            raise
        except Exception:  # whatever the server sent, the node must outlive it
            log.exception("internal error")
            self._pause("internal error")

    def _renew(self) -> None:
        """Renew the certificate if it is time; what hinders that does not hinder work."""
        if not enrolment.renewal_due(self._home, time.time()):
            return
        try:
            enrolment.renew(self._home, self._config.server.fleet_url, self._config.site)
        except (PeerError, StorageError, VerificationError) as error:
            log.warning("certificate not renewed: %s", error)
        else:
            log.info("certificate renewed")

    def _pause(self, reason: str) -> None:
        delay = self._backoff * (1 + random.random())  # noqa: S311 - jitter, not a secret
        log.warning("%s; trying again in %.1f s", reason, delay)
        self._backoff = min(2 * self._backoff, self._options.backoff_limit_seconds)
        self._stop.wait(delay)

    def _serve_one(self, session: _Session) -> bool:
        """Answer one message; ``False`` if there is none."""
        pulled = session.pull_head()
        if pulled is None:
            return False
        self._slot = self._new_slot()
        head, tree = pulled
        kind = head.metadata.message_type
        try:
            message, run = session.pull_message(head, tree, self._allowed)
        except _Declined as reason:
            log.warning("declined %s: %s: %s", kind, reason, fleet.MEANING[str(reason)])
            session.confirm(head)
            session.push(_error_reply(head, str(reason)))
            return True
        context = Context(
            run_id=run.run_id,
            node_id=session.node.node_id,
            node_config={},
            state=RecordDict(),
            run_config={},
        )
        reply = self._app(message=message, context=context)
        if kind == protocol.QUERY_STATISTICS:
            self._slot.end()
        session.push(reply)
        return True

    def _new_slot(self) -> _Slot:
        return _Slot(self._config.privacy.answer_slot_seconds, self._stop)

    def _make_app(self) -> ClientApp:
        app = ClientApp()

        @app.query("statistics")
        def statistics(message: Message, context: Context) -> Message:
            return self._answer(message, self._statistics)

        @app.train("finetune")
        def finetune(message: Message, context: Context) -> Message:
            return self._answer(message, self._delivery)

        return app

    def _answer(self, message: Message, handle: Callable[[Envelope], Envelope]) -> Message:
        try:
            answer = handle(_envelope(message))
        except _Declined as reason:
            log.warning("declined a message: %s", reason)
            return _error_reply(message, str(reason))
        except DecodeError as error:
            log.warning("declined a malformed message: %s", error)
            return _error_reply(message, fleet.MALFORMED)
        content = RecordDict({fleet.RECORD_NAME: ConfigRecord(dict(answer.fields()))})
        return Message(content, reply_to=message)

    def _statistics(self, envelope: Envelope) -> Envelope:
        query = _record(StatisticsQuery, envelope, "query")
        log.info("request %s: statistics, epsilon %s", query.request_id, query.epsilon)
        slot = self._slot

        def answer() -> Envelope:
            with link.Link.open(self._home, self._config.server.fleet_url) as connection:
                payload = self._handlers.answer_query(
                    self._home,
                    query,
                    witness=_witness(connection, slot),
                    now=lambda: slot.arrived,
                )
            log.info("request %s: answered with %d bytes", query.request_id, len(payload))
            return Envelope("statistics", b"", payload)

        return _guarded(query.request_id, answer, fleet.ANSWER_WORDS)

    def _delivery(self, envelope: Envelope) -> Envelope:
        """A package that came in the message, or an offer of one that is fetched in ranges."""
        if envelope.kind == "offer":
            found: Delivery | PackageOffer = _record(PackageOffer, envelope, "offer")
        else:
            found = _record(Delivery, envelope, "delivery")
        size = found.size if isinstance(found, PackageOffer) else len(envelope.payload)
        if size > self._config.limits.max_package_bytes:
            raise _Declined(fleet.TOO_LARGE)

        def receive() -> Envelope:
            if found.site != self._config.site:
                raise VerificationError(f"delivery: made for site {found.site!r}")
            if isinstance(found, PackageOffer):
                receipt = self._inbox.receive_file(found, partial(self._fetch, found))
            else:
                receipt = self._inbox.receive(found, envelope.payload)
            log.info("request %s: package received", found.request_id)
            return Envelope("receipt", canonical.encode(receipt))

        return _guarded(found.request_id, receive, fleet.DELIVERY_WORDS)

    def _fetch(self, offer: PackageOffer, folder: Path) -> Path:
        log.info("request %s: fetching %d bytes", offer.request_id, offer.size)

        def pause(tries: int) -> bool:
            return self._stop.wait(self._options.backoff_seconds * 2**tries if tries else 0)

        with link.Link.open(self._home, self._config.server.fleet_url) as connection:
            return download.fetch(
                offer, folder, partial(connection.package, offer.request_id), pause=pause
            )


def _guarded(request_id: str, action: Callable[[], Envelope], words: frozenset[str]) -> Envelope:
    """Turn an error of a handler into a refusal of one word; the rest stays in the plant's log.

    Args:
        request_id: The request.
        action: The handler.
        words: Words that depend on the request, the policy, the budget, the clock and the peer
            alone. All else is ``unavailable``: data, disk, snapshot, a crash before.
    """
    fleet.check_request_id(request_id)
    with logs.about(request=request_id):
        try:
            return action()
        except _Stopped:
            raise
        except WgError as error:
            log.warning("request %s refused: %s", request_id, error)
            return _refusal(request_id, error.code if error.code in words else fleet.UNAVAILABLE)
        except Exception:
            log.exception("request %s failed", request_id)
            return _refusal(request_id, fleet.UNAVAILABLE)


def _refusal(request_id: str, code: str) -> Envelope:
    return Envelope("refusal", canonical.encode(Refusal(request_id=request_id, code=code)))


class _Session:
    """One activated node on one connection, with its heartbeat."""

    def __init__(self, home: ClientHome, fleet_url: str, options: NodeOptions) -> None:
        self._options = options
        key = key_files.load_ec(home.node_key)
        self._public = public_key_to_bytes(key.public_key())
        client = transport.open_client(
            "",
            link.client_context(home),
            limit=options.max_bytes + _FRAME_BYTES,
            seconds=transport.TRANSFER_SECONDS,
        )
        self._client = _FleetClient(
            fleet_url, client, NodeAuthHttpInterceptor(key, key.public_key())
        )
        self._quiet = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, name="wg-heartbeat", daemon=True)
        self._runs: dict[int, Run] = {}
        self.node = Node()

    def __enter__(self) -> _Session:
        try:
            reply = self._client.ActivateNode(
                ActivateNodeRequest(
                    public_key=self._public, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
                )
            )
        except BaseException:
            self._client.close()
            raise
        self.node = Node(node_id=reply.node_id)
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

    def pull_head(self) -> tuple[Message, ObjectTree] | None:
        """The next message without its content, and the names of its objects."""
        reply = self._client.PullMessages(PullMessagesRequest(node=self.node))
        if not reply.messages_list:
            return None
        if not reply.message_object_trees:
            raise DecodeError("the server sent a message without its object tree")
        return message_from_proto(reply.messages_list[0]), reply.message_object_trees[0]

    def pull_message(
        self, head: Message, tree: ObjectTree, allowed: frozenset[str]
    ) -> tuple[Message, Run]:
        """Fetch a message's content if it is allowed and for the installed app.

        Raises:
            _Declined: It is not, or it breaks a bound.
        """
        run_id = head.metadata.run_id
        run = self._run(run_id)
        if run.fab_hash != fleet.APP_HASH:
            raise _Declined(fleet.APP_MISMATCH)
        kind = head.metadata.message_type
        if kind not in allowed or kind not in fleet.APP.message_types:
            raise _Declined(fleet.TYPE_DENIED)
        ids = _object_ids(tree, self._options.max_objects)
        contents: dict[str, bytes] = {}
        left = self._options.max_bytes
        for object_id in ids:
            reply = self._client.PullObject(
                PullObjectRequest(node=self.node, run_id=run_id, object_id=object_id)
            )
            content = reply.object_content
            left -= len(content)
            if left < 0:
                raise _Declined(fleet.TOO_LARGE)
            _check_object(object_id, content)
            contents[object_id] = content
        self.confirm(head)
        message_id = head.metadata.message_id
        try:
            message = inflate_object_from_contents(message_id, contents)
        except (KeyError, ValueError, TypeError) as error:
            raise _Declined(fleet.MALFORMED) from error
        if not isinstance(message, Message) or not message.has_content():
            raise _Declined(fleet.MALFORMED)
        message.metadata.__dict__["_message_id"] = message_id
        if message.metadata.message_type != kind or message.metadata.run_id != run_id:
            raise _Declined(fleet.MALFORMED)
        return message, run

    def confirm(self, head: Message) -> None:
        """Tell the server that a message arrived, so that it may forget the objects."""
        self._client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(
                node=self.node,
                run_id=head.metadata.run_id,
                message_object_id=head.metadata.message_id,
            )
        )

    def push(self, reply: Message) -> None:
        """Send a reply, trying again for a while if the line is bad; replies are idempotent."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        for tried in range(1, _SEND_TRIES + 1):
            try:
                self._push(reply)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                refused = isinstance(error, httpx.HTTPStatusError) and (
                    error.response.status_code < 500
                )
                if refused or tried == _SEND_TRIES:
                    raise
                time.sleep(self._options.backoff_seconds * 2**tried)
            else:
                return

    def _push(self, reply: Message) -> None:
        with no_object_id_recompute():
            objects = get_all_nested_objects(reply)
            head = remove_content_from_message(reply) if reply.has_content() else reply
            answer = self._client.PushMessages(
                PushMessagesRequest(
                    node=self.node,
                    messages_list=[message_to_proto(head)],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[0.0],  # how long it took is nobody's business
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

    def _run(self, run_id: int) -> Run:
        if run_id not in self._runs:
            reply = self._client.GetRun(GetRunRequest(node=self.node, run_id=run_id))
            self._runs = {run_id: run_from_proto(reply.run)}
        return self._runs[run_id]

    def _heartbeat(self) -> None:
        while not self._quiet.wait(_HEARTBEAT_SECONDS):
            try:
                self._client.SendNodeHeartbeat(
                    SendNodeHeartbeatRequest(
                        node=self.node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL
                    )
                )
            except Exception as error:  # noqa: BLE001 - whatever came back, go on beating
                log.info("no heartbeat: %s", type(error).__name__)


class _FleetClient(FleetHttpClient):
    """Flower's Fleet client over our own HTTP client: nothing from the environment, no redirect.

    Flower's version interceptor is left out: it ends the process when the server says so.
    """

    def __init__(
        self, base_url: str, client: httpx.Client, interceptor: NodeAuthHttpInterceptor
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._interceptors = (interceptor,)
        self._retry_invoker = None
        self._client = client

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _witness(connection: link.Link, slot: _Slot) -> Witness:
    def ask(request: bytes) -> bytes:
        slot.end()
        reply = connection.witness(request)
        return witnesses.read_reply(reply.status, reply.body)

    return ask


def _object_ids(tree: ObjectTree, limit: int) -> list[str]:
    ids: list[str] = []
    for node in iterate_object_tree(tree):
        ids.append(node.object_id)
        if len(ids) > limit:
            raise _Declined(fleet.TOO_LARGE)
    return ids


def _check_object(object_id: str, content: bytes) -> None:
    """Only the three object types of our messages are unpacked, and only under their own hash."""
    if get_object_id(content) != object_id:
        raise _Declined(fleet.MALFORMED)
    try:
        kind = get_object_type_from_object_content(content)
    except (ValueError, IndexError) as error:
        raise _Declined(fleet.MALFORMED) from error
    if kind not in _OBJECT_TYPES:
        raise _Declined(fleet.MALFORMED)


def _envelope(message: Message) -> Envelope:
    record = message.content.config_records.get(fleet.RECORD_NAME)
    if record is None or len(message.content) != 1:
        raise DecodeError("message: expected exactly one record")
    return fleet.read_envelope(dict(record), what="message")


def _record(kind: type[T], envelope: Envelope, expected: str) -> T:
    if envelope.kind != expected:
        raise DecodeError(f"message: kind {envelope.kind!r}, expected {expected!r}")
    return canonical.decode(kind, envelope.record, what=expected, limit=protocol.MESSAGE_LIMIT)


def _error_reply(message: Message, reason: str) -> Message:
    return Message(Error(ErrorCode.MOD_FAILED_PRECONDITION, reason), reply_to=message)
