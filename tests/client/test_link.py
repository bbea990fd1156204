from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from wg_client import link
from wg_client.home import ClientHome
from wg_common.errors import ConfigError


def response(status: int, date: str = "Tue, 24 Nov 2026 12:00:00 GMT") -> httpx.Response:
    return httpx.Response(status, headers={"date": date})


NOON = 1795521600.0


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (600.0, "clock is 600 s ahead of the server's"),
        (-400.0, "clock is 400 s behind the server's"),
        (1.0, "does not know this node"),
    ],
)
def test_a_401_with_a_wrong_clock_is_called_a_wrong_clock(ahead: float, words: str) -> None:
    assert words in link.explain_status(response(401), NOON + ahead)


def test_a_server_without_a_date_is_not_blamed_on_the_clock() -> None:
    assert link.clock_skew(httpx.Response(401)) is None
    assert link.clock_skew(response(401, "yesterday")) is None
    assert "does not know" in link.explain_status(httpx.Response(401), 0.0)


def test_every_status_has_words() -> None:
    assert "revoked" in link.explain_status(response(403), NOON)
    assert "418" in link.explain_status(response(418), NOON)


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        link.client_context(home)


def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    client = link.open_client("https://127.0.0.1:2", ssl.create_default_context())
    assert not client._mounts and not client._trust_env
    assert not client.follow_redirects
    client.close()


class Parts(httpx.SyncByteStream):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            yield b"x" * 1024


def capped(answer: httpx.Response, limit: int) -> httpx.Client:
    transport = link.CappedTransport(ssl.create_default_context(), limit)
    transport._inner = httpx.MockTransport(lambda request: answer)  # type: ignore[assignment]
    return httpx.Client(transport=transport)


def test_an_answer_ends_at_the_bound() -> None:
    small = httpx.Response(200, stream=Parts(8))
    with capped(small, 8 * 1024) as client:
        assert len(client.get("https://x/").content) == 8 * 1024
    large = httpx.Response(200, stream=Parts(1 << 30))
    with capped(large, 8 * 1024) as client, pytest.raises(httpx.ReadError, match="too large"):
        client.get("https://x/")


def test_a_compressed_answer_is_refused() -> None:
    bomb = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Parts(1))
    with capped(bomb, 1 << 20) as client, pytest.raises(httpx.ReadError, match="compressed"):
        client.get("https://x/")
