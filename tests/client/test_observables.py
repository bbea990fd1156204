"""What goes around an answer: the same for every plant and every record."""

from __future__ import annotations

import ssl

import httpcore
import httpx
import pytest

from wg_client import link
from wg_common.errors import PeerError

CONSTANT = {
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "keep-alive",
    "host": "server.example",
    "user-agent": f"python-httpx/{httpx.__version__}",
}
BY_SIZE = {"content-length", "range"}
"""Length of what is sent, and which bytes of a package are wanted."""
ALLOWED = {*CONSTANT, *BY_SIZE, "content-type"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Headers of requests that would have left, caught below everything that adds some."""
    requests: list[dict[str, str]] = []

    def catch(pool: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        found = {name.decode().lower(): value.decode() for name, value in request.headers}
        assert len(found) == len(request.headers)
        requests.append(found)
        return httpcore.Response(200, content=b"ok")

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", catch)
    return requests


def test_every_request_has_the_same_headers_whatever_it_is_about(
    seen: list[dict[str, str]],
) -> None:
    with link.Link("https://server.example", ssl.create_default_context()) as connection:
        for body in (b"", b"x", b"y" * 10_000):
            connection.witness(body)
        connection.rotate(b"notice")
        connection.renew("csr")
        with pytest.raises(PeerError):
            list(connection.package("0" * 32, 0, 10))
    assert len(seen) == 6
    for headers in seen:
        assert headers.keys() <= ALLOWED
        assert {name: headers[name] for name in CONSTANT} == CONSTANT
        assert headers.get("content-type", "application/octet-stream") == "application/octet-stream"
    assert [headers.pop("content-length") for headers in seen[:3]] == ["0", "1", "10000"]
    assert seen[0] == seen[1] == seen[2]
