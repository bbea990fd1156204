"""The plant's side of enrolment; for the server's see ``tests/server/fleet/test_enrolment.py``."""

from __future__ import annotations

import base64
import datetime
import ssl
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wg_client.fleet import enrolment
from wg_core.connection import transport
from wg_core.errors import ConfigError, DecodeError, PeerError, VerificationError, WgError
from wg_core.fleet import certificate as certificates
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, key_files, protocol, signing
from wg_core.wire.protocol import EnrolmentReply, JoinToken


def certificate(
    public: ec.EllipticCurvePublicKey, key: ec.EllipticCurvePrivateKey, hours: float = 3.0
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    current_time = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(current_time)
        .not_valid_after(current_time + datetime.timedelta(hours=hours))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def pem(found: x509.Certificate) -> str:
    return found.public_bytes(serialization.Encoding.PEM).decode()


class Server:
    """Answers as an enrolment listener does, with whatever the test puts in its reply."""

    def __init__(self, home: ClientHome) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = certificate(self.key.public_key(), self.key)
        identity.create_identity(home, "plant-a")
        raw = signing.public_bytes(signing.generate_key()).hex()
        own = key_files.load_ec_key(home.tls_key).public_key()
        self.reply = EnrolmentReply(
            certificate_pem=pem(certificate(own, self.key)),
            ca_pem=pem(self.ca),
            fleet_url="https://127.0.0.1:1",
            server_name="central",
            server_key=raw,
            witness_name="central/witness",
            witness_key=raw,
            encoder=base64.b64encode(b"encoder").decode(),
            cosignature="",
        )
        self.promised = canonical.sha256_hex(b"encoder")
        self.status = 200
        self.ca_answer = ""
        self.asked: list[httpx.Request] = []

    @property
    def token(self) -> str:
        return protocol.encode_join_token(
            JoinToken(
                site="plant-a",
                enrol_url="https://127.0.0.1:1",
                ca_sha256=self.ca.fingerprint(hashes.SHA256()).hex(),
                encoder=self.promised,
                secret="ab" * 32,
                expires=int(time.time()) + 60,
            )
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.method == "GET":
            return httpx.Response(200, content=self.ca_answer or pem(self.ca))
        return httpx.Response(self.status, content=canonical.encode(self.reply))

    def open_client(
        self,
        base_url: str,
        context: ssl.SSLContext,
        *,
        max_body_bytes: int = transport.REPLY_BYTES_LIMIT,
        call_seconds: float = transport.CALL_LIMIT_SECONDS,
    ) -> httpx.Client:
        trusted = context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3

        def answer(request: httpx.Request) -> httpx.Response:
            assert trusted or request.method == "GET", "a secret went to an unknown server"
            return self.answer(request)

        return httpx.Client(base_url=base_url, transport=httpx.MockTransport(answer))


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    return ClientHome(tmp_path)


@pytest.fixture
def server(home: ClientHome, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server(home)
    monkeypatch.setattr(transport, "open_client", found.open_client)
    return found


def test_what_is_sent_is_the_public_half_and_the_secret(home: ClientHome, server: Server) -> None:
    done = enrolment.enrol(home, f"  {server.token}\n")
    _, request = server.asked
    assert b"PRIVATE" not in request.content
    assert done.site_name == "plant-a" and done.encoder_package == b"encoder"
    assert home.encoder.read_bytes() == b"encoder"
    assert home.certificate.read_text() == server.reply.certificate_pem
    assert home.ca_certificate.read_text() == server.reply.ca_pem


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("ca_pem", "garbage", DecodeError),
        ("certificate_pem", "garbage", DecodeError),
        ("server_key", "zz", DecodeError),
        ("witness_key", "00", DecodeError),
        ("encoder", "***", DecodeError),
    ],
)
def test_a_wrong_reply_leaves_no_certificate(
    home: ClientHome, server: Server, field: str, value: str, error: type[WgError]
) -> None:
    server.reply = replace(server.reply, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(error):
        enrolment.enrol(home, server.token)
    assert not home.certificate.exists() and not home.ca_certificate.exists()


def test_a_certificate_for_another_key_or_authority_is_refused(
    home: ClientHome, server: Server
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    good = server.reply
    server.reply = replace(good, certificate_pem=pem(certificate(other.public_key(), server.key)))
    with pytest.raises(VerificationError, match="another key"):
        enrolment.enrol(home, server.token)
    server.reply = replace(good, ca_pem=pem(certificate(other.public_key(), other)))
    with pytest.raises(VerificationError, match="another CA"):
        enrolment.enrol(home, server.token)


def test_a_second_authority_beside_the_named_one_is_refused_before_a_secret_is_sent(
    home: ClientHome, server: Server
) -> None:
    """Its hash is in no token, but a TLS library trusts every certificate of a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    other = pem(certificate(key.public_key(), key))
    for answer in (pem(server.ca) + other, other + pem(server.ca), f"x\n{pem(server.ca)}", "\xff"):
        server.ca_answer = answer
        with pytest.raises(DecodeError, match="PEM certificate"):
            enrolment.enrol(home, server.token)
    assert [request.method for request in server.asked] == ["GET"] * 4


def test_only_the_certificate_that_was_checked_is_kept(home: ClientHome, server: Server) -> None:
    good = server.reply.certificate_pem
    server.reply = replace(server.reply, certificate_pem=f"\u00e9\n{good}{pem(server.ca)}")
    enrolment.enrol(home, server.token)
    assert home.certificate.read_text() == good


def test_a_refusal_is_an_error_of_the_peer(home: ClientHome, server: Server) -> None:
    server.status = 403
    with pytest.raises(PeerError, match="403"):
        enrolment.enrol(home, server.token)


def test_a_damaged_token_is_refused_before_anything_is_sent(
    home: ClientHome, server: Server
) -> None:
    for text in ("", "token", server.token[:-4], server.token + "A"):
        with pytest.raises(DecodeError):
            enrolment.enrol(home, text)
    assert server.asked == []


def test_a_plant_may_be_off_for_two_thirds_of_a_certificates_life(
    home: ClientHome, server: Server
) -> None:
    with pytest.raises(ConfigError):
        certificates.is_renewal_due(home, time.time())
    enrolment.enrol(home, server.token)  # good for three hours
    assert not certificates.is_renewal_due(home, time.time() + 0.9 * 3600)
    assert certificates.is_renewal_due(home, time.time() + 1.1 * 3600)
