"""TLS listeners, each a uvicorn server on its own thread, with deadlines and connection limits.

This module accepts the connections itself, so that each is counted (``connection_limit``) and has a
deadline before the TLS handshake is done. A request that is answered before its body arrived
(because it is too large, or too frequent) ends its connection; the rest of its body is not read.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Coroutine
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from wg_core.errors import ConfigError, reraise_os_errors
from wg_server.fleet.connection_limit import CONNECTIONS_LIMIT, ConnectionLimit, PeerConnection
from wg_server.fleet.guards import PEER_CERTIFICATE_STATE_KEY
from wg_server.site import pki
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)

REQUEST_HEAD_SECONDS = 20.0  # Deadline of a TLS handshake, and of a request's complete head
DISCARDED_BODY_BYTES_LIMIT = 1 << 20
"""Largest announced body, in bytes, that is read to its end although its request is answered
already."""
TLS_BUFFER_BYTES = 32 << 10  # Read buffer of a connection: two TLS records
asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES  # default: 256 KiB per connection


class _HttpProtocol(H11Protocol):
    """HTTP protocol that passes on the client certificate, and drops clients without requests."""

    _deadline_timer: asyncio.TimerHandle | None = None
    _has_unread_body = False

    def __init__(self, server: _TlsServer, peer_connection: PeerConnection) -> None:
        super().__init__(
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        self._connection_limit = server.connection_limit
        self._visitor = peer_connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Record the peer of a new connection, and start the deadline of its first request."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is not None:  # issued by our authority, else the TLS handshake had failed
            self._connection_limit.assign_site(self._visitor, _common_name(tls.getpeercert()))
        self.app_state = {**self.app_state, PEER_CERTIFICATE_STATE_KEY: der}
        self._deadline_timer = self.loop.call_later(REQUEST_HEAD_SECONDS, self._abort_slow_client)

    def data_received(self, data: bytes) -> None:
        """Start the deadline at the first bytes of a request, and stop it at its complete head."""
        if self._has_unread_body:
            return
        before = self.cycle
        if self._deadline_timer is None and (before is None or before.response_complete):
            self._deadline_timer = self.loop.call_later(
                REQUEST_HEAD_SECONDS, self._abort_slow_client
            )
        super().data_received(data)
        if self._deadline_timer is not None and self.cycle is not before:
            self._deadline_timer.cancel()
            self._deadline_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting a connection that has ended."""
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._connection_limit.remove_connection(self._visitor)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Continue with the next request; close the connection if a large unread body remains."""
        # Time in which a peer may read an answer that was sent before its body ended
        linger_seconds = 1.0
        if (
            self.conn.their_state is h11.SEND_BODY
            and _announced_body_bytes(self.headers) > DISCARDED_BODY_BYTES_LIMIT
        ):
            self._has_unread_body = True
            self.transport.pause_reading()
            self.loop.call_later(linger_seconds, self.transport.abort)
            return
        super().on_response_complete()

    def _abort_slow_client(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()


class _TlsServer(uvicorn.Server):
    """Uvicorn server that accepts its connections under a ``ConnectionLimit``."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.connection_limit = ConnectionLimit(CONNECTIONS_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from bound sockets."""
        await self.lifespan.startup()
        self.servers = []
        for sock in sockets or []:
            sock.setblocking(False)
            self._start_task(self._accept_connections(sock))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, and finish open requests."""
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets)

    def _start_task(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept_connections(self, listening_socket: socket.socket) -> None:
        accept_again_seconds = 0.1
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listening_socket)
            except OSError as error:  # closed before it was accepted, or no descriptor is left
                log.warning("a connection cannot be accepted: %s", error.strerror)
                await asyncio.sleep(accept_again_seconds)
                continue
            visitor = self.connection_limit.add_connection(sock, address[0])
            welcome = self._start_task(self._set_up_connection(sock, visitor))
            welcome.add_done_callback(
                functools.partial(self._close_cancelled_connection, sock, visitor)
            )

    def _close_cancelled_connection(
        self, sock: socket.socket, connection: PeerConnection, set_up_task: asyncio.Task[None]
    ) -> None:
        """Close a connection whose TLS set-up the server's shutdown cancelled."""
        if set_up_task.cancelled():
            self.connection_limit.remove_connection(connection)
            sock.close()

    async def _set_up_connection(self, sock: socket.socket, connection: PeerConnection) -> None:
        tls: dict[str, Any] = {}
        if self.config.ssl is not None:
            tls = {"ssl": self.config.ssl, "ssl_handshake_timeout": REQUEST_HEAD_SECONDS}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _HttpProtocol(self, connection), sock, **tls
            )
        except OSError as error:  # no TLS, a certificate of another authority, or a timeout
            log.debug("a connection from %s ended before a request: %s", connection.peer_key, error)
            self.connection_limit.remove_connection(connection)
            sock.close()


class Listener:
    """Uvicorn server on its own thread."""

    def __init__(
        self, name: str, app: ASGIApp, host: str, port: int, tls_context: ssl.SSLContext | None
    ) -> None:
        keep_alive_seconds = 75
        self._name = name
        self._host, self._port = host, port
        options: dict[str, Any] = {}
        if tls_context is not None:
            options["ssl_context_factory"] = lambda config, default: tls_context
        self._server = _TlsServer(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=_HttpProtocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=keep_alive_seconds,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=32 << 10,
                **options,
            )
        )
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(
            target=lambda: self._server.run(self._sockets), name=f"wg-{name}", daemon=True
        )

    def start(self) -> None:
        """Start the server, and return when its port is open.

        Raises:
            ConfigError: The address cannot be bound.
        """
        address = f"{self._host}:{self._port}"
        with reraise_os_errors(ConfigError, f"{self._name} listener: {address} cannot be bound"):
            self._sockets = _open_sockets(self._host, self._port)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise ConfigError(f"{self._name} listener: {address}: does not start")
            time.sleep(0.01)
        log.info("%s listener on %s", self._name, address)

    def use_certificates(self, tls_context: ssl.SSLContext) -> None:
        """Use other certificates for new connections."""
        self._server.config.ssl = tls_context

    def stop_accepting(self) -> None:
        """Stop accepting new connections, without waiting; ``stop`` waits."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Finish open requests, and close the listener."""
        self.stop_accepting()
        self._thread.join(10)


def _open_sockets(host: str, port: int, *, backlog: int = 1024) -> list[socket.socket]:
    """Open a listening socket for each address of ``host``."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in sorted({(info[0], info[4][:2]) for info in addresses}):
            sockets.append(socket.create_server(address, family=family, backlog=backlog))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _announced_body_bytes(headers: list[tuple[bytes, bytes]]) -> float:
    """Return the body length that the headers announce; infinity if they announce none."""
    length = dict(headers).get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) <= 18 else float("inf")


def _common_name(certificate: Any) -> str:
    """Return the common name of a certificate parsed by ``ssl``, which is a site's name."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[0] if names else ""


def server_tls_context(home: ServerHome, *, requires_client_certificates: bool) -> ssl.SSLContext:
    """Return the server's TLS 1.3 context; client certificates may be required.

    Raises:
        ConfigError: A certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # no resumption: each connection shows its certificate
    try:
        context.load_cert_chain(home.tls_cert, home.tls_key)
        if requires_client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            for root in pki.root_certificate_files(home):
                context.load_verify_locations(cafile=root)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{home.tls_cert}: cannot be used: {error}") from error
    return context
