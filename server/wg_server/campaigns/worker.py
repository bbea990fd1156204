"""The campaign worker: collects statistics, makes packages, delivers them, one campaign at a time.

All that must survive a restart is in the queue. Messages that are lost are sent again
(``exchange``), so nothing is charged twice and nothing is applied twice, however often either side
dies.

Sites that refuse or do not answer in time are left out; the others are served (``partial``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache

from wg_common import atomic, logs
from wg_common.errors import StorageError, WgError
from wg_common.wire import canonical, weights_file
from wg_server.campaigns import intake
from wg_server.campaigns.exchange import Exchange
from wg_server.campaigns.intake import Release
from wg_server.campaigns.isolation import isolated
from wg_server.campaigns.packaging import MakePackage
from wg_server.campaigns.phases import Phase, collecting, delivering
from wg_server.fleet.adapter import FleetRun, FleetState
from wg_server.fleet.witness import Witness
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.database import Holder
from wg_server.store.queue import Campaign, CampaignQueue, Task
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
FULL_SECONDS = 5.0
WORK_TRIES = 5


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
            except StorageError as error:
                log.error("cannot write; going on in %.0f s: %s", FULL_SECONDS, error)
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
                self._exchange(run, campaign.id, collecting(self._store, self._witness))
                self._make_packages(campaign.id)
                self._exchange(run, campaign.id, delivering(self._home, self._config))
        except StorageError:
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

    def _exchange(self, run: FleetRun, campaign_id: str, phase: Phase) -> None:
        seconds = self._config.message_seconds
        exchange = Exchange(run, self._store, self._state, campaign_id, phase, seconds)
        exchange.work(self._stop)

    def _tidy(self) -> None:
        """Delete the files of packages that have expired; no plant would take them any more."""
        limit = time.time() - self._config.package_days * 86400
        for path in self._home.packages.glob("*.wgw"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
            except OSError as error:
                log.warning("package %s: cannot be deleted: %s", path.stem, error.strerror)

    def _make_packages(self, campaign_id: str) -> None:
        """A package for each site that answered; one that fails stops no other."""
        campaign = self._queue.show(campaign_id)
        if campaign.state == "cancelling":
            return
        everybody = cache(lambda: self._everybody(campaign.encoder))
        for task in campaign.tasks:
            if task.state != "released" or self._stop.is_set():
                continue
            about = logs.about(site=task.site, request=task.delivery_id)
            with about, isolated(self._queue, campaign.id, task.site, "package"):
                digest = self._package(campaign, task, everybody)
                self._queue.update(
                    campaign_id, task.site, state="packaged", code="", package_sha256=digest
                )

    def _everybody(self, encoder: str) -> Sequence[Release]:
        """The newest release of every site that is used, opened once for all packages."""
        return intake.releases_of_others(self._store, encoder=encoder, apart_from="")

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
        others = [release for release in everybody() if release.manifest.site != task.site]
        data = self._make_package(self._home, own, others, task.delivery_id)
        atomic.write_bytes(path, data, mode=atomic.PRIVATE)
        log.info("campaign %s: package of %d bytes for %s", campaign.id, len(data), task.site)
        return canonical.sha256_hex(data)
