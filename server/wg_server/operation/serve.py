"""Server process of a home: three listeners and the campaign worker.

On SIGTERM and SIGINT the worker stops at its next step, open requests are finished, and the ports
are closed. A running campaign continues at the next start. Only one main process serves a home at a
time: it holds a kernel file lock, which is released however the process ends. On PostgreSQL,
additional processes may carry messages beside it.
"""

import logging
import resource
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from wg_core import atomic, locks
from wg_core.errors import ConfigError, WgError
from wg_server.campaigns.packaging import PackageMaker
from wg_server.campaigns.packaging_process import PACKAGING_PROCESS_COUNT, PackagingProcess
from wg_server.campaigns.worker import CampaignWorker
from wg_server.console.admin import admin_app
from wg_server.console.app import console_routes
from wg_server.console.health_probes import server_probes
from wg_server.console.metrics import ServerMetrics
from wg_server.console.page_data import PageSource
from wg_server.fleet.adapter import FlowerLink
from wg_server.fleet.certificates import CertificateReloader
from wg_server.fleet.connection_limit import CONNECTIONS_LIMIT
from wg_server.fleet.endpoints import fleet_router
from wg_server.fleet.enrolment import EnrolmentService
from wg_server.fleet.guards import (
    BodyLimit,
    BodyMemoryLimit,
    IdentityGuard,
    RateLimit,
    StorageGuard,
)
from wg_server.fleet.listener import Listener, server_tls_context
from wg_server.fleet.refusal_recorder import RefusalRecorder
from wg_server.fleet.witness import LedgerWitness
from wg_server.generator import versions
from wg_server.site.backup_records import RestoreGap
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.database import ServingLock
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS, StoredSite

log = logging.getLogger(__name__)

BODY_BYTES_LIMIT = 16 << 20  # Largest request body that the fleet listener reads
TOTAL_BODY_BYTES_LIMIT = 128 << 20
"""Largest total of request bodies that the fleet listener holds in memory, in bytes."""


CERTIFICATE_CHECK_INTERVAL_SECONDS = 1.0  # Interval of checks for new certificates on disk

READY_MESSAGE = "ready"  # Start of the log line after all ports are open


def serve_home(
    home: ServerHome,
    *,
    stop_event: threading.Event,
    make_package: PackageMaker | None = None,
    additional_port: int = 0,
) -> None:
    """Serve a home until ``stop_event`` is set.

    Args:
        make_package: Function that makes a package for a site; None: ``packaging.make_package`` in
            separate processes.
        additional_port: Fleet port of an additional process on PostgreSQL; its enrolment and probes
            use the two following ports. It carries messages to the nodes connected to it; only the
            main process runs campaigns and makes packages.

    Raises:
        ConfigError: The home is not initialised, is served already, or a port is taken.
    """
    config = home.read_config()
    ports = _fleet_enrol_and_admin_ports(config, additional_port)
    _raise_file_limit()
    _warn_of_missing_models(home)
    with ExitStack() as stack:
        stack.enter_context(
            _hold_additional_lock(home, additional_port)
            if additional_port
            else lock_for_serving(home)
        )
        store = stack.enter_context(ServerStore.open(home))
        serving_lock = None if additional_port else stack.enter_context(ServingLock(store.engine))
        witness = LedgerWitness.open(home, store)
        state = FlowerLink()
        makers = (
            [make_package]
            if make_package
            else [PackagingProcess() for _ in range(PACKAGING_PROCESS_COUNT)]
        )
        worker = CampaignWorker(home, config, store, state, witness, makers, serving_lock)
        probes = server_probes(home, store, lambda: worker.is_alive)
        metrics = ServerMetrics(home, store, probes, state.online_sites)
        stack.enter_context(_attach_log_handler(metrics.log_handler()))
        online = partial(_online_sites, state) if config.database else state.online_sites
        source = PageSource(home, store, probes, online)
        enrolment = EnrolmentService(home, config, store)
        app = fleet_app(home, store, state, witness, enrolment)
        fleet_side = metrics.add_request_meter(app, "fleet")
        enrol_side = metrics.add_request_meter(enrolment.enrolment_app(), "enrolment")
        admin_side = _admin_app(source, metrics, has_console=not additional_port)
        plain = server_tls_context(home, requires_client_certificates=False)
        mutual = server_tls_context(home, requires_client_certificates=True)
        fleet = Listener("fleet", fleet_side, config.host, ports[0], mutual)
        enrol = Listener("enrolment", enrol_side, config.host, ports[1], plain)
        admin = Listener("admin", admin_side, config.admin_host, ports[2], None)
        certificates = CertificateReloader(home, {enrol: False, fleet: True})
        with _run_listeners((admin, enrol, fleet), worker):
            log.info("%s: %s on %s", READY_MESSAGE, config.name, config.fleet_url)
            while not stop_event.wait(CERTIFICATE_CHECK_INTERVAL_SECONDS):
                certificates.reload_if_changed()
    log.info("stopped")


