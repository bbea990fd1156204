"""Campaign worker: collects statistics, and has packages made and delivered, for all campaigns.

Any number of campaigns run at the same time; ``schedule`` decides what is due in each. All state
that must survive a restart is in the queue. Lost messages are sent again (``message_exchange``), so
that nothing is charged or applied twice, however often either side restarts.

Sites that refuse or do not answer in time are left out, and the others are served (``partial``). An
error of one site ends only its own task, and an error of one campaign only that campaign.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from wg_core import logs
from wg_core.errors import ConfigError, InternalError, StorageError, WgError
from wg_server.campaigns import offline_codes, schedule, status_reasons
from wg_server.campaigns.campaign_phases import collection_phase, delivery_phase
from wg_server.campaigns.message_exchange import MessageExchange, SiteRequest
from wg_server.campaigns.packaging import PACKAGE_LIFETIME, PackageMaker
from wg_server.campaigns.packaging_threads import PackagingThreads
from wg_server.fleet.adapter import FlowerLink
from wg_server.fleet.witness import LedgerWitness
from wg_server.generator import versions
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store import operators, site_refusals
from wg_server.store.campaigns import OPEN_TASK_STATES, Campaign, CampaignTask
from wg_server.store.database import ServingLock
from wg_server.store.operators import Actor
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 0.1  # Polling interval while messages are in flight
QUEUE_CHECK_INTERVAL_SECONDS = 0.5
"""Interval of queue checks while nothing has changed that the worker knows of."""
FAILURE_PAUSE_SECONDS = 5.0
TURN_LIMIT_SECONDS = 300.0
"""Duration of a turn after which the worker counts as hanging. A turn neither makes packages nor
waits for sites."""


class CampaignWorker:
    """Worker on the campaign queue, in a thread of its own."""

    def __init__(
        self,
        home: ServerHome,
        config: ServerConfig,
        store: ServerStore,
        flower_link: FlowerLink,
        witness: LedgerWitness,
        package_makers: Sequence[PackageMaker],
        serving_lock: ServingLock | None,
    ) -> None:
        self._home = home
        self._config = config
        self._store = store
        self._queue = CampaignQueue(store.engine)
        self._exchange = MessageExchange(store, flower_link, config.message_seconds)
        self._packer = PackagingThreads(home, store, package_makers)
        phases = collection_phase(store, witness), delivery_phase(home)
        self._phases = {phase.task_state: phase for phase in phases}
        self._serving_lock = serving_lock  # None: another process leads
        self._held = True
        self._failures: Counter[str] = Counter()
        self._news = self._unsent = False
        self._next_look = self._next_idle_look = 0.0
        self._turned = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="wg-campaigns")

    def start(self) -> None:
        """Start the threads that work on campaigns."""
        self._packer.start()
        self._thread.start()

    def stop(self) -> None:
        """Ask the threads to stop soon; unfinished campaigns continue at the next start."""
        self._stop.set()
        self._packer.stop()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """True while the worker's threads run, and no turn exceeds ``TURN_LIMIT_SECONDS``."""
        turning = time.monotonic() - self._turned < TURN_LIMIT_SECONDS
        return turning and self._thread.is_alive() and self._packer.is_alive

    def _run_thread(self) -> None:
        while not self._stop.is_set():
            pause = FAILURE_PAUSE_SECONDS
            self._turned = time.monotonic()
            try:
                self._run_turn()
                waits = self._exchange.has_messages_in_flight or self._news or self._unsent
                pause = POLL_INTERVAL_SECONDS if waits else QUEUE_CHECK_INTERVAL_SECONDS
            except StorageError as error:
                log.error(
                    "cannot read or write; going on in %.0f s: %s", FAILURE_PAUSE_SECONDS, error
                )
                self._close_exchange()
            except Exception:  # the worker must outlive a bug
                log.exception(
                    "campaign worker: internal error; going on in %.0f s", FAILURE_PAUSE_SECONDS
                )
                self._close_exchange()
            self._wait_for_packages(pause)
        self._close_exchange()

    def _wait_for_packages(self, time_limit_seconds: float) -> None:
        """Wait for a time, but no longer than until the worker stops or a package was made."""
        end = time.monotonic() + time_limit_seconds
        while (remaining := end - time.monotonic()) > 0:
            is_stopped, packages_made = (
                self._stop.wait(min(remaining, POLL_INTERVAL_SECONDS)),
                self._packer.poll_new_packages(),
            )
            self._news |= packages_made
            if is_stopped or packages_made:
                return

    def _close_exchange(self) -> None:
        self._packer.replace_requests({})
        try:
            self._exchange.close()
        except Exception:  # closing the run may fail, too
            log.exception("campaign worker: messages on their way cannot be withdrawn")

    def _run_turn(self, *, pause_factor: float = 20.0) -> None:
        """Handle new replies and packages; at intervals, do all that queued campaigns need.

        Args:
            pause_factor: Pause between checks of all campaigns, in multiples of a check's duration.
        """
        replies = self._exchange.poll_replies()
        self._news |= bool(replies) or self._packer.poll_new_packages()
        due = time.monotonic() >= (self._next_look if self._news else self._next_idle_look)
        if not (replies or due or self._unsent):
            return
        if not self._holds_serving_lock():
            self._close_exchange()
            return
        self._exchange.handle_replies(replies, self._current_request)
        if not due:
            self._unsent = self._unsent and self._exchange.send_remaining_requests()
            return
        start = time.monotonic()
        asks = self._advance_campaigns()
        took = time.monotonic() - start
        self._news, self._unsent = False, self._exchange.send_requests(asks)
        end = time.monotonic()
        self._next_look = end + pause_factor * took
        self._next_idle_look = end + max(QUEUE_CHECK_INTERVAL_SECONDS, pause_factor * took)

    def _current_request(self, campaign_id: str, site_name: str) -> SiteRequest | None:
        """Return the request that a campaign has to send to a site now, or None."""
        try:
            campaign, site = (
                self._queue.find_campaign(campaign_id, site=site_name),
                self._store.require_site(site_name),
            )
            task = campaign.find_task(site_name)
        except ConfigError:
            return None
        phase = self._phases.get(task.state)
        if campaign.state != "running" or site.state != "enrolled" or phase is None:
            return None
        return SiteRequest(campaign, task, site, phase)

    def _holds_serving_lock(self) -> bool:
        """Return whether this process still has the lock to serve the store; log a change."""
        if self._serving_lock is None:
            return True
        holds = self._serving_lock.is_held()
        if holds != self._held:
            log.warning("the store is %s", "ours again" if holds else "served by another process")
            self._held = holds
        return holds

    def _advance_campaigns(self) -> list[SiteRequest]:
        """Do all that is due in every campaign, and return the current requests to sites."""
        ids = self._queue.start_queued_campaigns()
        sites = self._store.sites_in_campaigns(ids)
        asks: list[SiteRequest] = []
        packages_due: dict[str, list[str]] = {}
        for campaign_id in ids:
            with logs.log_context(campaign=campaign_id):
                try:
                    campaign = self._current_campaign(campaign_id, sites)
                except StorageError:
                    raise  # a full disk or a lost database concerns all campaigns
                except WgError as error:  # the generator is unusable; nothing else is read here
                    log.warning("campaign %s: %s", campaign_id, error)
                    self._count_failure(
                        campaign_id, str(error), status_reasons.GENERATOR_UNUSABLE_CODE
                    )
                    continue
                except Exception:
                    log.exception("campaign %s: internal error", campaign_id)
                    why = "internal error; see the server's log"
                    self._count_failure(campaign_id, why, InternalError.code)
                    continue
            self._failures.pop(campaign_id, None)
            if campaign is None:
                continue
            packages_due[campaign_id] = [
                task.site for task in schedule.tasks_to_package(campaign, time.time())
            ]
            asks += [
                SiteRequest(campaign, task, sites[task.site], self._phases[task.state])
                for task in campaign.tasks
                if task.state in self._phases and task.site in sites
            ]
        if self._serving_lock is not None:
            self._packer.replace_requests(packages_due)
        return asks

    def _current_campaign(
        self, campaign_id: str, sites: Mapping[str, StoredSite]
    ) -> Campaign | None:
        """Return a campaign if it is running; the main server process advances it first."""
        if self._serving_lock is not None:
            return self._advance_campaign(campaign_id, sites)
        try:
            campaign = self._queue.find_campaign(campaign_id)
        except ConfigError:
            return None
        return campaign if campaign.state == "running" else None

    def _count_failure(self, campaign_id: str, reason: str, code: str) -> None:
        """Count a failure of a campaign, and end the campaign after several."""
        work_tries = 5
        self._failures[campaign_id] += 1
        if self._serving_lock is None:
            return
        if self._failures[campaign_id] >= work_tries:
            del self._failures[campaign_id]
            self._finish_campaign(campaign_id, reason=reason, code=code)

    def _advance_campaign(
        self, campaign_id: str, sites: Mapping[str, StoredSite]
    ) -> Campaign | None:
        """Advance one campaign as far as possible, and return it; None if it is not running.

        Raises:
            WgError: The campaign's generator cannot be used.
        """
        while True:
            try:
                campaign = self._queue.find_campaign(campaign_id)
            except ConfigError:
                return None
            if campaign.state == "cancelling" or (
                campaign.state == "running"
                and schedule.is_campaign_over(campaign, sites, time.time())
            ):
                self._finish_campaign(campaign_id)
                return None
            if campaign.state != "running":
                return None
            if campaign.generator:
                versions.verified_version(self._home, campaign.generator)
            if not self._end_and_reopen_tasks(campaign, sites):
                return campaign

    def _end_and_reopen_tasks(self, campaign: Campaign, sites: Mapping[str, StoredSite]) -> bool:
        """End tasks that are overdue or of revoked sites, and reopen tasks for better packages.

        Returns:
            True if any task changed.
        """
        current_time = time.time()
        removed_ids = [
            task
            for task in campaign.tasks
            if task.state in OPEN_TASK_STATES and task.site not in sites
        ]
        for task in removed_ids:
            self._queue.update_task(campaign.id, task.site, state="failed", code="revoked")
        late = [
            task for task in schedule.overdue_tasks(campaign, current_time) if task.site in sites
        ]
        if late:
            self._expire_tasks(campaign, late, current_time)
        better = [
            task.site
            for task in schedule.tasks_due_for_better_package(campaign, sites, current_time)
        ]
        if better:
            log.info("campaign %s: better packages for %d sites?", campaign.id, len(better))
            newest = max(task.received for task in campaign.tasks)
            self._queue.reopen_tasks(campaign.id, better, max(current_time, newest))
        return bool(removed_ids or late or better)

    def _expire_tasks(
        self, campaign: Campaign, late_tasks: list[CampaignTask], current_time: float
    ) -> None:
        """Mark overdue tasks as expired, with the reason."""
        statuses = site_refusals.site_statuses_by_name(self._store, campaign_id=campaign.id)
        for task in late_tasks:
            code, figure = offline_codes.missed_deadline_code_and_figure(
                task, statuses[task.site], current_time
            )
            log.warning("campaign %s: %s is left out: %s", campaign.id, task.site, code)
            self._queue.update_task(
                campaign.id, task.site, state="expired", code=code, figure=figure
            )

    def _finish_campaign(self, campaign_id: str, *, reason: str = "", code: str = "") -> None:
        is_ended = self._queue.finish_campaign(campaign_id, reason=reason, code=code)
        self._delete_expired_packages()
        if is_ended.state != "failed":
            log.info("campaign %s: %s", campaign_id, is_ended.state)
            return
        log.error("campaign %s: failed: %s", campaign_id, is_ended.reason)
        actor = Actor(self._config.name, "server")
        operators.add_log_entry(self._store, actor, "campaign failed", campaign_id, is_ended.reason)

    def _delete_expired_packages(self) -> None:
        """Delete the files of expired packages, which no plant accepts any more."""
        limit = time.time() - PACKAGE_LIFETIME.total_seconds()
        for path in self._home.packages_folder.glob("*.wgw"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
            except OSError as error:
                log.warning("package %s: cannot be deleted: %s", path.stem, error.strerror)
