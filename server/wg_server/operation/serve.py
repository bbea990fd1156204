"""One process that serves a home: three listeners and the campaign worker, started and ended.

SIGTERM and SIGINT drain: the worker stops at its next step, requests at hand are finished, ports
are closed. A campaign that was running goes on at the next start. One process serves a home at a
time; a lock file held by the kernel says so, and is free again however the process ends.
"""

from __future__ import annotations

import logging
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from wg_common import atomic, locks
from wg_server.campaigns import packaging
from wg_server.campaigns.packaging import MakePackage
from wg_server.campaigns.worker import CampaignWorker
from wg_server.console.admin import admin_app
from wg_server.console.app import console_routes
from wg_server.console.metrics import Metrics
from wg_server.console.probes import probes_of
from wg_server.console.views import Source
from wg_server.fleet.adapter import FleetState
from wg_server.fleet.adoption import Adoption
from wg_server.fleet.certificates import Certificates
from wg_server.fleet.door import CONNECTIONS
from wg_server.fleet.endpoints import routes
from wg_server.fleet.enrolment import Enrolment
from wg_server.fleet.guards import BodyBudget, BodyLimit, Identify, RateLimit, Unavailable
from wg_server.fleet.listener import Listener, server_context
from wg_server.fleet.packages import package_routes
from wg_server.fleet.watch import Watch
from wg_server.fleet.witness import Witness
from wg_server.generator.evaluation import gate
from wg_server.site.home import ServerHome
from wg_server.site.recovery import Recovery
from wg_server.store.database import Holder
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

BODIES_LIMIT = 128 << 20
"""Most bytes of request bodies that the fleet listener holds at once, or twice the largest body."""

FILES_RESERVE = 256
"""File descriptors beside those of connections: store, packages, logs."""

LOOK_SECONDS = 1.0
"""How often certificates on disk are looked at."""

READY = "ready"
"""The log line that says that all ports are open."""


def serve(
    home: ServerHome,
    *,
    stop: threading.Event,
    make_package: MakePackage | None = None,
    accept_generator: str = "",
) -> None:
    """Serve until ``stop``.

    Raises:
        ConfigError: The home is not initialised, is served already, or a port is taken.
        PolicyRefused: The generator's model card fails, and it is not accepted by name.
        VerificationError: The model card is another generator's.
    """
    config = home.config()
    _raise_file_limit()
    if home.generator.is_file():
        gate.check(home, accept=accept_generator)
    _warn_of_gaps(home)
    make = make_package or partial(packaging.make_package, accept_generator=accept_generator)
    with ExitStack() as stack:
        stack.enter_context(only_one(home))
        store = stack.enter_context(Store.open(home))
        holder = stack.enter_context(Holder(store.engine))
        witness = Witness.of(home, store)
        enrolment = Enrolment(home, config, store)
        state = FleetState()
        worker = CampaignWorker(home, config, store, state, witness, make, holder)
        probes = probes_of(home, store, lambda: worker.alive, disk_floor=config.disk_floor_bytes)
        metrics = Metrics(home, store, probes, state.online)
        stack.enter_context(_counted(metrics.handler()))
        plain = server_context(home, client_certificates=False)
        mutual = server_context(home, client_certificates=True)
        fleet_side = fleet_app(home, store, state, witness, enrolment, metrics)
        fleet = Listener("fleet", fleet_side, config.host, config.fleet_port, mutual)
        enrol_side = metrics.measure(enrolment.app(), "enrolment")
        enrol = Listener("enrolment", enrol_side, config.host, config.enrol_port, plain)
        admin_side = _admin_app(Source(home, store, probes, state.online), metrics)
        admin = Listener("admin", admin_side, config.admin_host, config.admin_port, None)
        certificates = Certificates(home, {enrol: False, fleet: True})
        listeners = (admin, enrol, fleet)
        for listener in listeners:
            listener.start()
            stack.callback(listener.stop)
        worker.start()
        stack.callback(worker.stop)
        log.info("%s: %s on %s", READY, config.name, config.fleet_url)
        while not stop.wait(LOOK_SECONDS):
            certificates.look()
        log.info("stopping")
        for listener in listeners:
            listener.drain()
    log.info("stopped")


def _admin_app(source: Source, metrics: Metrics) -> Starlette:
    token = atomic.read_bytes(source.home.admin_token, limit=1 << 10).decode("ascii").strip()
    return admin_app(token, metrics.registry, source.probes, console_routes(source))


@contextmanager
def _counted(handler: logging.Handler) -> Iterator[None]:
    """Let a handler see the log of the server while this is entered."""
    logger = logging.getLogger("wg_server")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _warn_of_gaps(home: ServerHome) -> None:
    """Say what a server cannot do yet, before it says that it is ready."""
    if not home.encoder.is_file():
        log.warning(
            "no zoo yet: no plant can enrol; run 'wg-server zoo build --home %s'", home.root
        )
    elif not home.generator.is_file():
        log.warning(
            "no generator yet: campaigns can ask, and not deliver; run 'wg-server train --home %s'",
            home.root,
        )


def _raise_file_limit() -> None:
    """Let three full listeners and the store have file descriptors, where the system allows it."""
    wanted = 3 * CONNECTIONS + FILES_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "%d open files are allowed, %d may be needed: raise the limit (ulimit -n)",
            allowed,
            wanted,
        )


def fleet_app(
    home: ServerHome,
    store: Store,
    state: FleetState,
    witness: Witness,
    enrolment: Enrolment,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The fleet listener's application: guards, then Flower's Fleet API and our own routes."""
    config = home.config()
    recovery = Recovery.load(home)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(Unavailable),
            Middleware(BodyLimit, limit=config.body_limit),
            Middleware(
                Identify, store=store, adoption=Adoption(store, recovery) if recovery else None
            ),
            Middleware(Watch, store=store),
            Middleware(RateLimit, rate=config.requests_per_second),
            Middleware(
                BodyBudget,
                site_bytes=config.body_limit,
                total_bytes=max(BODIES_LIMIT, 2 * config.body_limit),
            ),
            *state.middleware(),
            Middleware(Unavailable),  # Flower's middleware would call it an internal error
        ],
    )
    state.mount(app)
    app.include_router(routes(home, witness, enrolment))
    app.include_router(package_routes(home, CampaignQueue(store.engine)))
    if metrics is not None:
        metrics.measure(app, "fleet")
    return app


@contextmanager
def signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set ``stop`` while this is entered; main thread only."""

    def end(number: int, frame: object) -> None:
        stop.set()

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def only_one(home: ServerHome) -> AbstractContextManager[None]:
    """The lock of the one process that serves a home.

    Raises:
        ConfigError: Another process has it.
    """
    return locks.hold(home.lock, busy="another process serves this home")
