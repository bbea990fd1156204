"""Enrolment: exchange of a one-time join token for a certificate, with keys made on site.

The token holds the SHA-256 of the server's CA certificate. The certificate itself is fetched
first, unauthenticated, and used only if its hash matches; the token's secret is sent over a second
connection that trusts only this CA. So nobody in the middle sees the secret, and only the token's
server can answer. The token also holds the SHA-256 of the encoder: the server cannot deliver
another one (``encoder_pin``).

The plant's ledger exists before enrolment: the request contains its first entry, so the server
knows how the log began. If the ledger replaces another one, the request contains the whole old
ledger, which holds no released numbers: the server checks that all of its spend was inherited.

Keys and ledger are on disk before the request is sent. A plant that was interrupted at any moment
repeats the request with the same keys, and the server answers again until the token expires.
"""

import base64
import binascii
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from wg_core import atomic
from wg_core.connection import server_link, transport
from wg_core.errors import ConfigError, DecodeError, PeerError, VerificationError
from wg_core.fleet import certificate
from wg_core.ledger import database, entries
from wg_core.ledger import export as exports
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Genesis, Predecessor
from wg_core.site import budget_sharing, identity
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, protocol, signing
from wg_core.wire.protocol import EnrolmentReply, EnrolmentRequest, JoinToken

