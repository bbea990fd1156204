"""The campaign worker: collects statistics, makes packages, delivers them, one campaign at a time.

All that must survive a restart is in the queue. A message that is lost (the node died after
pulling it, the server restarted, the line was cut past its life) is sent again under the same
logical request id, and the plant answers with the bytes it made the first time. So nothing is
charged twice and nothing is applied twice, however often either side dies.

Sites that refuse or do not answer in time are left out; the others are served (``partial``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from sqlalchemy.exc import InterfaceError as DatabaseLost
from sqlalchemy.exc import OperationalError

from wg_common import atomic, logs
from wg_common.errors import (
    ConfigError,
    DecodeError,
    InternalError,
    StorageError,
    VerificationError,
    WgError,
)
from wg_common.wire import canonical, fleet, protocol, weights_file
from wg_common.wire.fleet import Envelope
from wg_common.wire.protocol import Delivery, PackageOffer, Receipt, Refusal, StatisticsQuery
from wg_server.campaigns import intake
from wg_server.campaigns.intake import Asked, Release
from wg_server.fleet.adapter import LOST, FleetRun, FleetState, Reply
from wg_server.fleet.endpoints import Witness
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.database import Holder
from wg_server.store.queue import Campaign, CampaignQueue, Task
from wg_server.store.site import Site
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
TICK_SECONDS = 0.1
FULL_SECONDS = 5.0
MESSAGE_TRIES = 100
WORK_TRIES = 5
_SLOWEST_BYTES_PER_SECOND = 1 << 17
_FULL = (StorageError, OperationalError, DatabaseLost)
"""The disk is full, or the database cannot be reached or written."""
_TRANSIENT = frozenset({"peer", "witness", fleet.UNAVAILABLE})
"""Refusals that another try may cure; the site could not, rather than would not."""


class MakePackage(Protocol):
    """Makes the signed bytes of a ``.wgw`` for the site of ``own``."""

    def __call__(
        self, home: ServerHome, own: Release, memory: Sequence[Release], request_id: str
    ) -> bytes:
        """Make it, or raise ``WgError``."""
        ...


@dataclass(slots=True)
class _Flight:
    """A message on its way."""

    site: str
    sent: float
    expires: float


class CampaignWorker:
    """Works on the queue on a thread of its own."""

    def __init__(
        self,
        home: ServerHome,
        config: ServerConfig,
        store: Store,
        state: FleetState,
        witness: Witness,
        make_package: MakePackage,
        holder: Holder,
    ) -> None:
        self._home = home
        self._config = config
        self._store = store
        self._queue = CampaignQueue(store.engine)
        self._state = state
        self._witness = witness
        self._make_package = make_package
        self._holder = holder
        self._held = True
        self._failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wg-campaigns")

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def stop(self) -> None:
        """Stop soon; an unfinished campaign goes on at the next start."""
        self._stop.set()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the worker still works."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._holds():
                    campaign = self._queue.claim()
                    if campaign is not None:
                        with logs.about(campaign=campaign.id):
                            self._work(campaign)
                        continue
            except _FULL as error:
                log.error("cannot write; going on in %.0f s: %s", FULL_SECONDS, _why(error))
                self._stop.wait(FULL_SECONDS)
            except WgError as error:
                log.error("campaign worker: %s", error)
            except Exception:  # the worker must outlive a bug in one campaign
                log.exception("campaign worker: internal error")
            self._stop.wait(IDLE_SECONDS)

    def _holds(self) -> bool:
        """Whether this process still is the one that serves the store; says so when it changes."""
        holds = self._holder.holds()
        if holds != self._held:
            log.warning("the store is %s", "ours again" if holds else "served by another process")
            self._held = holds
        return holds

    def _work(self, campaign: Campaign) -> None:
        log.info("campaign %s: %s", campaign.id, campaign.state)
        try:
            with self._state.run() as run:
                self._exchange(run, campaign.id, _Collecting(self))
                self._make_packages(campaign.id)
                self._exchange(run, campaign.id, _Delivering(self))
        except _FULL:
            raise  # a full disk or a lost database: the campaign waits, and fails by its deadline
        except Exception:
            # Something else may pass, too; a bug comes back.
            self._failures += 1
            if self._failures >= WORK_TRIES:
                self._failures = 0
                self._queue.finish(campaign.id, reason="internal error; see the server's log")
            raise
        self._failures = 0
        if not self._stop.is_set():
            ended = self._queue.finish(campaign.id)
            self._tidy()
            log.info("campaign %s: %s", campaign.id, ended.state)

    def _tidy(self) -> None:
        """Delete the files of packages that have expired; no plant would take them any more."""
        limit = time.time() - self._config.package_days * 86400
        for path in self._home.packages.glob("*.wgw"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
            except OSError as error:
                log.warning("package %s: cannot be deleted: %s", path.stem, error.strerror)

    def _exchange(self, run: FleetRun, campaign_id: str, phase: _Phase) -> None:
        """Ask each open task's site, until all have answered or the phase's time is over."""
        flights: dict[str, _Flight] = {}
        not_before: dict[str, float] = {}
        while not self._stop.is_set():
            campaign = self._queue.show(campaign_id)
            tasks = {task.site: task for task in campaign.tasks if task.state == phase.state}
            if campaign.state == "cancelling" or not tasks or time.time() > phase.until(campaign):
                break
            sites = {site.name: site for site in self._store.sites() if site.state == "enrolled"}
            for name in tasks.keys() - sites.keys():
                self._queue.update(campaign_id, name, state="failed", code="revoked")
            self._drop_lost(run, flights, tasks)
            online = self._state.online(sites.values())
            busy = {flight.site for flight in flights.values()}
            now = time.monotonic()
            for name, task in tasks.items():
                if name in online and name not in busy and now >= not_before.get(name, 0.0):
                    if task.messages >= MESSAGE_TRIES:
                        self._queue.update(campaign_id, name, state="failed", code="tries")
                        continue
                    not_before[name] = now + min(2.0**task.messages, 30.0)
                    with logs.about(site=name, request=phase.request(task)):
                        self._try_to_send(run, flights, campaign, task, sites[name], phase)
            for reply in run.poll(set(flights)):
                flight = flights.pop(reply.message_id)
                if flight.site in tasks and flight.site in sites:
                    task, site = tasks[flight.site], sites[flight.site]
                    with logs.about(site=task.site, request=phase.request(task)):
                        self._handle(campaign, task, site, reply, phase)
            self._stop.wait(TICK_SECONDS)
        for message_id in flights:
            run.forget(message_id)

    def _drop_lost(
        self, run: FleetRun, flights: dict[str, _Flight], tasks: dict[str, Task]
    ) -> None:
        """Give up messages that expired, or whose node started anew after they were sent."""
        now = time.monotonic()
        for message_id, flight in list(flights.items()):
            restarted = self._state.activated(flight.site) > flight.sent
            if restarted or now > flight.expires or flight.site not in tasks:
                run.forget(message_id)
                del flights[message_id]

    def _try_to_send(
        self,
        run: FleetRun,
        flights: dict[str, _Flight],
        campaign: Campaign,
        task: Task,
        site: Site,
        phase: _Phase,
    ) -> None:
        """Send one site its message; what hinders that is this site's failure alone."""
        try:
            self._send(run, flights, campaign, task, site, phase)
        except _FULL:
            raise
        except WgError as error:
            log.error("campaign %s: message to %s: %s", campaign.id, task.site, error)
            self._queue.update(campaign.id, task.site, state="failed", code=error.code)
        except Exception:
            log.exception("campaign %s: message to %s", campaign.id, task.site)
            self._queue.update(campaign.id, task.site, state="failed", code=InternalError.code)

    def _send(
        self,
        run: FleetRun,
        flights: dict[str, _Flight],
        campaign: Campaign,
        task: Task,
        site: Site,
        phase: _Phase,
    ) -> None:
        envelope = phase.envelope(campaign, task)
        seconds = self._config.message_seconds + phase.patience(task)
        sent = time.monotonic()
        message_id = run.send(site, phase.kind, envelope, seconds)
        if message_id is None:
            return
        flights[message_id] = _Flight(task.site, sent, sent + seconds)
        log.info("campaign %s: %s sent to %s", campaign.id, phase.kind, task.site)
        self._queue.update(campaign.id, task.site, messages=1, bytes_sent=len(envelope.payload))

    def _handle(
        self, campaign: Campaign, task: Task, site: Site, reply: Reply, phase: _Phase
    ) -> None:
        if reply.envelope is None:
            if reply.error != LOST:
                why = f"{reply.error}: {fleet.MEANING.get(reply.error, '')}"
                log.warning("campaign %s: %s declined: %s", campaign.id, task.site, why)
                self._queue.update(campaign.id, task.site, state="refused", code=reply.error)
            return
        try:
            if reply.envelope.kind == "refusal":
                self._refused(campaign, task, reply.envelope, phase)
            else:
                phase.accept(campaign, task, site, reply.envelope)
        except _FULL:
            raise
        except WgError as error:
            log.warning("campaign %s: answer of %s: %s", campaign.id, task.site, error)
            self._queue.update(campaign.id, task.site, state="failed", code=error.code)
        except Exception:  # whatever one site's answer causes, the others' campaign goes on
            log.exception("campaign %s: answer of %s", campaign.id, task.site)
            self._queue.update(campaign.id, task.site, state="failed", code=InternalError.code)

    def _refused(self, campaign: Campaign, task: Task, envelope: Envelope, phase: _Phase) -> None:
        refusal = canonical.decode(Refusal, envelope.record, what="refusal")
        code = refusal.code
        why = fleet.REFUSALS.get(code, "a word that this version does not know")
        log.warning("campaign %s: %s refused: %s: %s", campaign.id, task.site, code, why)
        if code in _TRANSIENT and task.messages < phase.transient_tries:
            self._queue.update(campaign.id, task.site, code=code)
        else:
            self._queue.update(campaign.id, task.site, state="refused", code=code)

    def _make_packages(self, campaign_id: str) -> None:
        """A package for each site that answered; one that fails stops no other."""
        campaign = self._queue.show(campaign_id)
        if campaign.state == "cancelling":
            return
        everybody = cache(lambda: self._everybody(campaign.encoder))
        for task in campaign.tasks:
            if task.state != "released" or self._stop.is_set():
                continue
            try:
                with logs.about(site=task.site, request=task.delivery_id):
                    digest = self._package(campaign, task, everybody)
            except _FULL:
                raise
            except WgError as error:
                log.error("campaign %s: package for %s: %s", campaign_id, task.site, error)
                self._queue.update(campaign_id, task.site, state="failed", code=error.code)
            except Exception:
                log.exception("campaign %s: package for %s", campaign_id, task.site)
                self._queue.update(campaign_id, task.site, state="failed", code=InternalError.code)
            else:
                self._queue.update(
                    campaign_id,
                    task.site,
                    state="packaged",
                    code="",
                    package_sha256=digest,
                )

    def _everybody(self, encoder: str) -> Sequence[Release]:
        """The newest release of every site that is used, opened once for all packages."""
        return intake.memory(self._store, encoder=encoder, apart_from="")

    def _package(
        self, campaign: Campaign, task: Task, everybody: Callable[[], Sequence[Release]]
    ) -> str:
        """SHA-256 of a task's package, hex; the package is made once, then it is its file."""
        path = self._home.package(task.delivery_id)
        if path.is_file():
            return weights_file.sha256(path)
        stored = self._store.release(task.release_id)
        intake.check_used(stored)
        own = intake.open_release(stored)
        memory = [release for release in everybody() if release.manifest.site != task.site]
        data = self._make_package(self._home, own, memory, task.delivery_id)
        atomic.write_bytes(path, data, mode=atomic.PRIVATE)
        log.info("campaign %s: package of %d bytes for %s", campaign.id, len(data), task.site)
        return canonical.sha256_hex(data)


