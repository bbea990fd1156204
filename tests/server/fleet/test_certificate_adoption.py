from __future__ import annotations

import datetime
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.server.rows import add_sites

from wg_server.fleet import certificate_adoption
from wg_server.site import pki
from wg_server.site.backup_records import RestoreGap
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

HOUR = 3600


@pytest.fixture
def certificate(home: ServerHome, store: ServerStore) -> x509.Certificate:
    """Of plant-a, made now, and not in the store."""
    add_sites(store, ["plant-a"], enrolled=1.0)
    return issue(home, "plant-a")


def issue(home: ServerHome, site: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    return pki.issue_client_certificate(home, site, pem, datetime.timedelta(hours=24))


def adopted(
    store: ServerStore, made: x509.Certificate, since: float, until: float, current_time: float
) -> bool:
    recovery = RestoreGap(since=int(since), until=int(until))
    der = made.public_bytes(serialization.Encoding.DER)
    return certificate_adoption.adopt_certificate(store, recovery, der, current_time) is not None


def test_a_certificate_of_the_forgotten_time_is_let_in_from_then_on(
    store: ServerStore, certificate: x509.Certificate
) -> None:
    current_time = time.time()
    window = (current_time - HOUR, current_time + HOUR)
    assert store.authenticate_site(pki.certificate_sha256(certificate), current_time) is None
    assert adopted(store, certificate, *window, current_time)
    assert adopted(
        store, certificate, *window, current_time
    )  # and again: two requests came at once
    assert store.authenticate_site(pki.certificate_sha256(certificate), current_time) is not None


@pytest.mark.parametrize(
    ("since", "until", "current_time"),
    [
        (1, 2, 0),  # it is older than the backup
        (-2, -1, 0),  # made after the restore: the store knows those
        (-1, 1, 25),  # it has expired
    ],
    ids=["older", "younger", "expired"],
)
def test_no_other_certificate_is(
    store: ServerStore, certificate: x509.Certificate, since: int, until: int, current_time: int
) -> None:
    made = certificate.not_valid_before_utc.timestamp()
    times = (made + hours * HOUR for hours in (since, until, current_time))
    assert not adopted(store, certificate, *times)


def test_a_revocation_that_is_known_holds(
    home: ServerHome, store: ServerStore, certificate: x509.Certificate
) -> None:
    current_time = time.time()
    window = (current_time - HOUR, current_time + HOUR, current_time)
    assert not adopted(store, issue(home, "plant-b"), *window)  # not enrolled
    assert adopted(store, certificate, *window)
    store.revoke_site("plant-a", current_time)
    assert not adopted(store, certificate, *window)
    assert not adopted(store, issue(home, "plant-a"), *window)
