"""Routes of the fleet listener besides Flower's: cosigning, key rotation, renewal, current keys.

All routes are behind the fleet listener's guards, which have identified the request's site.
"""

import logging
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from wg_core.errors import DecodeError, RefusedError, VerificationError
from wg_core.ledger import witness as rules
from wg_core.ledger.witness import WitnessRefused
from wg_core.wire import canonical, protocol
from wg_server.fleet import trust
from wg_server.fleet.enrolment import EnrolmentService
from wg_server.fleet.guards import SITE_STATE_KEY
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)


def fleet_router(
    home: ServerHome, store: ServerStore, witness: LedgerWitness, enrolment: EnrolmentService
) -> APIRouter:
    """Return the routes for witness, keys and certificates, to be mounted behind the guards."""
    router = APIRouter()

    def post(path: str, media_type: str, work: Callable[[StoredSite, bytes], bytes]) -> None:
        @router.post(path)
        async def endpoint(request: Request) -> Response:
            site: StoredSite = getattr(request.state, SITE_STATE_KEY)
            body = await request.body()
            try:
                answer = await run_in_threadpool(work, site, body)
            except WitnessRefused as error:
                log.warning("site %s: %s", site.name, error)
                kind = rules.SIZE_CONTENT_TYPE if error.last_seen_size is not None else "text/plain"
                return Response(error.body, error.status, media_type=kind)
            except (DecodeError, VerificationError, RefusedError) as error:
                log.warning("site %s: %s", site.name, error)
                return PlainTextResponse(f"{error}\n", 400)
            return Response(answer, media_type=media_type)

    def renew(site: StoredSite, body: bytes) -> bytes:
        return enrolment.renew_certificate(site, body.decode("ascii", "replace")).encode()

    def answer_trust(site: StoredSite, body: bytes) -> bytes:
        return canonical.encode(trust.store_site_pins(home, store, site.name, body))

    post(protocol.WITNESS_PATH, "text/plain", witness.cosign_extension)
    post(protocol.ROTATE_PATH, "text/plain", witness.accept_key_rotation)
    post(protocol.RENEW_PATH, "application/x-pem-file", renew)
    post(protocol.TRUST_PATH, "application/json", answer_trust)
    return router
