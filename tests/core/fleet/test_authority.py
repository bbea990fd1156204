from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wg_core.errors import DecodeError, VerificationError, WgError
from wg_core.fleet import authority
from wg_server.site import pki

NOW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
"""After whatever a busy machine makes: a certificate is good from the moment it is made."""


def name(text: str = "hq CA") -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Authority:
    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate

    @classmethod
    def make(cls, text: str = "hq CA") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, pki.sign_authority_certificate(name(text), key, name(text), key))

    def says(self, other: Authority, *, text: str = "hq CA", days: int = 9) -> x509.Certificate:
        until = NOW + datetime.timedelta(days=days)
        return pki.sign_authority_certificate(name(text), other.key, name(), self.key, expiry=until)


A, B, C, THIEF = (Authority.make() for _ in range(4))


def bundle(root: x509.Certificate, links: Sequence[x509.Certificate]) -> bytes:
    return "".join(map(pki.certificate_to_pem, [root, *links])).encode()


@pytest.mark.parametrize("turn", [1, -1])
def test_links_lead_from_any_earlier_root_to_the_one_of_today(turn: int) -> None:
    data = bundle(C.root, [B.says(C), A.says(B)][::turn])
    for pinned in (A, B, C):
        assert authority.newest_root(pinned.root, data, NOW) == C.root
    assert authority.newest_root(A.root, bundle(A.root, []), NOW) == A.root


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: bundle(THIEF.root, []), VerificationError),
        (lambda: bundle(THIEF.root, [THIEF.says(A), THIEF.says(THIEF)]), VerificationError),
        (lambda: bundle(C.root, [B.says(C)]), VerificationError),  # the first link is missing
        (lambda: bundle(B.root, [A.says(B, text="other CA")]), VerificationError),
        (lambda: bundle(A.says(B), [A.says(B)]), VerificationError),  # a link is no root
        (lambda: bundle(C.root, [A.says(B)] * 17), DecodeError),
        (lambda: b"", DecodeError),
        (lambda: b"\xff-----BEGIN CERTIFICATE-----", DecodeError),
    ],
)
def test_nobody_else_is_believed(make: Callable[[], bytes], error: type[WgError]) -> None:
    with pytest.raises(error):
        authority.newest_root(A.root, make(), NOW)


def test_a_link_has_an_end() -> None:
    data = bundle(B.root, [A.says(B, days=1)])
    assert authority.newest_root(A.root, data, NOW) == B.root
    with pytest.raises(VerificationError):
        authority.newest_root(A.root, data, NOW + datetime.timedelta(days=2))


def test_a_client_certificate_is_no_link() -> None:
    """Whoever has a certificate of the authority, a plant say, is no authority."""
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name())
        .issuer_name(name())
        .public_key(THIEF.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - datetime.timedelta(hours=1))
        .not_valid_after(NOW + datetime.timedelta(hours=1))
    )
    for extended in (
        leaf,
        leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
    ):
        link = extended.sign(A.key, hashes.SHA256())
        with pytest.raises(VerificationError, match="does not vouch"):
            authority.newest_root(A.root, bundle(THIEF.root, [link]), NOW)
