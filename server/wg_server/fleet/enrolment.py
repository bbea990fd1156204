"""Enrolment listener: two public routes, of which enrolment needs a join token.

``GET /wg/v1/ca`` returns the CA certificate, which the plant verifies by the hash in its token.
``POST /wg/v1/enrol`` uses the token to enrol keys that were generated at the plant. A plant that
lost the connection before the answer repeats the request: until the token expires, the same keys
get a certificate again.
"""

import base64
import logging
import secrets
import time
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from wg_core import typed_records
from wg_core.errors import DecodeError, RefusedError
from wg_core.ledger.witness import WitnessRefused
from wg_core.wire import canonical, protocol, signing
from wg_core.wire.protocol import EnrolmentReply, EnrolmentRequest, JoinToken
from wg_server.fleet import trust
from wg_server.fleet.guards import BodyLimit, StorageGuard
from wg_server.fleet.sliding_window_limit import SlidingWindowLimit, client_network
from wg_server.fleet.witness import LedgerWitness
from wg_server.site import pki
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store import ledger_succession
from wg_server.store.ledger_succession import LedgerBeginning
from wg_server.store.server_store import ServerStore, hash_secret
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

CA_PATH = "/wg/v1/ca"
ADDRESS_TRIES_PER_MINUTE = 60  # Enrolment requests per minute and address (IPv6: per /64)
TOKEN_TRIES_PER_MINUTE = 10
"""Enrolment requests per minute and token, from any address. The token's secret has 256 bits: this
limit bounds work, not guessing."""
COUNTED_KEYS_LIMIT = 4096  # Largest number of addresses, and of tokens, that are counted
REQUEST_BYTES_LIMIT = protocol.ENROLMENT_BYTES_LIMIT + protocol.REPLACED_LOG_BYTES_LIMIT * 4 // 3
"""Largest enrolment request in bytes, including a replaced ledger in base64."""
_SECONDS, _LOG_SECONDS = 20.0, 600.0  # Time limits of a request's body, without and with ledger
_PEM_MEDIA_TYPE = "application/x-pem-file"


def create_join_token(
    home: ServerHome,
    store: ServerStore,
    site: str,
    lifetime_seconds: float,
    *,
    may_replace: bool = False,
) -> JoinToken:
    """Create a one-time join token for a site; the store holds only its hash.

    Raises:
        DecodeError: The site's name is invalid.
        ConfigError: The site is enrolled and ``may_replace`` is False, or there is no encoder yet.
    """
    protocol.check_site_name(site)
    encoder = home.encoder_sha256()  # a missing encoder fails here, not when the plant enrols
    token = JoinToken(
        site=site,
        enrol_url=home.read_config().enrol_url,
        ca_sha256=pki.certificate_sha256(pki.load_certificate(home.ca_cert)),
        encoder=encoder,
        secret=secrets.token_hex(32),
        expires=int(time.time() + lifetime_seconds),
    )
    store.store_join_token(site, token.secret, token.expires, may_replace=may_replace)
    return token


