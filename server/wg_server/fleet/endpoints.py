"""Our own routes beside Flower's: the witness, rotation of keys, renewal, whom to believe today.

All are behind the same guards: by the time they run, the request's site is known.
"""

import logging

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from wg_core.errors import DecodeError, RefusedError, VerificationError
from wg_core.ledger import witness as rules
from wg_core.ledger.witness import WitnessRefused
from wg_core.wire import canonical, protocol
from wg_server.fleet import trust
from wg_server.fleet.enrolment import Enrolment
from wg_server.fleet.guards import SITE_STATE
from wg_server.fleet.witness import Witness
from wg_server.site.home import ServerHome
from wg_server.store.site import Site
from wg_server.store.sites import Store

log = logging.getLogger(__name__)


def routes(home: ServerHome, store: Store, witness: Witness, enrolment: Enrolment) -> APIRouter:
    """The routes, to be mounted behind the guards."""
    router = APIRouter()

    @router.post(protocol.WITNESS_PATH)
    async def cosign(request: Request) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        body = await request.body()
        try:
            line = await run_in_threadpool(witness.countersign, site, body)
        except WitnessRefused as error:
            log.warning("site %s: %s", site.name, error)
            kind = rules.SIZE_CONTENT_TYPE if error.size is not None else "text/plain"
            return Response(error.body, error.status, media_type=kind)
        return Response(line, media_type="text/plain")

    @router.post(protocol.ROTATE_PATH)
    async def rotate(request: Request) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        body = await request.body()
        try:
            line = await run_in_threadpool(witness.rotate, site, body)
        except WitnessRefused as error:
            log.warning("site %s: %s", site.name, error)
            return Response(error.body, error.status, media_type="text/plain")
        except (DecodeError, VerificationError, RefusedError) as error:
            log.warning("site %s: %s", site.name, error)
            return PlainTextResponse(f"{error}\n", 400)
        return Response(line, media_type="text/plain")

    @router.post(protocol.RENEW_PATH)
    async def renew(request: Request) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        body = await request.body()
        try:
            pem = await run_in_threadpool(enrolment.renew, site, body.decode("ascii", "replace"))
        except DecodeError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(pem, media_type="application/x-pem-file")

    @router.post(protocol.TRUST_PATH)
    async def believed(request: Request) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        body = await request.body()
        try:
            reply = await run_in_threadpool(trust.answer, home, store, site.name, body)
        except DecodeError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(canonical.encode(reply), media_type="application/json")

    return router