class _Phase(Protocol):
    """One of the two exchanges of a campaign."""

    state: str
    kind: str
    transient_tries: int

    def until(self, campaign: Campaign) -> float: ...

    def request(self, task: Task) -> str: ...

    def patience(self, task: Task) -> float: ...

    def envelope(self, campaign: Campaign, task: Task) -> Envelope: ...

    def accept(self, campaign: Campaign, task: Task, site: Site, envelope: Envelope) -> None: ...


class _Collecting:
    """Statistics queries out, covered releases in."""

    state = "waiting"
    kind = protocol.QUERY_STATISTICS
    transient_tries = 10

    def __init__(self, worker: CampaignWorker) -> None:
        self._queue = worker._queue
        self._store = worker._store
        self._witness = worker._witness

    def until(self, campaign: Campaign) -> float:
        return campaign.collect_until

    def request(self, task: Task) -> str:
        return task.query_id

    def patience(self, task: Task) -> float:
        return 0.0

    def envelope(self, campaign: Campaign, task: Task) -> Envelope:
        query = StatisticsQuery(
            request_id=task.query_id,
            site=task.site,
            encoder=campaign.encoder,
            epsilon=campaign.epsilon,
            delta=campaign.delta,
            purpose=campaign.purpose,
            expires=int(campaign.collect_until),
        )
        return Envelope("query", canonical.encode(query))

    def accept(self, campaign: Campaign, task: Task, site: Site, envelope: Envelope) -> None:
        _require(envelope, "statistics")
        asked = Asked(encoder=campaign.encoder, epsilon=campaign.epsilon, delta=campaign.delta)
        release = intake.accept(
            site, envelope.payload, asked, witness=self._witness, now=time.time()
        )
        known = self._store.find_release(release.release_id)  # the operator may have had a word
        used = release.used if known is None else known.used
        self._queue.update(
            campaign.id,
            task.site,
            release=release,
            bytes_received=len(envelope.payload),
            state="released" if used else "failed",
            code="" if used else intake.QUARANTINED,
            release_id=release.release_id,
        )
        log.info("campaign %s: %s released %s", campaign.id, task.site, release.release_id)


