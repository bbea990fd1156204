"""Status of a plant from its home and its node's last contact file, without network access.

Problems are listed with a remedy. A part that cannot be read is itself listed as a problem.
"""

import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from wg_client.models import adoption, store
from wg_common.language import text
from wg_core import snapshot as snapshots
from wg_core.connection import cosigning
from wg_core.errors import ConfigError, WgError
from wg_core.fleet import certificate
from wg_core.fleet.inbox import Inbox
from wg_core.release.budget import ReleaseRow, read_plant_spending
from wg_core.site import config as configuration
from wg_core.site import locks, server_contact
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.server_contact import ContactStatus
from wg_core.wire import protocol

_DAY_SECONDS = timedelta(days=1).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """Spending of the privacy budget, and size of the ledger.

    Attributes:
        epsilon: Composed epsilon of all charges, at the cap's delta.
        cap_epsilon: Largest total epsilon, as decimal text.
        cap_delta: Largest total delta, as decimal text.
        charges: Number of charges.
        burned: Number of charges that led to no release.
        distinguished: Largest probability of guessing right whether a given privacy unit was in the
            data, after all charges, if both are equally likely before.
        entries: Number of entries of the ledger.
        cosigned: Number of these that the server has cosigned.
        releases: Charges with their releases, oldest first.
    """

    epsilon: float
    cap_epsilon: str
    cap_delta: str
    charges: int
    burned: int
    distinguished: float
    entries: int
    cosigned: int
    releases: tuple[ReleaseRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantStatus:
    """Status of a plant: node, data set, budget, models and problems.

    Attributes:
        site: Name of the site.
        server: Name of its server.
        fleet_url: Address of its server.
        running: True if the node runs.
        work: Work of other commands that now lock parts of the home, as sentences.
        contact: Contents of the node's last contact file; None: there is none.
        connected: True if the node runs and the server answered recently.
        certificate_expires: Expiry of the certificate, Unix time; 0: it cannot be read.
        budget: Budget; None: the ledger cannot be read.
        snapshot: Version of the data set from which releases are made; 0: none.
        frozen: Time of that snapshot, Unix time.
        stage: ``pilot``, ``in use`` or ``shadow``.
        model: Name of the model in use; empty: none.
        applied: Time at which its package was applied, Unix time.
        waiting: Number of packages that wait to be applied.
        rejected: Number of packages that could not be applied, and are kept for inspection.
        free_bytes: Free space on the home's disk.
        problems: Problems that need attention, each with its remedy.
    """

    site: str
    server: str
    fleet_url: str
    running: bool
    work: tuple[str, ...]
    contact: ContactStatus | None
    connected: bool
    certificate_expires: float
    budget: BudgetStatus | None
    snapshot: int
    frozen: int
    stage: str
    model: str
    applied: int
    waiting: int
    rejected: int
    free_bytes: int
    problems: tuple[str, ...]


def connection_and_contact(
    home: ClientHome, current_time: float | None = None
) -> tuple[bool, ContactStatus | None]:
    """Return whether the server answered the node recently, and the node's last contact file.

    Raises:
        ConfigError: The home is not initialised.
    """
    home.check_initialised()
    word = server_contact.read(home)
    since = (time.time() if current_time is None else current_time) - server_contact.STALE_SECONDS
    return word is not None and word.written > since and word.state == "connected", word


def collect_status(home: ClientHome, current_time: float | None = None) -> PlantStatus:
    """Collect the status of a plant.

    Raises:
        ConfigError: The home is not initialised.
    """
    current_time = time.time() if current_time is None else current_time
    if home.root.is_dir() and not home.config.exists() and _is_lock_held(locks.lock_node(home)):
        raise ConfigError(
            f"{home.root}: another command makes this home; ask again when it has ended"
        )
    config = configuration.load(home)
    examination = _StatusCollector(home, config, current_time)
    return examination.collect_status()


class _StatusCollector:
    """Collector of a plant's status, and of problems that need attention, from its home."""

    def __init__(self, home: ClientHome, config: ClientConfig, current_time: float) -> None:
        self._home = home
        self._config = config
        self._now = current_time
        self._problems: list[str] = []

    def collect_status(self) -> PlantStatus:
        """Collect the state of the plant's home; problems are listed, not raised."""
        home, config = self._home, self._config
        has_contact, word = connection_and_contact(home, self._now)
        running, work = _is_lock_held(locks.lock_node(home)), _running_work_sentences(home)
        good = has_contact and running
        works_alone = config.pin is None
        if not works_alone:
            self._check_node(running, good, word)
        snapshot = self._snapshot_version_and_time(is_freezing=_FREEZING_SENTENCE in work)
        inbox = Inbox(home)
        rejected_packages = len(inbox.rejected_packages())
        if rejected_packages:
            self._problems.append(
                text(
                    "{count} packages could not be applied: the log says why; they are in {folder}",
                    count=rejected_packages,
                    folder=home.packages / "rejected",
                )
            )
        stage, model, applied_time = self._stage_model_and_time()
        free = shutil.disk_usage(home.root).free
        if free < 2 * protocol.WEIGHTS_BYTES_LIMIT:
            self._problems.append(
                text(
                    "{free} MiB are free; a package may be {most} MiB, and needs twice that",
                    free=free >> 20,
                    most=protocol.WEIGHTS_BYTES_LIMIT >> 20,
                )
            )
        return PlantStatus(
            site=config.site,
            server="" if config.pin is None else config.pin.name,
            fleet_url="" if config.pin is None else config.pin.fleet_url,
            running=running,
            work=work,
            contact=word,
            connected=good,
            certificate_expires=0.0 if works_alone else self._certificate_expiry(),
            budget=self._budget_status(),
            snapshot=snapshot[0],
            frozen=snapshot[1],
            stage=stage,
            model=model,
            applied=applied_time,
            waiting=len(inbox.waiting_packages()),
            rejected=rejected_packages,
            free_bytes=free,
            problems=tuple(self._problems),
        )

    def _check_node(
        self, is_running: bool, is_connected: bool, contact_status: ContactStatus | None
    ) -> None:
        if not is_running:
            why = (
                f" It ended: {contact_status.reason}."
                if contact_status and contact_status.reason
                else ""
            )
            self._problems.append(
                text(
                    "the node does not run.{why} Start it: wg-client run --home {home}",
                    why=why,
                    home=self._home.root,
                )
            )
        elif not is_connected:
            why = (
                contact_status.reason
                if contact_status and contact_status.reason
                else text("it has not been heard of")
            )
            self._problems.append(text("the node is not connected: {why}", why=why))
        elif contact_status and contact_status.reason:
            self._problems.append(
                text("the node is connected, but {why}", why=contact_status.reason)
            )

    def _certificate_expiry(self) -> float:
        try:
            end = certificate.expiry_time(self._home)
            due = certificate.is_renewal_due(self._home, self._now)
        except WgError as error:
            self._problems.append(
                text("{error}; ask for a token, and run wg-client init --replace", error=error)
            )
            return 0.0
        if end < self._now:
            self._problems.append(
                text(
                    "the certificate has ended: ask the operator for a token (wg-server enroll"
                    " --replace), and run wg-client init --replace"
                )
            )
        elif due and end < self._now + _DAY_SECONDS:
            self._problems.append(
                text(
                    "the certificate ends within a day, and was not renewed: wg-client keys"
                    " --renew certificate"
                )
            )
        return end

    def _budget_status(self) -> BudgetStatus | None:
        try:
            spend = read_plant_spending(self._home, self._config)
            _, cosigned = cosigning.signed_sizes(self._home, self._config)
        except WgError as error:
            self._problems.append(f"ledger: {error}")
            return None
        sizes = {witness.name: witness.entry_count for witness in cosigned}
        pin = self._config.pin
        cosigned_entries = spend.ledger_entry_count if pin is None else sizes[pin.witness_name]
        if pin is not None and cosigned_entries < spend.ledger_entry_count:
            self._problems.append(
                text(
                    "entries of the ledger that {server} has not cosigned: {count}. A node that is"
                    " connected has it done within the hour; if not, its log says why",
                    server=pin.name,
                    count=spend.ledger_entry_count - cosigned_entries,
                )
            )
        return BudgetStatus(
            epsilon=spend.epsilon,
            cap_epsilon=spend.cap_epsilon,
            cap_delta=spend.cap_delta,
            charges=spend.charge_count,
            burned=spend.open_charge_count,
            distinguished=spend.best_guess_accuracy,
            entries=spend.ledger_entry_count,
            cosigned=cosigned_entries,
            releases=spend.releases,
        )

    def _snapshot_version_and_time(self, *, is_freezing: bool) -> tuple[int, int]:
        try:
            manifest = snapshots.load_current(self._home).manifest
        except WgError as error:
            if not is_freezing:
                self._problems.append(str(error))
            return 0, 0
        return manifest.number, manifest.created

    def _stage_model_and_time(self) -> tuple[str, str, int]:
        """Return the stage, the model in use, and the time of that model's package."""
        try:
            stage = adoption.read_adoption_history(self._home).stage
            if stage == "pilot" and (sensors := store.sensor_package_paths(self._home)):
                kept_sensor = text("soft sensor, used by 'wg-client soft-sensor'")
                return "in use", kept_sensor, int(sensors[-1].stat().st_mtime)
            if stage == "pilot":
                return stage, "", 0  # not a problem before the first package
            manifest, name = adoption.model_in_use(self._home)
        except WgError as error:
            self._problems.append(f"models: {error}")
            return "", "", 0
        return stage, name, manifest.applied


_FREEZING_SENTENCE = text("the data set is being frozen")


def _running_work_sentences(home: ClientHome) -> tuple[str, ...]:
    """Return the work that other commands now do under a lock of the home, as sentences."""
    work = {
        _FREEZING_SENTENCE: locks.lock_freeze(home),
        text("a release is being made, or the ledger written"): locks.lock_ledger(
            home, busy_message="held"
        ),
        text("the model in use is being changed"): locks.lock_models(home, busy_message="held"),
    }
    return tuple(sentence for sentence, lock in work.items() if _is_lock_held(lock))


def _is_lock_held(lock: AbstractContextManager[None]) -> bool:
    """Return whether another process holds a lock; it must be one that fails without waiting."""
    try:
        with lock:
            return False
    except ConfigError:
        return True
