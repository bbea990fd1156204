"""What a connection of a listener holds."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from contextlib import ExitStack

import uvicorn
from uvicorn.lifespan.off import LifespanOff

from wg_server.fleet.listener import TLS_BUFFER_BYTES, _TlsServer


def test_a_connection_holds_a_small_buffer() -> None:
    async def size() -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        loop = asyncio.get_running_loop()
        protocol = SSLProtocol(
            loop, asyncio.Protocol(), context, loop.create_future(), server_side=True
        )
        size = len(protocol._ssl_buffer)  # type: ignore[attr-defined]
        protocol.connection_lost(None)
        return size

    assert asyncio.run(size()) == TLS_BUFFER_BYTES


def test_connections_that_the_server_s_end_meets_are_closed() -> None:
    """Before TLS, and before their task has begun: nothing else would close them."""

    async def left() -> int:
        config = uvicorn.Config("app", lifespan="off", log_config=None, ws="none")
        config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server = _TlsServer(config)
        server.lifespan = LifespanOff(config)
        with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
            await server.startup([listening])
            for _ in range(8):
                stack.enter_context(socket.create_connection(listening.getsockname()))
            while len(server.connection_limit) < 8:
                await asyncio.sleep(0)
            await server.shutdown()
            await asyncio.sleep(0)
            return len(server.connection_limit)

    assert asyncio.run(left()) == 0
    gc.collect()  # a socket that was left open warns
