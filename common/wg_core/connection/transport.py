"""HTTPS transport of the client, through which every connection of the plant goes.

A server's influence is bounded before it has authenticated: a compressed answer is refused (793
bytes of stacked gzip expand to eight gigabytes), the body is counted while it is read, the header
is at most 100 KiB (h11), and the whole call has a deadline, so that a server cannot hold a plant by
sending single bytes. Proxies, certificate stores and netrc of the environment, redirects and
cookies are ignored.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import httpcore
import httpx

IDLE_TIMEOUT_SECONDS = 30.0  # Longest wait for the next bytes
CALL_LIMIT_SECONDS = 120.0  # Longest small call, from connecting to the answer's last byte
TRANSFER_LIMIT_SECONDS = 900.0  # Longest call that carries a file or a range of a file
REPLY_BYTES_LIMIT = 16 << 20  # Largest answer to a small call, in bytes


def open_client(
    base_url: str,
    context: ssl.SSLContext,
    *,
    max_body_bytes: int = REPLY_BYTES_LIMIT,
    call_seconds: float = CALL_LIMIT_SECONDS,
) -> httpx.Client:
    """Open an HTTPS client that bounds size and duration of every answer.

    Args:
        base_url: ``https://host:port``; empty if each call gives its own.
        context: TLS context: trusted CAs and own certificate.
        call_seconds: Longest duration of a call, from connecting to the last byte of the answer.
    """
    bounded = BoundedTransport(context, max_body_bytes=max_body_bytes, call_seconds=call_seconds)
    return httpx.Client(
        base_url=base_url,
        transport=bounded,
        trust_env=False,
        follow_redirects=False,
        timeout=IDLE_TIMEOUT_SECONDS,
    )


@dataclass(frozen=True, slots=True)
class _CallWithDeadline:
    """HTTP request in progress, and the monotonic time by which its answer must be complete."""

    request: httpx.Request
    deadline: float


class BoundedTransport(httpx.BaseTransport):
    """HTTP/1.1 over TLS, with bounds on the body of each answer and the time of each call."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        max_body_bytes: int,
        call_seconds: float,
        backend: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._limit = max_body_bytes
        self._seconds = call_seconds
        self._now = threading.local()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=8,
            network_backend=_DeadlineBackend(backend or httpcore.SyncBackend(), self._seconds_left),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one HTTP request, and return the answer with a body of bounded size.

        Raises:
            httpx.HTTPError: The server cannot be reached, or its answer is not accepted.
        """
        request.headers["accept-encoding"] = "identity"
        call = _CallWithDeadline(request, time.monotonic() + self._seconds)
        url = request.url
        if url.scheme != "https" or not isinstance(request.stream, httpx.SyncByteStream):
            raise httpx.UnsupportedProtocol(f"{url.scheme}: only https is spoken", request=request)
        with self._apply_deadline(call):
            answer = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
            stream = answer.stream
            if not isinstance(stream, Iterable):
                raise httpx.ReadError("not a synchronous stream", request=request)
        response = httpx.Response(
            answer.status,
            headers=[pair for pair in answer.headers if pair[0].lower() != b"set-cookie"],
            stream=_BoundedBody(stream, self._limit, lambda: self._apply_deadline(call), request),
        )
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            response.close()
            raise httpx.ReadError("the server compressed an answer", request=request)
        return response

    def close(self) -> None:
        """Close all HTTP connections of the transport."""
        self._pool.close()

    def _seconds_left(self) -> float:
        """Return the seconds left for this thread's current HTTP call."""
        call: _CallWithDeadline | None = getattr(self._now, "call", None)
        return self._seconds if call is None else call.deadline - time.monotonic()

    @contextmanager
    def _apply_deadline(self, call: _CallWithDeadline) -> Iterator[None]:
        """Apply an HTTP call's deadline to all reads and writes of this thread in the context."""
        before = getattr(self._now, "call", None)
        self._now.call = call
        try:
            yield
        except _HTTPCORE_ERRORS as error:
            _raise_httpx_error(error, call.request)
        finally:
            self._now.call = before


class _BoundedBody(httpx.SyncByteStream):
    """Body of an HTTP answer, read as a stream up to a size limit."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        max_bytes: int,
        apply_deadline: Callable[[], Any],
        request: httpx.Request,
    ) -> None:
        self._inner = chunks
        self._bytes_left = max_bytes
        self._apply_deadline = apply_deadline
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._inner)
        while True:
            with self._apply_deadline():
                part = next(parts, None)
            if part is None:
                return
            self._bytes_left -= len(part)
            if self._bytes_left < 0:
                raise httpx.ReadError("the server's answer is too large", request=self._request)
            yield part

    def close(self) -> None:
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


class _DeadlineBackend(httpcore.NetworkBackend):
    """Network backend whose connections, reads and writes end at the HTTP call's deadline."""

    def __init__(self, inner: httpcore.NetworkBackend, seconds_left: Callable[[], float]) -> None:
        self._inner = inner
        self._seconds_left = seconds_left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _shorter_timeout(timeout, self._seconds_left())
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _DeadlineStream(stream, self._seconds_left)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(min(seconds, max(self._seconds_left(), 0.0)))


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, seconds_left: Callable[[], float]) -> None:
        self._inner = inner
        self._seconds_left = seconds_left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _shorter_timeout(timeout, self._seconds_left()))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _shorter_timeout(timeout, self._seconds_left()))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _shorter_timeout(timeout, self._seconds_left())
        stream = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _DeadlineStream(stream, self._seconds_left)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _shorter_timeout(timeout: float | None, seconds_left: float) -> float:
    if seconds_left <= 0:
        raise httpcore.ReadTimeout("the call took too long as a whole")
    return seconds_left if timeout is None else min(timeout, seconds_left)


_HTTPCORE_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


def _raise_httpx_error(error: Exception, request: httpx.Request) -> NoReturn:
    """Raise the httpx error that corresponds to an httpcore error."""
    if isinstance(error, httpcore.TimeoutException):
        raise httpx.ReadTimeout(str(error), request=request) from error
    if isinstance(error, httpcore.ConnectError):
        raise httpx.ConnectError(str(error), request=request) from error
    raise httpx.ReadError(str(error), request=request) from error
