from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from starlette.types import ASGIApp
from tests.server.enrolling import request_of

from wg_core.errors import ConfigError, DecodeError, RefusedError
from wg_core.ledger.budget_ledger import Ledger
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, protocol, signing
from wg_core.wire.protocol import EnrolmentReply, EnrolmentRequest
from wg_server.fleet import enrolment as enrolments
from wg_server.fleet.enrolment import EnrolmentService, create_join_token
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


@pytest.fixture
def request_(home: ServerHome, store: ServerStore, tmp_path: Path) -> EnrolmentRequest:
    token = create_join_token(home, store, "plant-a", 60.0)
    plant = ClientHome(tmp_path / "plant")
    public = identity.create_identity(plant, "plant-a")
    key = signing.load(plant.ledger_key)
    Ledger.create(plant.ledger, origin=public.ledger_origin, key=key, site="plant-a").close()
    return request_of(plant, token.secret)


@pytest.fixture
def enrolment(home: ServerHome, store: ServerStore) -> EnrolmentService:
    return EnrolmentService(home, home.read_config(), store)


def test_a_token_names_the_site_the_address_the_authority_and_the_encoder(
    home: ServerHome, store: ServerStore
) -> None:
    token = create_join_token(home, store, "plant-a", 60.0)
    assert protocol.decode_join_token(protocol.encode_join_token(token)) == token
    assert token.enrol_url == home.read_config().enrol_url
    assert token.encoder == home.encoder_sha256()
    assert token.ca_sha256 == pki.certificate_sha256(pki.load_certificate(home.ca_cert))
    assert 0 < token.expires - time.time() <= 60
    assert len(token.secret) == 64


def test_no_token_before_there_is_an_encoder(home: ServerHome, store: ServerStore) -> None:
    home.encoder_file.unlink()
    with pytest.raises(ConfigError, match="zoo build"):
        create_join_token(home, store, "plant-a", 60.0)


@pytest.mark.parametrize("name", ["", "Plant", "../plant", "a" * 64, "plant_a"])
def test_a_site_name_is_a_dns_label(home: ServerHome, store: ServerStore, name: str) -> None:
    with pytest.raises(DecodeError, match="site name"):
        create_join_token(home, store, name, 60.0)


