"""TLS listeners on threads of this process: uvicorn with our certificate and our limits."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from wg_common.errors import ConfigError
from wg_server.fleet.guards import PEER_STATE
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)

START_SECONDS = 30.0
HEADER_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 75
CONNECTIONS = 1000


class _Protocol(H11Protocol):
    """Hands the client's certificate to the application, and drops clients that never ask."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection is there: note whose, and give it a while to send a request."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state = {**self.app_state, PEER_STATE: der}
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Bytes are there: the first of a request start the clock, a complete head stops it."""
        before = self.cycle
        if self._deadline is None and (before is None or before.response_complete):
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_slow)
        super().data_received(data)
        if self._deadline is not None and self.cycle is not before:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class Listener:
    """One uvicorn server on a thread."""

    def __init__(
        self, name: str, app: ASGIApp, host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._name = name
        self._where = f"{host}:{port}"
        options: dict[str, Any] = {}
        if tls is not None:
            options["ssl_context_factory"] = lambda config, default: tls
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=_Protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=5,
                limit_concurrency=CONNECTIONS,
                h11_max_incomplete_event_size=32 << 10,
                **options,
            )
        )
        self._thread = threading.Thread(target=self._run, name=f"wg-{name}", daemon=True)
        self._failed = False

    def start(self) -> None:
        """Start, and return when the port is open.

        Raises:
            ConfigError: The address cannot be bound.
        """
        self._thread.start()
        limit = time.monotonic() + START_SECONDS
        while not self._server.started:
            if self._failed or not self._thread.is_alive() or time.monotonic() > limit:
                raise ConfigError(f"{self._name} listener: {self._where} cannot be bound")
            time.sleep(0.01)
        log.info("%s listener on %s", self._name, self._where)

    def drain(self) -> None:
        """Take no new connection from soon on; ``stop`` waits for it."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Finish the requests at hand, and close."""
        self.drain()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._server.run()
        except (OSError, SystemExit):  # uvicorn exits when it cannot bind
            self._failed = True


def server_context(home: ServerHome, *, client_certificates: bool) -> ssl.SSLContext:
    """TLS 1.3 with the server's certificate; clients must show one of ours, or need none.

    Raises:
        ConfigError: A certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: each connection shows its certificate
    try:
        context.load_cert_chain(home.tls_cert, home.tls_key)
        if client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=home.ca_cert)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{home.tls_cert}: cannot be used: {error}") from error
    return context
