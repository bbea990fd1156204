"""What goes around an answer: the same for every plant and every record."""

from __future__ import annotations

import ssl

import httpx
import pytest

from wg_client import link
from wg_common.errors import PeerError

CONSTANT = {
    "accept": "*/*",
    "connection": "keep-alive",
    "host": "server.example",
    "user-agent": f"python-httpx/{httpx.__version__}",
}
BY_SIZE = {"content-length", "range"}
"""Length of what is sent, and which bytes of a package are wanted."""
ALLOWED = {*CONSTANT, *BY_SIZE, "accept-encoding", "content-type", "transfer-encoding"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """Requests that would have left, caught below everything that adds headers."""
    requests: list[httpx.Request] = []

    def catch(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=b"ok", request=request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", catch)
    return requests


def test_every_request_has_the_same_headers_whatever_it_is_about(
    seen: list[httpx.Request],
) -> None:
    with link.Link("https://server.example", ssl.create_default_context()) as connection:
        for body in (b"", b"x", b"y" * 10_000):
            connection.witness(body)
        connection.rotate(b"notice")
        connection.renew("csr")
        with pytest.raises(PeerError):
            list(connection.package("0" * 32, 0, 10))
    assert len(seen) == 6
    for request in seen:
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert headers.keys() <= ALLOWED
        assert {name: headers[name] for name in CONSTANT} == CONSTANT
        assert headers.get("content-type", "application/octet-stream") == "application/octet-stream"
    witnessed = [dict(request.headers) for request in seen[:3]]
    assert [headers.pop("content-length") for headers in witnessed] == ["0", "1", "10000"]
    assert witnessed[0] == witnessed[1] == witnessed[2]