def test_a_good_request_is_enrolled(
    home: ServerHome, store: ServerStore, enrolment: EnrolmentService, request_: EnrolmentRequest
) -> None:
    reply = enrolment.enrol_site(canonical.encode(request_))
    certificate = x509.load_pem_x509_certificate(reply.certificate_pem.encode())
    found = store.authenticate_site(pki.certificate_sha256(certificate), time.time())
    assert found is not None
    assert (found.name, found.state) == ("plant-a", "enrolled")
    assert (found.signing_key, found.ledger_key) == (request_.signing_key, request_.ledger_key)
    assert found.ledger_origin == request_.ledger_origin
    assert base64.b64decode(reply.encoder) == home.encoder_file.read_bytes()
    assert reply.fleet_url == home.read_config().fleet_url


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site", "../x"),
        ("csr_pem", "garbage"),
        ("node_public_key", "garbage"),
        ("signing_key", "zz"),
        ("signing_key", "00"),
        ("ledger_key", "not hex"),
        ("ledger_origin", "with space"),
        ("ledger_origin", "x" * 300),
        ("genesis", "{}"),
        ("genesis", ""),
        ("checkpoint", "note"),
    ],
)
def test_a_wrong_field_is_refused_and_spends_no_token(
    enrolment: EnrolmentService, request_: EnrolmentRequest, field: str, value: str
) -> None:
    wrong = replace(request_, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(DecodeError):
        enrolment.enrol_site(canonical.encode(wrong))
    enrolment.enrol_site(canonical.encode(request_))


def test_the_listener_answers_two_routes_and_no_other(
    home: ServerHome,
    enrolment: EnrolmentService,
    request_: EnrolmentRequest,
    client_of: Callable[[ASGIApp], httpx.Client],
) -> None:
    client = client_of(enrolment.enrolment_app())
    assert client.get(enrolments.CA_PATH).content == home.ca_cert.read_bytes()
    body = canonical.encode(request_)
    out_of_family = canonical.encode(replace(request_, secret="0" * 64))
    assert client.post(protocol.ENROL_PATH, content=b"{}").status_code == 400
    assert client.post(protocol.ENROL_PATH, content=out_of_family).status_code == 403
    done = client.post(protocol.ENROL_PATH, content=body)
    assert done.status_code == 200
    canonical.decode(EnrolmentReply, done.content, input_name="reply")
    assert client.post(protocol.ENROL_PATH, content=body).status_code == 200  # as if not heard
    assert client.post(protocol.ENROL_PATH, content=b"x" * (1 << 20)).status_code == 413
    for path in ("/", "/docs", "/metrics", protocol.WITNESS_PATH, protocol.RENEW_PATH):
        assert client.post(path, content=b"").status_code == 404
    codes = {client.post(protocol.ENROL_PATH, content=b"{}").status_code for _ in range(70)}
    assert codes == {400, 429}  # guessing is slow


def test_a_renewed_certificate_is_good_and_for_the_same_site(
    store: ServerStore, enrolment: EnrolmentService, request_: EnrolmentRequest
) -> None:
    enrolment.enrol_site(canonical.encode(request_))
    pem = enrolment.renew_certificate(store.require_site("plant-a"), request_.csr_pem)
    fresh = pki.certificate_sha256(x509.load_pem_x509_certificate(pem.encode()))
    found = store.authenticate_site(fresh, time.time())
    assert found is not None and found.name == "plant-a"
    with pytest.raises(DecodeError):
        enrolment.renew_certificate(store.require_site("plant-a"), "garbage")


def test_a_used_token_is_good_for_the_same_key_alone(
    store: ServerStore, enrolment: EnrolmentService, request_: EnrolmentRequest, tmp_path: Path
) -> None:
    """A request for a certificate is signed anew each time: what counts is its key."""
    plant = ClientHome(tmp_path / "plant")
    enrolment.enrol_site(canonical.encode(request_))
    anew = replace(request_, csr_pem=identity.certificate_request(plant, "plant-a"))
    assert anew != request_
    pem = enrolment.enrol_site(canonical.encode(anew)).certificate_pem
    fresh = pki.certificate_sha256(x509.load_pem_x509_certificate(pem.encode()))
    assert store.authenticate_site(fresh, time.time()) is not None
    plant.tls_key.unlink()
    thief = replace(request_, csr_pem=identity.create_identity(plant, "plant-a").csr_pem)
    with pytest.raises(RefusedError, match="used already, with other keys"):
        enrolment.enrol_site(canonical.encode(thief))


def test_a_client_of_another_version_is_told_so(
    enrolment: EnrolmentService, request_: EnrolmentRequest
) -> None:
    document = {**canonical.to_builtins(request_), "version": 2}
    del document["genesis"], document["checkpoint"]
    with pytest.raises(DecodeError, match=r"version 2, .* reads 1: update the older program"):
        enrolment.enrol_site(canonical.encode(document))


def test_an_unknown_secret_is_refused(
    enrolment: EnrolmentService, request_: EnrolmentRequest
) -> None:
    with pytest.raises(RefusedError, match="join token"):
        enrolment.enrol_site(canonical.encode(replace(request_, secret="guess")))


def test_a_large_request_is_taken_from_who_holds_a_token_and_from_nobody_else(
    enrolment: EnrolmentService,
    request_: EnrolmentRequest,
    client_of: Callable[[ASGIApp], httpx.Client],
) -> None:
    client = client_of(enrolment.enrolment_app())
    body = canonical.encode(replace(request_, replaced="A" * protocol.ENROLMENT_BYTES_LIMIT))
    path = protocol.ENROL_PATH
    assert client.post(path, content=body).status_code == 413
    for secret, status in (("00" * 32, 413), (request_.secret, 400)):
        headers = {"authorization": f"Bearer {secret}"}
        assert client.post(path, content=body, headers=headers).status_code == status
    answer = client.post(path, content=b"x" * (enrolments.REQUEST_BYTES_LIMIT + 1), headers=headers)
    assert answer.status_code == 413
