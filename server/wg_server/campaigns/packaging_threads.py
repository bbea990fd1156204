"""Threads that make the packages of all campaigns.

Packages are made while other sites are still asked. A campaign with a thousand sites does not delay
a small one: campaigns take turns, one package each.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from wg_core import atomic, logs
from wg_core.errors import ConfigError, StorageError, WgError
from wg_core.wire import canonical, protocol
from wg_server.campaigns import release_intake
from wg_server.campaigns.package_comparison import is_more_informative
from wg_server.campaigns.packaging import PackageMaker
from wg_server.campaigns.packaging_process import PackagingProcess
from wg_server.campaigns.release_pools import StoredReleasePools
from wg_server.campaigns.task_isolation import fail_task_on_error
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign, CampaignTask
from wg_server.store.queue import CampaignQueue, TaskChanges
from wg_server.store.server_store import ServerStore

log = logging.getLogger(__name__)

PROCESS_IDLE_SECONDS = 60.0  # Idle time after which a process that makes packages is stopped


class PackagingThreads:
    """Threads that make the requested packages, of tasks in the state ``released`` only."""

    def __init__(
        self, home: ServerHome, store: ServerStore, package_makers: Sequence[PackageMaker]
    ) -> None:
        self._home = home
        self._store = store
        self._queue = CampaignQueue(store.engine)
        self._pools = StoredReleasePools(home, store)
        self._wanted: dict[str, deque[str]] = {}
        self._turns: deque[str] = deque()
        self._lock = threading.Condition()
        self._ended = False
        self._made = threading.Event()
        self._at_work: set[tuple[str, str]] = set()
        self._threads = [
            threading.Thread(target=self._run_thread, args=(maker,), name="wg-packages")
            for maker in package_makers
        ]

    def start(self) -> None:
        """Start the threads that make packages."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the packages in progress, and end the threads."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def is_alive(self) -> bool:
        """True while all packaging threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def replace_requests(self, sites_by_campaign: Mapping[str, Iterable[str]]) -> None:
        """Replace the requests: the sites of each campaign that need a package now."""
        with self._lock:
            requests = {
                name: deque(site for site in sites if (name, site) not in self._at_work)
                for name, sites in sites_by_campaign.items()
            }
            self._wanted = {name: sites for name, sites in requests.items() if sites}
            turns = [name for name in self._turns if name in self._wanted]
            self._turns = deque(turns + [name for name in self._wanted if name not in turns])
            if self._turns:
                self._lock.notify_all()

    def poll_new_packages(self) -> bool:
        """Return whether packages were made, or could not be made, since the last call."""
        is_finished = self._made.is_set()
        self._made.clear()
        return is_finished

    def _run_thread(self, maker: PackageMaker, *, retry_pause_seconds: float = 5.0) -> None:
        while (turn := self._next_campaign_and_site(maker)) is not None:
            campaign, site = turn
            try:
                with logs.log_context(campaign=campaign, site=site):
                    self._package_for_task(maker, campaign, site)
            except StorageError as error:
                log.error("package: %s; going on in %.0f s", error, retry_pause_seconds)
                with self._lock:
                    self._lock.wait_for(lambda: self._ended, retry_pause_seconds)
            except WgError as error:
                log.error("package: %s", error)
            except Exception:  # the thread must outlive a bug in one package
                log.exception("package: internal error")
            with self._lock:
                self._at_work.discard(turn)
            self._made.set()

    def _next_campaign_and_site(self, maker: PackageMaker) -> tuple[str, str] | None:
        """Return the next campaign and site to make a package for, or None after ``stop``."""
        with self._lock:
            while not self._lock.wait_for(lambda: self._turns or self._ended, PROCESS_IDLE_SECONDS):
                _stop_process(maker)
            if self._ended:
                _stop_process(maker)
                return None
            campaign = self._turns.popleft()
            sites = self._wanted[campaign]
            site = sites.popleft()
            if sites:
                self._turns.append(campaign)
            else:
                del self._wanted[campaign]
            self._at_work.add((campaign, site))
            return campaign, site

    def _package_for_task(self, maker: PackageMaker, campaign_id: str, site: str) -> None:
        try:
            campaign = self._queue.find_campaign(campaign_id, site=site)
            task = campaign.find_task(site)
        except ConfigError:
            return
        if campaign.state != "running" or task.state != "released":
            return
        about = logs.log_context(request=task.delivery_id)
        with about, fail_task_on_error(self._queue, campaign_id, site, "package"):
            look_time = max(time.time(), task.made)
            delivery_id = _better_package_delivery_id(task) if task.served else task.delivery_id
            data = self._load_or_make_package(maker, campaign, task, delivery_id)
            changes: TaskChanges = {
                "state": "packaged",
                "code": "",
                "delivery_id": delivery_id,
                "package_sha256": canonical.sha256_hex(data),
                "made": look_time,
            }
            if task.served and not is_more_informative(
                self._home.package_path(task.delivery_id), data
            ):
                log.info("campaign %s: nothing better for %s", campaign_id, site)
                self._home.package_path(delivery_id).unlink(missing_ok=True)
                # The site keeps its package.
                changes = {"state": "expired", "code": "", "made": look_time}
            self._queue.update_task(campaign_id, site, **changes)

    def _load_or_make_package(
        self, maker: PackageMaker, campaign: Campaign, task: CampaignTask, delivery_id: str
    ) -> bytes:
        """Return the package for a site's task from its file, or make and write the package."""
        path = self._home.package_path(delivery_id)
        if path.is_file():
            return atomic.read_bytes(path, limit=protocol.WEIGHTS_BYTES_LIMIT)
        stored_release = self._store.require_release(task.release_id)
        release_intake.check_release_usable(stored_release)
        plant = release_intake.load_recipient(stored_release)
        data = maker(self._home, self._pools, plant, delivery_id, campaign.generator)
        atomic.write_bytes(path, data, mode=atomic.PRIVATE_FILE_MODE)
        log.info("campaign %s: package of %d bytes for %s", campaign.id, len(data), task.site)
        return data


def _stop_process(maker: PackageMaker) -> None:
    if isinstance(maker, PackagingProcess):
        maker.stop_process()


def _better_package_delivery_id(task: CampaignTask) -> str:
    """Derive a better package's delivery id from the previous package: a restart gives it again."""
    return canonical.sha256_hex(f"{task.delivery_id} {task.package_sha256}".encode())[:32]