class EnrolmentService:
    """Enrolment of sites, and renewal of their certificates."""

    def __init__(self, home: ServerHome, config: ServerConfig, store: ServerStore) -> None:
        self._home = home
        self._config = config
        self._store = store

    def enrol_site(self, request_data: bytes) -> EnrolmentReply:
        """Enrol a site from its request, and return the reply with certificate and encoder.

        Raises:
            DecodeError: A field is invalid.
            RefusedError: The token does not allow this enrolment, or the ledger contradicts known
                data.
        """
        request = canonical.decode(
            EnrolmentRequest,
            request_data,
            input_name="enrolment request",
            max_bytes=REQUEST_BYTES_LIMIT,
        )
        protocol.check_site_name(request.site)
        node_key = pki.canonical_node_key(request.node_public_key).decode("ascii")
        tls_key = pki.public_key_sha256(pki.read_certificate_request(request.csr_pem))
        for field in ("signing_key", "ledger_key"):
            signing.public_from_hex(
                getattr(request, field), input_name=f"enrolment request: {field}"
            )
        ledger, first_note = ledger_succession.read_first_state_and_checkpoint(request)
        current_time = time.time()
        witness = LedgerWitness.open(self._home, self._store)
        beginning = LedgerBeginning(
            ledger.last_leaf_hash.hex(),
            ledger.genesis.predecessor if ledger.genesis else None,
            ledger_succession.read_replaced_log(request, ledger),
            partial(witness.cosign_first_checkpoint, request, first_note, current_time),
        )

        def issue() -> tuple[str, float, str]:
            certificate = pki.issue_client_certificate(self._home, request.site, request.csr_pem)
            expires = certificate.not_valid_after_utc.timestamp()
            return pki.certificate_sha256(certificate), expires, pki.certificate_to_pem(certificate)

        try:
            with witness.store_evidence_on_fork(request.ledger_origin, current_time):
                certificate_pem, cosignature = self._store.enrol_site(
                    request, node_key, tls_key, current_time, issue, beginning
                )
        except WitnessRefused as error:
            raise RefusedError(f"enrolment: ledger: {error}") from error
        self._store.store_pins(
            request.site, canonical.encode(trust.current_pins(self._home)).decode()
        )
        log.info("enrolled %s", request.site)
        return self._enrolment_reply(certificate_pem, witness, cosignature)

    def _enrolment_reply(
        self, certificate_pem: str, witness: LedgerWitness, cosignature: bytes
    ) -> EnrolmentReply:
        server_key = signing.public_bytes(signing.load(self._home.signing_key))
        return EnrolmentReply(
            certificate_pem=certificate_pem,
            ca_pem=pki.certificate_to_pem(pki.load_certificate(self._home.ca_cert)),
            fleet_url=self._config.fleet_url,
            server_name=self._config.name,
            server_key=server_key.hex(),
            witness_name=witness.name,
            witness_key=signing.public_bytes(witness.public_key).hex(),
            encoder=base64.b64encode(self._home.read_encoder()).decode("ascii"),
            cosignature=cosignature.decode(),
        )

    def renew_certificate(self, site: StoredSite, csr_pem: str) -> str:
        """Issue a new certificate (PEM) for an enrolled site.

        Raises:
            DecodeError: The certificate request is invalid.
        """
        certificate = pki.issue_client_certificate(self._home, site.name, csr_pem)
        expires = certificate.not_valid_after_utc.timestamp()
        self._store.add_certificate(site.name, pki.certificate_sha256(certificate), expires)
        log.info("renewed the certificate of %s", site.name)
        return pki.certificate_to_pem(certificate)

    def enrolment_app(self) -> Starlette:
        """Return the ASGI application of the enrolment listener, with its rate limits."""
        of_address = SlidingWindowLimit(ADDRESS_TRIES_PER_MINUTE, COUNTED_KEYS_LIMIT)
        of_token = SlidingWindowLimit(TOKEN_TRIES_PER_MINUTE, COUNTED_KEYS_LIMIT)

        async def ca(request: Request) -> Response:
            return Response(self._home.ca_cert.read_bytes(), media_type=_PEM_MEDIA_TYPE)

        async def enrol(request: Request) -> Response:
            host = request.client.host if request.client else ""
            if not of_address.count_try(client_network(host)):
                return PlainTextResponse("too many requests\n", 429)
            body = await request.body()
            if not of_token.count_try(_hash_token_secret(body)):
                return PlainTextResponse("too many requests\n", 429)
            try:
                reply = await run_in_threadpool(self.enrol_site, body)
            except RefusedError as error:
                log.warning("enrolment refused: %s", error)
                return PlainTextResponse(f"{error}\n", 403)
            except DecodeError as error:
                return PlainTextResponse(f"{error}\n", 400)
            return Response(canonical.encode(reply), media_type="application/json")

        return Starlette(
            routes=[
                Route(CA_PATH, ca, methods=["GET"]),
                Route(protocol.ENROL_PATH, enrol, methods=["POST"]),
            ],
            middleware=[
                Middleware(StorageGuard),
                Middleware(_EnrolmentBodyLimit, store=self._store),
            ],
        )


class _EnrolmentBodyLimit(BodyLimit):
    """Middleware that limits request sizes; only token holders may send a replaced ledger."""

    def __init__(self, app: ASGIApp, store: ServerStore) -> None:
        super().__init__(app, protocol.ENROLMENT_BYTES_LIMIT, seconds=_SECONDS)
        self._store = store
        self._larger = BodyLimit(app, REQUEST_BYTES_LIMIT, seconds=_LOG_SECONDS)

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        secret = headers.get(b"authorization", b"").removeprefix(b"Bearer ").decode("latin-1")
        large = len(headers.get(b"content-length", b"")) >= len(str(protocol.ENROLMENT_BYTES_LIMIT))
        if large and secret and await run_in_threadpool(self._store.has_valid_join_token, secret):
            await self._larger(scope, receive, send)
        else:
            await super()._check_request(scope, receive, send)


class _TokenSecretField(msgspec.Struct):
    secret: str = ""


def _hash_token_secret(body: bytes) -> str:
    """Return a hash of the join token's secret in a request; invalid requests share one hash."""
    try:
        secret = typed_records.decode_json(body, _TokenSecretField).secret
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        secret = ""
    return hash_secret(secret)