@contextmanager
def _run_listeners(listeners: Sequence[Listener], worker: CampaignWorker) -> Iterator[None]:
    """Open all ports and run the campaign worker during the body; then finish open requests."""
    with ExitStack() as stack:
        for listener in listeners:
            listener.start()
            stack.callback(listener.stop)
        worker.start()
        stack.callback(worker.stop)
        yield
        log.info("stopping")
        for listener in listeners:
            listener.stop_accepting()


def _fleet_enrol_and_admin_ports(config: ServerConfig, fleet_port: int) -> tuple[int, int, int]:
    """Return the ports of the fleet, enrolment and admin listeners."""
    if not fleet_port:
        return config.fleet_port, config.enrol_port, config.admin_port
    if not config.database:
        raise ConfigError("several processes serve one home on PostgreSQL alone; see 'database'")
    return fleet_port, fleet_port + 1, fleet_port + 2


def _admin_app(source: PageSource, metrics: ServerMetrics, *, has_console: bool) -> Starlette:
    token = atomic.read_bytes(source.home.admin_token, limit=1 << 10).decode("ascii").strip()
    console = console_routes(source) if has_console else []
    return admin_app(token, metrics.registry, source.probes, console)


def _online_sites(flower_link: FlowerLink, sites: Iterable[StoredSite]) -> set[str]:
    """Return the sites that are connected to this process, or recently were to any process."""
    all_sites, since = list(sites), time.time() - ONLINE_LIMIT_SECONDS
    return flower_link.online_sites(all_sites) | {
        site.name for site in all_sites if site.last_seen > since
    }


@contextmanager
def _attach_log_handler(handler: logging.Handler) -> Iterator[None]:
    """Attach a handler to the server's log during the body."""
    logger = logging.getLogger("wg_server")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _warn_of_missing_models(home: ServerHome) -> None:
    """Log a warning if the home has no encoder, or no usable generator."""
    if not home.encoder_file.is_file():
        log.warning(
            "no zoo yet: no plant can enrol; run 'wg-server zoo build --home %s'", home.root
        )
        return
    try:
        versions.usable_version(home)
    except WgError as error:
        log.warning("no campaign can be started: %s", error)


def _raise_file_limit() -> None:
    """Raise the file descriptor limit for three full listeners and the store, if allowed."""
    files_reserve = 256
    descriptors = 3 * CONNECTIONS_LIMIT + files_reserve
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= descriptors:
        return
    limit = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < descriptors:
        log.warning(
            "%d open files are allowed, %d may be needed: raise the limit (ulimit -n)",
            limit,
            descriptors,
        )


def fleet_app(
    home: ServerHome,
    store: ServerStore,
    flower_link: FlowerLink,
    witness: LedgerWitness,
    enrolment: EnrolmentService,
) -> FastAPI:
    """Return the fleet listener's application: guards, then Flower's Fleet API and our routes."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(StorageGuard),
            Middleware(BodyLimit, limit=BODY_BYTES_LIMIT),
            Middleware(IdentityGuard, store=store, recovery=RestoreGap.load(home)),
            Middleware(RefusalRecorder, store=store),
            Middleware(RateLimit),
            Middleware(
                BodyMemoryLimit, site_bytes=BODY_BYTES_LIMIT, total_bytes=TOTAL_BODY_BYTES_LIMIT
            ),
            flower_link.fleet_api_middleware(),
        ],
    )
    flower_link.attach_to_app(app)
    app.include_router(fleet_router(home, store, witness, enrolment))
    return app


@contextmanager
def stop_on_signals(stop_event: threading.Event) -> Iterator[None]:
    """Set ``stop_event`` on SIGTERM and SIGINT during the body; main thread only."""

    def end(number: int, frame: object) -> None:
        stop_event.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lock_for_serving(home: ServerHome) -> AbstractContextManager[None]:
    """Return the lock of the main process that serves a home.

    Raises:
        ConfigError: Another process holds the lock.
    """
    return locks.hold_lock(home.serving_lock_file, busy_message="another process serves this home")


@contextmanager
def hold_serving_locks(home: ServerHome) -> Iterator[None]:
    """Hold the locks that keep every process from serving a home.

    Raises:
        ConfigError: A process serves the home.
    """
    with lock_for_serving(home), ExitStack() as stack:
        for path in sorted(home.root.glob("serve-*.lock")):
            stack.enter_context(
                locks.hold_lock(path, busy_message="another process serves this home")
            )
        yield


@contextmanager
def _hold_additional_lock(home: ServerHome, port: int) -> Iterator[None]:
    """Hold the lock of an additional process that serves a home beside the main process.

    Raises:
        ConfigError: Another process holds the lock.
    """
    path = home.root / f"serve-{port}.lock"
    try:
        with locks.hold_lock(path, busy_message=f"another process serves this home on port {port}"):
            yield
    finally:
        path.unlink(missing_ok=True)