CA_URL_PATH = "/wg/v1/ca"
CA_BYTES_LIMIT = 64 << 10  # Largest answer to the request for the CA certificate, in bytes


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Result of enrolling a plant with a server.

    Attributes:
        site_name: The site's name.
        ledger_origin: Origin of the plant's ledger.
        reply: The server's answer; certificate, CA and encoder are already in the home.
        encoder_package: The public encoder package, as bytes.
    """

    site_name: str
    ledger_origin: str
    reply: EnrolmentReply
    encoder_package: bytes


def enrol(
    home: ClientHome,
    token_text: str,
    *,
    ledger_path: Path | None = None,
    predecessor: Predecessor | None = None,
    replaced_ledger_path: Path | None = None,
    confirm_encoder: Callable[[bytes], None] | None = None,
) -> Enrolment:
    """Enrol this home with a join token, and store certificate, CA and encoder in it.

    Afterwards the server is registered in the ledger as a witness.

    Args:
        home: The home, in which missing keys and a missing ledger are made.
        ledger_path: File of the plant's ledger; None: that of the home.
        predecessor: The ledger that a new one replaces after a compromise.
        replaced_ledger_path: File of the replaced ledger; None: the copy kept beside the plant's
            ledger.
        confirm_encoder: Called with the encoder package before anything received is written; raises
            if the owner refuses the encoder.

    Raises:
        DecodeError: The token or the reply is damaged.
        ConfigError: The token has expired, or the ledger is shared with a server of the same name.
        VerificationError: The server or the encoder differs from the one that the token names.
        PeerError: The server cannot be reached or refuses.
    """
    token = _decode_unexpired_token(token_text)
    ca_pem = _fetch_ca_certificate(token)
    public = identity.create_identity(home, token.site)
    with open_or_create_ledger(home, ledger_path, token.site, predecessor) as opened_ledger:
        checkpoint = opened_ledger.first_entry_checkpoint()
        replaced_path = replaced_ledger_path or ledger_path or home.ledger
        request = EnrolmentRequest(
            site=token.site,
            secret=token.secret,
            csr_pem=public.csr_pem,
            node_public_key=public.node_public_key,
            signing_key=public.signing_key,
            ledger_origin=opened_ledger.origin,
            ledger_key=public.ledger_key,
            genesis=opened_ledger.entry_bytes(0).decode(),
            checkpoint=checkpoint.decode(),
            replaced=_export_replaced_ledger(opened_ledger, replaced_path),
        )
        reply = _send_request(token, ca_pem, request)
        client_certificate, encoder = _read_certificate_and_encoder(reply, token, home)
        if confirm_encoder is not None:
            confirm_encoder(encoder)
        budget_sharing.check_second_witness(home, reply.witness_name, reply.witness_key)
        opened_ledger.enrol_witness(reply.witness_name, bytes.fromhex(reply.witness_key))
        if reply.cosignature:
            opened_ledger.add_cosignature(
                checkpoint + reply.cosignature.encode(), reply.witness_name
            )
    atomic.write_bytes(home.ca_certificate, ca_pem)
    atomic.write_bytes(home.certificate, client_certificate)
    atomic.write_bytes(home.encoder, encoder)
    return Enrolment(token.site, request.ledger_origin, reply, encoder)


def replaced_ledger_file_name(origin: str) -> str:
    """Return the file name under which a replaced ledger of this origin is kept for auditors."""
    return f"ledger-{origin.rpartition('/')[2]}.sqlite"


def _export_replaced_ledger(ledger: Ledger, ledger_path: Path) -> str:
    """Return the replaced ledger as an export in base64; empty if no ledger is replaced.

    Args:
        ledger_path: File of the replaced ledger, or of a ledger beside which it is kept.

    Raises:
        ConfigError: The export is larger than a server accepts.
        VerificationError: The replaced ledger is not valid.
    """
    genesis = entries.decode(ledger.entry_bytes(0))
    if not isinstance(genesis, Genesis) or genesis.predecessor is None:
        return ""
    for path in (
        ledger_path.with_name(replaced_ledger_file_name(genesis.predecessor.origin)),
        ledger_path,
    ):
        if path.is_file():
            with Ledger.open(path) as replaced_ledger:
                if replaced_ledger.origin == genesis.predecessor.origin:
                    return _export_ledger_base64(path)
    return ""


def _export_ledger_base64(ledger_path: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="wg-replaced-") as folder:
        path = Path(folder) / "replaced.wgl"
        exports.write_export(ledger_path, path)
        size = path.stat().st_size
        if size > protocol.REPLACED_LOG_BYTES_LIMIT:
            raise ConfigError(
                f"{ledger_path}: {size} bytes as an export, a server takes at most"
                f" {protocol.REPLACED_LOG_BYTES_LIMIT} of a ledger that is replaced"
            )
        data = atomic.read_bytes(path, limit=protocol.REPLACED_LOG_BYTES_LIMIT)
    return base64.b64encode(data).decode("ascii")


def _decode_unexpired_token(text: str) -> JoinToken:
    """Decode a join token; raise ``DecodeError``, or ``ConfigError`` if it has expired."""
    token = protocol.decode_join_token(text.strip())
    if token.expires <= time.time():
        raise ConfigError(
            "join token: expired; ask the operator for a new one ('wg-server enroll', with"
            " --replace if this site was enrolled)"
        )
    return token


def open_or_create_ledger(
    home: ClientHome, ledger_path: Path | None, site: str, predecessor: Predecessor | None
) -> Ledger:
    """Open the ledger to enrol: a given file, that of the home, or a new one in the home.

    Raises:
        VerificationError: The home's ledger has entries and is of another site or key.
    """
    key = signing.load(home.ledger_key)
    if ledger_path is not None:
        return Ledger.open(ledger_path, key)
    origin = identity.ledger_origin(site, signing.public_bytes(key))
    if database.holds_ledger(home.ledger):
        home_ledger = Ledger.open(home.ledger, key)
        if home_ledger.origin == origin:
            return home_ledger
        size, present_origin = home_ledger.size, home_ledger.origin
        home_ledger.close()
        if size > 1:
            raise VerificationError(
                f"{home.ledger}: origin {present_origin!r}, expected {origin!r}"
            )
        for path in home.root.glob("ledger.sqlite*"):  # left by a try for another site
            path.unlink()
    return Ledger.create(home.ledger, origin=origin, key=key, site=site, predecessor=predecessor)


def _fetch_ca_certificate(token: JoinToken) -> bytes:
    """Fetch the CA certificate over an untrusted connection, and check its hash."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only a public certificate is read, checked by its hash
    with transport.open_client(token.enrol_url, context, max_body_bytes=CA_BYTES_LIMIT) as client:
        status, body = server_link.get(client, CA_URL_PATH)
    if status != 200:
        raise PeerError(f"enrolment: the server answered {status} to a request for its CA")
    der = _single_certificate_der(body)
    digest = canonical.sha256_hex(der)
    if digest != token.ca_sha256:
        raise VerificationError(
            f"enrolment: {token.enrol_url} presents CA {digest[:16]}…, the join token names"
            f" {token.ca_sha256[:16]}…: this is not the server that made the token"
        )
    pem = ssl.DER_cert_to_PEM_cert(der).encode("ascii")
    certificate.parse_certificate(pem)
    return pem


