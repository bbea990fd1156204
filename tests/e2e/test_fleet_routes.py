"""Every route of every listener, found by walking the applications, against every wrong identity.

With no client certificate, one of another authority or an expired one, TLS ends the connection.
With a certificate that is not, or no longer, an enrolled site's, every answer is 403. With a site's
good certificate and another site's node key, or none, every Flower route answers 401 or 403. The
one thing that a stranger may do is to enrol, and that needs a token.
"""

from __future__ import annotations

import base64
import datetime
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from google.protobuf.message import Message  # type: ignore[import-untyped]
from starlette.routing import Mount, Route
from tests.e2e.fleet_support import Plant, enrol_plant, make_home, running
from tests.e2e.test_fleet_attacks import activate, node_client

from wg_client.fleet import enrolment
from wg_core.connection import server_link, transport
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import key_files, protocol
from wg_server.console.request_handling import CONSOLE_PATH
from wg_server.fleet import guards
from wg_server.fleet.adapter import HANDLERS_BY_PATH
from wg_server.fleet.enrolment import CA_PATH, create_join_token
from wg_server.fleet.listener import Listener
from wg_server.operation import serve as serving
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

LISTENING: dict[str, Any] = {}
FLOWER = "/v1/fleet/"
NOT_THERE = [("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("POST", "/v1/control/x")]


@dataclass(frozen=True)
class Found:
    """One route: method, path with its parameters filled in, and Flower's request type, if any."""

    method: str
    path: str
    request: type[Message] | None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerHome]:
    """A running server, whose listeners' applications are noted as they are started."""
    LISTENING.clear()
    monkeypatch.setattr(guards, "REFUSAL_DELAY_SECONDS", 0.0)  # hundreds of refusals

    class Noted(Listener):
        def __init__(self, name: str, app: Any, *rest: Any) -> None:
            LISTENING[name] = app
            super().__init__(name, app, *rest)

    monkeypatch.setattr(serving, "Listener", Noted)
    home = make_home(tmp_path / "server")
    with running(home):
        assert set(LISTENING) == {"fleet", "enrolment", "admin"}
        yield home


def fleet_routes() -> list[Found]:
    """Every route that the fleet listener has."""
    found = list(walk(LISTENING["fleet"]))
    for path in HANDLERS_BY_PATH:
        found.append(Found("POST", path, PROTOBUF_REQUEST_TYPES[("POST", path)]))
    paths = {each.path for each in found}
    assert {protocol.WITNESS_PATH, protocol.RENEW_PATH, FLOWER + "get-fab"} <= paths
    assert sum(each.request is not None for each in found) >= 12
    return found


def walk(owner: Any, under: str = "") -> Iterator[Found]:
    for route in owner.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walk(inner, under)
            continue
        if isinstance(route, Mount):
            yield from walk(route, under + route.path)
            continue
        assert isinstance(route, Route), f"{route}: a kind of route that this test does not know"
        path = under + route.path.replace("{", "").replace("}", "")
        for method in sorted(route.methods or ()):
            yield Found(method, path, None)


def call(
    client: httpx.Client, each: Found, content: bytes = b"", headers: dict[str, str] | None = None
) -> int:
    """Status of one request; the body says its length even when it is empty."""
    sent = {"content-type": "application/protobuf", **(headers or {})}
    return client.request(each.method, each.path, content=content, headers=sent).status_code


def sweep(home: ServerHome, context: ssl.SSLContext, routes: list[Found]) -> dict[str, int]:
    """Status of every route, all over one connection."""
    with transport.open_client(home.read_config().fleet_url, context) as client:
        return {f"{each.method} {each.path}": call(client, each) for each in routes}


def with_certificate(home: ServerHome, pem: str, key: Path, folder: Path) -> ssl.SSLContext:
    path = folder / "presented.pem"
    path.write_text(pem)
    context = server_link.pinned_tls_context(home.ca_cert)
    context.load_cert_chain(path, key)
    return context


Presents = Callable[[ServerHome, Plant, Path], ssl.SSLContext]


def nothing(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    return server_link.pinned_tls_context(
        home.ca_cert
    )  # the CA certificate, and no certificate of one's own


def of_another_authority(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    other = make_home(folder / "other")
    csr = identity.certificate_request(plant.home, "plant-a")
    pem = pki.certificate_to_pem(
        pki.issue_client_certificate(other, "plant-a", csr, datetime.timedelta(hours=1))
    )
    return with_certificate(home, pem, plant.home.tls_key, folder)


def of_itself(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    key = key_files.load_ec_key(plant.home.tls_key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plant-a")])
    current_time = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(pki.load_certificate(home.ca_cert).subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(current_time - datetime.timedelta(hours=1))
        .not_valid_after(current_time + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    return with_certificate(home, pki.certificate_to_pem(certificate), plant.home.tls_key, folder)


def expired(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    csr = identity.certificate_request(plant.home, "plant-a")
    certificate = pki.issue_client_certificate(
        home, "plant-a", csr, datetime.timedelta(seconds=-30)
    )
    with ServerStore.open(home) as store:
        store.add_certificate("plant-a", pki.certificate_sha256(certificate), time.time() + 3600)
    return with_certificate(home, pki.certificate_to_pem(certificate), plant.home.tls_key, folder)


@pytest.mark.parametrize("presents", [nothing, of_another_authority, of_itself, expired])
def test_without_a_certificate_of_ours_no_route_answers(
    server: ServerHome, plant: Plant, tmp_path: Path, presents: Presents
) -> None:
    context = presents(server, plant, tmp_path)
    for each in fleet_routes():
        with pytest.raises(httpx.TransportError):  # TLS ends it: there is no HTTP answer at all
            sweep(server, context, [each])


def never_enrolled(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    # Signed by our CA, and yet not in the store: a CA key used behind the server's back.
    csr = identity.certificate_request(plant.home, "plant-a")
    pem = pki.certificate_to_pem(
        pki.issue_client_certificate(home, "plant-a", csr, datetime.timedelta(hours=1))
    )
    return with_certificate(home, pem, plant.home.tls_key, folder)


def revoked(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    with ServerStore.open(home) as store:
        store.revoke_site("plant-a", time.time())
    return server_link.client_tls_context(plant.home)


def replaced(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    # The site enrolled again with new keys: what it had before is worth nothing.
    before = with_certificate(home, plant.home.certificate.read_text(), plant.home.tls_key, folder)
    with ServerStore.open(home) as store:
        token = create_join_token(home, store, "plant-a", 600.0, may_replace=True)
    enrolment.enrol(ClientHome(folder / "anew"), protocol.encode_join_token(token))
    return before


def the_listeners_own(home: ServerHome, plant: Plant, folder: Path) -> ssl.SSLContext:
    return with_certificate(home, home.tls_cert.read_text(), home.tls_key, folder)


@pytest.mark.parametrize("presents", [never_enrolled, revoked, replaced])
def test_without_an_enrolled_sites_certificate_every_route_answers_403(
    server: ServerHome, plant: Plant, tmp_path: Path, presents: Presents
) -> None:
    context = presents(server, plant, tmp_path)
    routes = [*fleet_routes(), *(Found(method, path, None) for method, path in NOT_THERE)]
    assert set(sweep(server, context, routes).values()) == {403}


def test_the_listeners_own_certificate_opens_no_route(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    context = the_listeners_own(server, plant, tmp_path)
    try:
        answers = sweep(server, context, fleet_routes())
    except httpx.TransportError:
        return  # TLS refused a server's certificate from a client
    assert set(answers.values()) == {403}


def test_revocation_holds_from_the_next_request_on_an_open_connection(
    server: ServerHome, plant: Plant
) -> None:
    routes = fleet_routes()
    witness = next(each for each in routes if each.path == protocol.WITNESS_PATH)
    with transport.open_client(
        server.read_config().fleet_url, server_link.client_tls_context(plant.home)
    ) as client:
        assert call(client, witness, b"x") == 400
        with ServerStore.open(server) as store:
            store.revoke_site("plant-a", time.time())
        assert {call(client, each) for each in routes} == {403}


def as_node(kind: type[Message], node_id: int, public_key: bytes) -> Message:
    """A request in a node's name, whatever field its type has for that."""
    fields = {field.name for field in kind.DESCRIPTOR.fields}
    if "node" in fields:
        return kind(node=Node(node_id=node_id))
    return kind(node_id=node_id) if "node_id" in fields else kind(public_key=public_key)


def signed(
    home: ServerHome, context: ssl.SSLContext, key_file: Path, each: Found, message: Message
) -> int:
    """Status of one Flower request, signed by a node key as Flower's own client does."""
    key = key_files.load_ec_key(key_file)
    assert each.request is not None
    with ProtobufClient(
        home.read_config().fleet_url,
        verify=context,
        interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
    ) as client:
        try:
            client._unary_unary(
                path=each.path, rpc_method="/test/Walk", request=message, response_type=each.request
            )
        except httpx.HTTPStatusError as error:
            return error.response.status_code
    return 200


def test_another_sites_certificate_speaks_for_no_other_node(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    thief = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    with node_client(plant) as client:
        victim = activate(plant, client)
    with node_client(thief) as client:
        activate(thief, client)
    victims = public_key_to_bytes(key_files.load_ec_key(plant.home.node_key).public_key())
    context = server_link.client_tls_context(thief.home)
    for each in fleet_routes():
        if each.request is None:
            continue
        message = as_node(each.request, victim.node_id, victims)
        # With the victim's node key: the certificate is another's. With its own: the name is.
        assert signed(server, context, plant.home.node_key, each, message) == 403, each.path
        assert signed(server, context, thief.home.node_key, each, message) in (401, 403), each.path


def test_a_certificate_without_the_node_key_opens_no_flower_route(
    server: ServerHome, plant: Plant
) -> None:
    with node_client(plant) as client:
        node = activate(plant, client)
    public = public_key_to_bytes(key_files.load_ec_key(plant.home.node_key).public_key())
    claim = {FLEET_HTTP_PUBLIC_KEY_HEADER: base64.b64encode(public).decode()}
    context = server_link.client_tls_context(plant.home)
    with transport.open_client(server.read_config().fleet_url, context) as client:
        for each in fleet_routes():
            if each.request is not None:
                content = as_node(each.request, node.node_id, public).SerializeToString()
                assert call(client, each, content) == 401, each.path
                assert call(client, each, content, claim) == 401, each.path


def test_renewal_gives_a_site_its_own_name_whatever_it_asks_for(
    server: ServerHome, plant: Plant
) -> None:
    with server_link.ServerLink.open(plant.home, server.read_config().fleet_url) as connection:
        pem = connection.renew_certificate(identity.certificate_request(plant.home, "plant-b"))
    subject = x509.load_pem_x509_certificate(pem).subject
    assert [name.value for name in subject] == ["plant-a"]


def test_the_enrolment_listener_has_two_routes_and_lets_nobody_in_without_a_token(
    server: ServerHome, plant: Plant
) -> None:
    config = server.read_config()
    assert {each.path for each in walk(LISTENING["enrolment"])} == {CA_PATH, protocol.ENROL_PATH}
    with transport.open_client(
        config.enrol_url, server_link.pinned_tls_context(server.ca_cert)
    ) as client:
        assert client.get(CA_PATH).content == server.ca_cert.read_bytes()
        assert client.post(protocol.ENROL_PATH, content=b"{}").status_code == 400
        for each in fleet_routes():
            assert call(client, each) == 404, each.path


PROBES = ("/healthz", "/livez", "/readyz")
CONSOLE = {
    "/console/login": (200, 403),
    "/console/sign-on": (404,),  # there is no provider
    "/console/signed-on": (403,),
    "/console/rest:path": (404,),
}
"""What a stranger gets where he is not sent to the login."""


def test_the_admin_listener_tells_a_stranger_that_it_works_and_no_more(
    server: ServerHome, plant: Plant
) -> None:
    config = server.read_config()
    with httpx.Client(
        base_url=f"http://{config.admin_host}:{config.admin_port}", trust_env=False
    ) as client:
        for each in walk(LISTENING["admin"]):
            if each.path == "/" or each.path.startswith(f"{CONSOLE_PATH}/"):
                assert call(client, each) in CONSOLE.get(each.path, (303,)), each.path
                continue
            expected = 200 if each.path in PROBES else 401
            assert call(client, each) == expected, each.path
            assert call(client, each, headers={"authorization": "Bearer x"}) == expected
        assert client.get("/healthz").text == client.get("/livez").text == "ok\n"
        said = client.get("/readyz").text
        assert said == "worker: ok\ndatabase: ok\ndisk: ok\ncertificate: ok\ngenerator: ok\n"
        for each in fleet_routes():
            assert call(client, each) == 404, each.path