class _Delivering:
    """Packages out, receipts in."""

    state = "packaged"
    kind = protocol.TRAIN_FINETUNE
    transient_tries = 10

    def __init__(self, worker: CampaignWorker) -> None:
        self._queue = worker._queue
        self._home = worker._home
        self._config = worker._config

    def until(self, campaign: Campaign) -> float:
        return campaign.deliver_until

    def request(self, task: Task) -> str:
        return task.delivery_id

    def patience(self, task: Task) -> float:
        """Seconds that fetching an offered package may take beyond the life of a message."""
        return self._offered(task) / _SLOWEST_BYTES_PER_SECOND

    def envelope(self, campaign: Campaign, task: Task) -> Envelope:
        offered = self._offered(task)
        if offered:
            offer = PackageOffer(
                request_id=task.delivery_id,
                site=task.site,
                package_sha256=task.package_sha256,
                size=offered,
                chunk=min(self._config.chunk_bytes, offered),
            )
            return Envelope("offer", canonical.encode(offer))
        delivery = Delivery(
            request_id=task.delivery_id, site=task.site, package_sha256=task.package_sha256
        )
        path = self._home.package(task.delivery_id)
        data = atomic.read_bytes(path, limit=self._config.inline_bytes)
        return Envelope("delivery", canonical.encode(delivery), data)

    def _offered(self, task: Task) -> int:
        """Size of a package that is offered and fetched; 0 for one that goes in a message."""
        path = self._home.package(task.delivery_id)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        return size if size > self._config.inline_bytes else 0

    def accept(self, campaign: Campaign, task: Task, site: Site, envelope: Envelope) -> None:
        _require(envelope, "receipt")
        receipt = canonical.decode(Receipt, envelope.record, what="receipt")
        expected = Receipt(request_id=task.delivery_id, package_sha256=task.package_sha256)
        if receipt != expected:
            raise VerificationError("receipt: of another delivery")
        sent = self._offered(task)  # what went in a message was counted when it went
        self._queue.update(campaign.id, task.site, bytes_sent=sent, state="delivered", code="")
        log.info("campaign %s: delivered to %s", campaign.id, task.site)


def _require(envelope: Envelope, kind: fleet.Kind) -> None:
    if envelope.kind != kind:
        raise DecodeError(f"reply: kind {envelope.kind!r}, expected {kind!r}")


def _why(error: Exception) -> str:
    return str(error.orig) if isinstance(error, OperationalError) else str(error)
