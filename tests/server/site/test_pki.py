from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wg_core.errors import ConfigError, DecodeError
from wg_server.site import pki
from wg_server.site.home import ServerHome

HOUR = datetime.timedelta(hours=1)


def request(name: str = "root", key: ec.EllipticCurvePrivateKey | None = None) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


def test_private_keys_are_readable_by_their_owner_only(home: ServerHome) -> None:
    for path in (home.ca_key, home.tls_key, home.signing_key, home.witness_key, home.admin_token):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_client_certificate_is_of_our_authority_and_no_other(
    home: ServerHome, tmp_path: Path
) -> None:
    certificate = pki.issue_client_certificate(home, "plant-a", request(), HOUR)
    certificate.verify_directly_issued_by(pki.load_certificate(home.ca_cert))
    other = ServerHome(tmp_path / "other")
    pki.create_authority(other, home.read_config())  # the same name, another key
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(pki.load_certificate(other.ca_cert))
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == HOUR + pki.CLOCK_SLACK


def test_a_request_names_nothing_the_token_does(home: ServerHome) -> None:
    certificate = pki.issue_client_certificate(home, "plant-a", request(name="plant-b"), HOUR)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "plant-a"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca  # the request asked to be an authority
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize("kind", ["garbage", "ed25519", "p521", "tampered", "huge"])
def test_a_wrong_request_is_refused(home: ServerHome, kind: str) -> None:
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
        text = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(key, None)
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )
    elif kind == "p521":
        text = request(key=ec.generate_private_key(ec.SECP521R1()))
    elif kind == "tampered":
        first, second = request().splitlines(), request().splitlines()
        text = "\n".join(first[:-3] + second[-3:])
    else:
        text = "x" * (1 << 20) if kind == "huge" else "garbage"
    with pytest.raises(DecodeError, match="certificate request"):
        pki.issue_client_certificate(home, "plant-a", text, HOUR)


def test_a_second_authority_is_refused(home: ServerHome) -> None:
    with pytest.raises(ConfigError, match="already"):
        pki.create_authority(home, home.read_config())


def test_a_renewed_server_certificate_is_of_the_same_authority(home: ServerHome) -> None:
    before = pki.load_certificate(home.tls_cert)
    pki.renew_server_certificate(home, home.read_config())
    after = pki.load_certificate(home.tls_cert)
    assert after != before
    after.verify_directly_issued_by(pki.load_certificate(home.ca_cert))


def test_no_client_certificate_outlives_the_authority(home: ServerHome) -> None:
    certificate = pki.issue_client_certificate(
        home, "plant-a", request(), datetime.timedelta(days=36500)
    )
    ca = pki.load_certificate(home.ca_cert)
    assert certificate.not_valid_after_utc == ca.not_valid_after_utc


@pytest.mark.parametrize(
    "text",
    ["", "x", request(), "-----BEGIN PUBLIC KEY-----\nAA==\n"],
    ids=["empty", "a letter", "a request", "a torn key"],
)
def test_a_wrong_node_key_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="node key"):
        pki.canonical_node_key(text)
