"""The transport against real TLS servers that answer whatever they like."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.client.fleet.test_enrolment import certificate, pem
from tests.patience import PATIENCE_SECONDS

from wg_client.fleet import enrolment
from wg_core.connection import server_link, transport
from wg_core.errors import PeerError
from wg_core.site.home import ClientHome
from wg_core.wire import protocol

Answer = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + pem(certificate(key.public_key(), key)).encode())
    return path


@contextmanager
def serving(key_file: Path, answer: Answer) -> Iterator[str]:
    """A TLS server whose every connection reads one request's head and gets ``answer``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                try:
                    plain, _ = listener.accept()
                except TimeoutError:
                    continue
                plain.settimeout(PATIENCE_SECONDS)
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(1 << 16)
                        answer(connection)
                except OSError:
                    continue  # the client hung up, as it should

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def say(head: str, body: bytes = b"") -> Answer:
    data = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body
    return lambda connection: connection.sendall(data)


def stacked_gzip(layers: int = 3, megabytes: int = 64) -> bytes:
    data = bytes(megabytes << 20)
    for _ in range(layers):
        data = gzip.compress(data, mtime=0)
    return data


def test_stacked_gzip_is_refused_unread_before_and_after_enrolment(
    key_file: Path, tmp_path: Path
) -> None:
    bomb = stacked_gzip()
    assert len(bomb) < 1000
    answer = say("content-encoding: gzip, gzip, gzip\r\n", bomb)
    with serving(key_file, answer) as url:
        token = protocol.encode_join_token(
            protocol.JoinToken(
                site="a",
                enrol_url=url,
                ca_sha256="0" * 64,
                encoder="0" * 64,
                secret="0" * 64,
                expires=1 << 40,
            )
        )
        with pytest.raises(PeerError, match="compressed"):
            enrolment.enrol(ClientHome(tmp_path), token)
        with server_link.ServerLink(url, trusting()) as connection:
            for call in (connection.cosign, connection.announce_key_rotation):
                with pytest.raises(PeerError, match="compressed"):
                    call(b"")
            with pytest.raises(PeerError, match="compressed"):
                connection.renew_certificate("")


def test_a_body_ends_at_the_bound(key_file: Path) -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    with (
        serving(key_file, endless) as url,
        transport.open_client(url, trusting(), max_body_bytes=1 << 16) as client,
        pytest.raises(PeerError, match="too large"),
    ):
        server_link.get(client, "/")
    with (
        serving(key_file, say("", b"x" * (1 << 16))) as url,
        transport.open_client(url, trusting(), max_body_bytes=1 << 16) as client,
    ):
        assert server_link.get(client, "/") == (200, b"x" * (1 << 16))


def test_a_head_ends_at_a_bound(key_file: Path) -> None:
    def endless(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"x-word: " + b"x" * 1024 + b"\r\n")

    with (
        serving(key_file, endless) as url,
        transport.open_client(url, trusting()) as client,
        pytest.raises(PeerError, match="cannot be reached"),
    ):
        server_link.get(client, "/")


BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "part"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"", b"h"), (b"", b""), (BODY, b"x")],
)
def test_a_server_that_sends_a_little_now_and_then_keeps_nobody(
    key_file: Path, head: bytes, part: bytes
) -> None:
    """The other side never ends its answer, and no single wait is long."""
    done = threading.Event()

    def drip(connection: ssl.SSLSocket) -> None:
        connection.sendall(head)
        while not done.wait(0.01):
            connection.sendall(part)

    with serving(key_file, drip) as url:
        with (
            transport.open_client(url, trusting(), call_seconds=0.5) as client,
            pytest.raises(PeerError, match="in time"),
        ):
            server_link.get(client, "/")
        done.set()


def test_nothing_of_an_answer_is_followed_or_kept(key_file: Path) -> None:
    head = "location: https://127.0.0.1:1/\r\nset-cookie: a=b\r\n"
    with (
        serving(key_file, say(head, b"moved")) as url,
        transport.open_client(url, trusting()) as client,
    ):
        assert server_link.get(client, "/")[1] == b"moved"
        assert not client.cookies


def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with transport.open_client("https://127.0.0.1:2", ssl.create_default_context()) as client:
        assert not client._mounts and not client._trust_env
        assert not client.follow_redirects


def test_a_plain_url_is_not_spoken_to() -> None:
    with (
        transport.open_client("http://127.0.0.1:2", trusting()) as client,
        pytest.raises(httpx.UnsupportedProtocol),
    ):
        client.get("/")
