"""What a connection of a listener holds."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol

from wg_server.fleet.listener import TLS_BUFFER_BYTES


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
