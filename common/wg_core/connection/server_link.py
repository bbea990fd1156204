"""The plant's HTTPS link to its server, with a pinned CA and a client certificate.

Nothing is taken from the environment (``trust_env=False``): no proxy, certificate store or netrc.
Redirects are not followed. Messages say what to do, and name a wrong clock as such.
"""

import email.utils
import ssl
import time
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx

from wg_core.connection import transport
from wg_core.errors import ConfigError, PeerError
from wg_core.ledger import witness
from wg_core.site.home import ClientHome
from wg_core.wire import protocol

_WITNESS_REPLY_STATUSES = (HTTPStatus.OK, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)


class ServerLink:
    """HTTPS connection of an enrolled site to the port at which its server serves plants."""

    def __init__(self, base_url: str, context: ssl.SSLContext) -> None:
        self._client = transport.open_client(
            base_url, context, call_seconds=transport.TRANSFER_LIMIT_SECONDS
        )

    @classmethod
    def open(cls, home: ClientHome, fleet_url: str) -> Self:
        """Open a link to the server with the home's client certificate and pinned CA."""
        return cls(fleet_url, client_tls_context(home))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the server."""
        self._client.close()

    def cosign(self, request: bytes) -> bytes:
        """Ask the server to cosign a checkpoint (C2SP ``add-checkpoint``); return its signatures.

        Raises:
            PeerError: The server cannot be reached, or answers neither 200, 409 nor 422.
            WitnessRefused: The server answers 409 (with the size it saw last) or 422 (bad proof).
        """
        return witness.read_cosignature_lines(
            *self._request("witness", protocol.WITNESS_PATH, request, *_WITNESS_REPLY_STATUSES)
        )

    def announce_key_rotation(self, rotation: bytes) -> bytes:
        """Send the ledger's new key (encoded ``KeyRotation``); return the server's cosignature.

        Raises:
            PeerError, WitnessRefused: The same conditions as for ``cosign``.
        """
        return witness.read_cosignature_lines(
            *self._request("rotation", protocol.ROTATE_PATH, rotation, *_WITNESS_REPLY_STATUSES)
        )

    def renew_certificate(self, csr_pem: str) -> bytes:
        """Exchange a certificate request for a new TLS client certificate (PEM).

        Raises:
            PeerError: The server cannot be reached or refuses.
        """
        body = csr_pem.encode("ascii")
        return self._request("renewal", protocol.RENEW_PATH, body, HTTPStatus.OK)[1]

    def report_pinned_keys(self, encoded_pins: bytes) -> bytes:
        """Send the plant's ``ServerKeyPins``; return the server's ``ServerTrust``, both encoded.

        Raises:
            PeerError: The server cannot be reached or refuses.
        """
        return self._request("trust", protocol.TRUST_PATH, encoded_pins, HTTPStatus.OK)[1]

    def _request(
        self, request_name: str, path: str, body: bytes, *accepted_statuses: int
    ) -> tuple[int, bytes]:
        """Send a POST; return status and body, or raise ``PeerError`` for an unaccepted status."""
        status, answer = post(self._client, path, body)
        if status not in accepted_statuses:
            words = answer[:200].decode("utf-8", "replace").strip() or "(no text)"
            raise PeerError(f"{request_name}: the server answered {status}: {words}")
        return status, answer


def post(client: httpx.Client, path: str, body: bytes) -> tuple[int, bytes]:
    """Send one POST request and return status and body of the bounded reply.

    Raises:
        PeerError: The server cannot be reached, or the reply is too large.
    """
    return _send_request(client, "POST", path, body, {"content-type": "application/octet-stream"})


def get(client: httpx.Client, path: str) -> tuple[int, bytes]:
    """Send one GET request and return status and body of the bounded reply.

    Raises:
        PeerError: The server cannot be reached, or the reply is too large.
    """
    return _send_request(client, "GET", path, None, {})


def client_tls_context(home: ClientHome) -> ssl.SSLContext:
    """Return a TLS 1.3 context with the pinned CA and this site's client certificate.

    Raises:
        ConfigError: A certificate or key is missing or damaged.
    """
    context = pinned_tls_context(home.ca_certificate)
    try:
        context.load_cert_chain(home.certificate, home.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{home.certificate}: the client certificate cannot be used: {error}"
        ) from error
    return context


def pinned_tls_context(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS 1.3 context that trusts one CA certificate only.

    Raises:
        ConfigError: The certificate is missing or damaged.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca_file}: the CA certificate cannot be used: {error}") from error
    return context


def describe_connection_error(error: Exception) -> str:
    """Return a sentence for people about an error of a connection to the server."""
    text = str(error)
    if "CERTIFICATE_REQUIRED" in text or "BAD_CERTIFICATE" in text or "UNKNOWN_CA" in text:
        return "the server refused this site's certificate"
    if "certificate has expired" in text or "CERTIFICATE_EXPIRED" in text:
        return "a certificate has expired (or this machine's clock is wrong)"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the server's certificate does not verify against the pinned CA: {text}"
    if "[SYS]" in text or "EOF occurred" in text or "WRONG_VERSION_NUMBER" in text:
        return (
            "the connection was closed while TLS began: something else than this server's enrolment"
            " or fleet port answers there, or the port is the other of the two"
        )
    if isinstance(error, httpx.TimeoutException):
        return "the server did not answer in time"
    return f"cannot be reached: {text or type(error).__name__}"


def clock_skew_seconds(response: httpx.Response, current_time: float | None = None) -> float | None:
    """Return the seconds by which this clock is ahead of the server's; None if unknown."""
    text = response.headers.get("date")
    if not text:
        return None
    try:
        then = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # the date is malformed
        return None
    return (time.time() if current_time is None else current_time) - then


def describe_error_status(response: httpx.Response, current_time: float | None = None) -> str:
    """Return a sentence for people that explains an HTTP error status of the server.

    A 401 is explained by this machine's clock, if it differs from the server's by over 5 seconds.
    """
    clock_tolerance_seconds = 5.0
    if response.headers.get(protocol.REASON_HEADER) == protocol.REVOKED_REASON:
        return (
            "the operator revoked this site, and the server takes nothing from it. Ask the operator"
            " for a join token (wg-server enroll), and run 'wg-client init --replace': ledger and"
            " budget stay as they are"
        )
    skew = clock_skew_seconds(response, current_time)
    if response.status_code == 401 and skew is not None and abs(skew) > clock_tolerance_seconds:
        direction = "ahead of" if skew > 0 else "behind"
        return f"this machine's clock is {abs(skew):.0f} s {direction} the server's"
    return {
        401: "the server does not know this node (yet)",
        404: "the server has no such thing for this site",
        403: "the server refused this site: the certificate or node key is not the one that it"
        " enrolled with last; or its campaign has ended",
        413: "the server refused a message as too large",
        426: "the server needs another version",
        429: "the server asks for fewer requests",
    }.get(response.status_code, f"the server answered {response.status_code}")


def _send_request(
    client: httpx.Client, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    """Return status and body of the answer to one HTTP request; raise ``PeerError`` on failure."""
    try:
        with client.stream(method, path, content=body, headers=headers) as response:
            if protocol.REASON_HEADER in response.headers:
                raise PeerError(describe_error_status(response))
            return response.status_code, b"".join(response.iter_bytes())
    except httpx.HTTPError as error:
        raise PeerError(f"{client.base_url.host}: {describe_connection_error(error)}") from error
