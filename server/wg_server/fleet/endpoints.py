"""Our own routes on the fleet listener, beside Flower's: the witness, and certificate renewal.

Both are behind the same guards: by the time they run, the request's site is known.
"""

from __future__ import annotations

import logging
import time
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from wg_common import protocol, signing
from wg_common.errors import DecodeError
from wg_common.ledger import witness as rules
from wg_common.ledger.witness import WitnessFork, WitnessRefused, WitnessState
from wg_server.enrolment import Enrolment, witness_name
from wg_server.fleet.guards import SITE_STATE
from wg_server.home import ServerHome
from wg_server.store import Site, Store

log = logging.getLogger(__name__)


class Witness:
    """The server as a witness of its plants' ledgers; remembers each plant's last checkpoint."""

    def __init__(self, store: Store, name: str, key: Ed25519PrivateKey) -> None:
        self._store = store
        self._key = key
        self.name = name
        self.public_key = key.public_key()

    @classmethod
    def of(cls, home: ServerHome, store: Store) -> Self:
        """The witness of a home."""
        return cls(store, witness_name(home.config()), signing.load(home.witness_key))

    def countersign(self, site: Site, request: bytes) -> bytes:
        """Cosign a checkpoint of a site's ledger that extends the last one seen.

        Args:
            site: The site; only its own ledger is cosigned.
            request: Body of a C2SP ``add-checkpoint`` request.

        Raises:
            WitnessRefused: With the HTTP status to answer; evidence of a fork is kept.
        """
        now = time.time()

        def decide(known: bytes | None) -> tuple[bytes, int, bytes]:
            signed = rules.countersign(
                None if known is None else WitnessState(known),
                request,
                origin=site.ledger_origin,
                log_key=signing.public_from_bytes(bytes.fromhex(site.ledger_key)),
                witness_name=self.name,
                witness_key=self._key,
                now=int(now),
            )
            return signed.state.checkpoint, signed.state.head.size, signed.line

        try:
            return self._store.witness(site, now, decide)
        except WitnessFork as fork:
            log.error("site %s: %s; evidence kept", site.name, fork)
            self._store.keep_evidence(
                site.ledger_origin, fork.evidence.earlier, fork.evidence.later, now
            )
            raise


def routes(witness: Witness, enrolment: Enrolment) -> APIRouter:
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

    @router.post(protocol.RENEW_PATH)
    async def renew(request: Request) -> Response:
        site: Site = getattr(request.state, SITE_STATE)
        body = await request.body()
        try:
            pem = await run_in_threadpool(enrolment.renew, site, body.decode("ascii", "replace"))
        except DecodeError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(pem, media_type="application/x-pem-file")

    return router
