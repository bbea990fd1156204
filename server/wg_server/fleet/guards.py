"""ASGI middleware before the Fleet API, outermost first: storage, size, identity, rate, memory.

Requests are checked by headers and certificate before any of their body is read. TLS has verified
that this server's authority issued the certificate; here the store decides, at every request,
whether it is still valid and which site it belongs to.
"""

import asyncio
import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wg_core import logs
from wg_core.errors import StorageError
from wg_core.wire import canonical, protocol
from wg_server.fleet.certificate_adoption import adopt_certificate
from wg_server.site.backup_records import RestoreGap
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

PEER_CERTIFICATE_STATE_KEY = (
    "peer_certificate"  # Key in the connection's state: the client certificate in DER
)

SITE_STATE_KEY = "site"  # Key in the request's state: the enrolled site that made the request

TROUBLE_STATE_KEY = "trouble"
"""Key in the request's state: code of ``store.site_refusals`` for why the node is refused."""

REFUSAL_DELAY_SECONDS = 1.0  # Delay before an unidentified or too frequent request is refused


_CONTENT_LENGTH_PATTERN = re.compile(rb"[0-9]{1,18}")
"""Valid content length; Python's ``int`` raises from 4,300 digits on."""


class Guard(ABC):
    """Base class of middleware that checks HTTP requests and passes on other ASGI events."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one ASGI request, and pass it on or refuse it."""
        handle = self._check_request if scope["type"] == "http" else self._app
        await handle(scope, receive, send)

    @abstractmethod
    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass the request on."""


class StorageGuard(Guard):
    """Middleware that answers 503 with Retry-After while the disk or the database is unusable."""

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except StorageError as error:
            log.error("%s: %s", scope["path"], error)
            if has_begun:
                raise
            headers = {"retry-after": "5"}
            response = PlainTextResponse("cannot read or write now\n", 503, headers)
            await response(scope, receive, send)


class BodyLimit(Guard):
    """Middleware that refuses a request body that is too large, of unknown length, or too slow."""

    def __init__(self, app: ASGIApp, limit: int, seconds: float = 60.0) -> None:
        super().__init__(app)
        self._limit = limit
        self._seconds = seconds

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        bare = scope["method"] in ("GET", "HEAD") and b"transfer-encoding" not in headers
        if length is None and not bare:
            await PlainTextResponse("length required\n", 411)(scope, receive, send)
        elif length is not None and (
            not _CONTENT_LENGTH_PATTERN.fullmatch(length) or int(length) > self._limit
        ):
            await PlainTextResponse("payload too large\n", 413)(scope, receive, send)
        else:
            await self._app(scope, self._with_deadline(receive), send)

    def _with_deadline(self, receive: Receive) -> Receive:
        deadline = time.monotonic() + self._seconds
        complete = False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            complete = not message.get("more_body", False)
            return message

        return receive_in_time


class BodyMemoryLimit(Guard):
    """Middleware that limits the bytes of request bodies in memory, per site and in total.

    A body counts with its announced length until its request is answered, beginning before its
    first byte is read. A hundred requests that stall halfway therefore take no more than their
    site's share, and other sites are still served.
    """

    def __init__(self, app: ASGIApp, *, site_bytes: int, total_bytes: int) -> None:
        super().__init__(app)
        self._site_bytes = site_bytes
        self._total_bytes = total_bytes
        self._held: dict[str, int] = {}

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        site = scope["state"][SITE_STATE_KEY].name
        length = int(dict(scope["headers"]).get(b"content-length", b"0"))
        buffered_bytes = self._held.get(site, 0)
        # A site's only body is exempt from the site's limit.
        if (buffered_bytes and buffered_bytes + length > self._site_bytes) or (
            length and sum(self._held.values()) + length > self._total_bytes
        ):
            response = PlainTextResponse("too much at once\n", 503, {"retry-after": "1"})
            await response(scope, receive, send)
            return
        self._held[site] = buffered_bytes + length
        try:
            await self._app(scope, receive, send)
        finally:
            remainder = self._held.pop(site, 0) - length  # absent after requests without a body
            if remainder:
                self._held[site] = remainder


class IdentityGuard(Guard):
    """Middleware that passes on only requests of enrolled sites, and records when they came."""

    def __init__(
        self, app: ASGIApp, store: ServerStore, recovery: RestoreGap | None = None
    ) -> None:
        super().__init__(app)
        self._store = store
        self._recovery = recovery
        self._seen: dict[str, float] = {}
        self._unwritten: dict[str, float] = {}
        self._written = 0.0
        self._lock = threading.Lock()

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        der = scope.get("state", {}).get(PEER_CERTIFICATE_STATE_KEY)
        site = await run_in_threadpool(self._authenticate_site, der) if der else None
        if site is None:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            is_revoked = der and await run_in_threadpool(
                self._store.belongs_to_revoked_site, canonical.sha256_hex(der)
            )
            headers = {protocol.REASON_HEADER: protocol.REVOKED_REASON} if is_revoked else None
            response = PlainTextResponse("not an enrolled site\n", 403, headers)
            await response(scope, receive, send)
            return
        scope["state"][SITE_STATE_KEY] = site
        with logs.log_context(site=site.name):
            await self._app(scope, receive, send)

    def _authenticate_site(self, certificate_der: bytes) -> StoredSite | None:
        current_time = time.time()
        site = self._store.authenticate_site(canonical.sha256_hex(certificate_der), current_time)
        if site is None and self._recovery is not None:
            site = adopt_certificate(self._store, self._recovery, certificate_der, current_time)
        if site is not None:
            self._record_request_time(site.name, current_time)
        return site

    def _record_request_time(self, site: str, current_time: float) -> None:
        """Remember the time of a site's request; times go to the store at most once a second."""
        write_seconds = 1.0
        seen_seconds = 10.0
        with self._lock:
            if current_time - self._seen.get(site, 0.0) > seen_seconds:
                self._seen[site] = self._unwritten[site] = current_time
            if not self._unwritten or current_time - self._written < write_seconds:
                return
            due, self._unwritten, self._written = self._unwritten, {}, current_time
        self._store.record_request_times(due)


class RateLimit(Guard):
    """Middleware that limits each site's rate of requests, with bursts of ten seconds' requests.

    A refusal is delayed, so that a client that retries in a loop sends fewer requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        requests_per_second: float = 50.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(app)
        self._rate = requests_per_second
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_within_rate(scope["state"][SITE_STATE_KEY].name):
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            response = PlainTextResponse("too many requests\n", 429, {"retry-after": "1"})
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_within_rate(self, site: str) -> bool:
        burst = 10 * self._rate
        current_time = self._clock()
        level, then = self._buckets.get(site, (burst, current_time))
        level = min(burst, level + (current_time - then) * self._rate)
        is_allowed = level >= 1
        self._buckets[site] = (level - 1 if is_allowed else level, current_time)
        return is_allowed