def _single_certificate_der(pem: bytes) -> bytes:
    """Return the DER bytes of a PEM text that holds exactly one certificate.

    A second certificate would be trusted like the first, but only the first has a hash in the
    token: an attacker in the middle could add one.
    """
    try:
        text = pem.decode("ascii").strip()
        if text.count("-----BEGIN") != 1 or not text.startswith("-----BEGIN CERTIFICATE-----"):
            raise DecodeError("enrolment: the server's CA is not one PEM certificate")
        return ssl.PEM_cert_to_DER_cert(text)
    except ValueError as error:  # includes binascii.Error and UnicodeDecodeError
        raise DecodeError("enrolment: the server's CA is not a PEM certificate") from error


def _send_request(token: JoinToken, ca_pem: bytes, request: EnrolmentRequest) -> EnrolmentReply:
    with tempfile.TemporaryDirectory(prefix="wg-enrol-") as folder:
        path = Path(folder) / "ca.pem"
        path.write_bytes(ca_pem)
        context = server_link.pinned_tls_context(path)
    with transport.open_client(
        token.enrol_url,
        context,
        max_body_bytes=protocol.ENROLMENT_REPLY_BYTES_LIMIT,
        call_seconds=transport.TRANSFER_LIMIT_SECONDS,
    ) as client:
        # With the secret a request may be larger than without.
        client.headers["authorization"] = f"Bearer {token.secret}"
        status, body = server_link.post(client, protocol.ENROL_PATH, canonical.encode(request))
    if status != 200:
        words = body[:200].decode("utf-8", "replace").strip()
        raise PeerError(f"enrolment: the server refused ({status}): {words}")
    return canonical.decode(
        EnrolmentReply,
        body,
        input_name="enrolment reply",
        max_bytes=protocol.ENROLMENT_REPLY_BYTES_LIMIT,
    )


def _read_certificate_and_encoder(
    reply: EnrolmentReply, token: JoinToken, home: ClientHome
) -> tuple[bytes, bytes]:
    """Check a server's enrolment reply against the join token, and read its two files.

    Returns:
        Client certificate (PEM, nothing else), and encoder package.

    Raises:
        DecodeError: A part of the reply is malformed.
        VerificationError: CA or encoder is not the one that the token names, or the certificate is
            not for the plant's key.
    """
    ca = certificate.parse_certificate(reply.ca_pem.encode("ascii", "replace"))
    if ca.fingerprint(hashes.SHA256()).hex() != token.ca_sha256:
        raise VerificationError("enrolment reply: another CA than the join token names")
    pem = certificate.check_client_certificate(
        reply.certificate_pem.encode("ascii", "replace"), home
    )
    for field in ("server_key", "witness_key"):
        signing.public_from_hex(getattr(reply, field), input_name=f"enrolment reply: {field}")
    try:
        encoder = base64.b64decode(reply.encoder, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError("enrolment reply: encoder: not base64") from error
    digest = canonical.sha256_hex(encoder)
    if digest != token.encoder:
        raise VerificationError(
            f"enrolment reply: encoder {digest}, the join token names {token.encoder}: this is not"
            " the encoder that the operator promised; ask for a new token"
        )
    return pem, encoder
