"""Durable queue of campaigns; any number of campaigns run at the same time.

Request ids are drawn once, when a campaign is queued, and survive restarts of server and plants, so
that a repeated request with the same id is harmless. Each change of state is decided and recorded
in one transaction.
"""

# long: every change of a campaign's state is a method of one class

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLASS_STATISTICS, StatisticsKind
from wg_server.store import campaigns, database, schema
from wg_server.store.campaigns import OPEN_CAMPAIGN_STATES, OPEN_TASK_STATES, Campaign, TaskState
from wg_server.store.releases import USABLE_STATUSES, StoredRelease, insert_release

log = logging.getLogger(__name__)

DEFAULT_MIN_SITES = (
    2  # Default number of releases that a campaign waits for, if it has as many sites
)
DEFAULT_GRACE_SECONDS = 600.0
"""Default time that a campaign waits for more sites after ``min_sites`` releases, seconds."""

_ACTIVE_CAMPAIGN_STATES = ("running", "cancelling")
RETRIABLE_TASK_STATES = ("refused", "failed", "expired", "cancelled")
"""Task states that an operator may retry."""


@dataclass(frozen=True, slots=True)
class CampaignTotals:
    """Counts of campaigns and tasks by state, and payload bytes of all tasks."""

    campaign_counts_by_state: dict[str, int]
    task_counts_by_state: dict[str, int]
    bytes_received: int
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCampaign:
    """Campaign to queue; other fields are those of ``Campaign``.

    Attributes:
        sites: Sites to ask, without repetition.
        min_sites: Number of releases to wait for; None: 2, or 1 for a single site.
        id: Id of the campaign; empty: a new id is drawn.
        skip_codes_by_site: Further sites, which are not asked, each with one of
            ``NOT_ASKED_CODES``.
    """

    sites: Sequence[str]
    epsilon: str
    delta: str
    purpose: str
    encoder: str
    collect_seconds: float
    deliver_seconds: float
    min_sites: int | None = None
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    id: str = ""
    generator: str = ""
    statistics: StatisticsKind = CLASS_STATISTICS
    skip_codes_by_site: Mapping[str, str] = field(default_factory=dict)


_CAMPAIGN_COLUMNS = tuple(
    {column.name for column in fields(NewCampaign)}
    - {"sites", "min_sites", "id", "skip_codes_by_site"}
)


class TaskTraffic(NamedTuple):
    """Number of messages sent to a site, and payload bytes received from it and sent to it."""

    messages: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


NO_TRAFFIC = TaskTraffic()


class TaskChanges(TypedDict, total=False):
    """Changes of a campaign's task; fields that are absent stay as they are.

    Attributes:
        state: New state of the task.
        code: Word for why the task ended early, or the site's last answer; else empty.
        release_id: Id of the release that answered the query.
        delivery_id: Logical id of the delivery.
        package_sha256: SHA-256 of the newest package, hex.
        asked: Time of the first message of the current step, Unix seconds.
        answered: Time at which the release reached this campaign, Unix seconds.
        made: Time at which the making of the newest package began, Unix seconds.
        figure: Number that ``code`` refers to: a Unix time, or a duration in seconds.
        release: Verified release that answered the query, to be stored in the same transaction.
        traffic: Numbers to add to the task's counts.
    """

    state: TaskState
    code: str
    release_id: str
    delivery_id: str
    package_sha256: str
    asked: float
    answered: float
    made: float
    figure: float
    release: StoredRelease
    traffic: TaskTraffic


class CampaignQueue:
    """Stored campaigns and their tasks; each method makes one allowed change of state, or reads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_campaign(self, campaign: NewCampaign, *, current_time: float | None = None) -> Campaign:
        """Add a campaign to the queue.

        Raises:
            ConfigError: There is no site, a site is repeated or not enrolled, or ``min_sites`` is
                not between 1 and the number of sites.
        """
        current_time = time.time() if current_time is None else current_time
        sites = campaign.sites
        if not sites or len(set(sites)) != len(sites):
            raise ConfigError("campaign: expected at least one site, and each once")
        min_sites = campaign.min_sites
        if min_sites is None:
            min_sites = min(DEFAULT_MIN_SITES, len(sites))
        if not 1 <= min_sites <= len(sites):
            raise ConfigError(f"campaign: {min_sites} of {len(sites)} sites to wait for")
        campaign_id = campaign.id or new_campaign_id()
        with self._engine.begin() as connection:
            _check_enrolled(connection, sites)
            connection.execute(
                schema.campaign_table.insert().values(
                    id=campaign_id,
                    created=current_time,
                    min_sites=min_sites,
                    **{name: getattr(campaign, name) for name in _CAMPAIGN_COLUMNS},
                )
            )
            parts = [(site, "waiting", "") for site in sites]
            parts += [
                (site, "cancelled", code) for site, code in campaign.skip_codes_by_site.items()
            ]
            rows = [
                _waiting_task_row(campaign_id, site, current_time) | {"state": state, "code": code}
                for site, state, code in parts
            ]
            connection.execute(schema.task_table.insert(), rows)
            return campaigns.load_campaign(connection, campaign_id)

    def find_campaign(self, campaign_id: str, *, site: str = "") -> Campaign:
        """Return one campaign with its tasks; if ``site`` is given, with only that site's task.

        Raises:
            ConfigError: No campaign has this id.
        """
        with database.read_connection(self._engine) as connection:
            return campaigns.load_campaign(connection, campaign_id, site=site)

    def newest_campaigns(
        self, limit: int | None = None, *, with_tasks: bool = True
    ) -> list[Campaign]:
        """Return the newest ``limit`` campaigns, newest first, with their tasks or only counts.

        Args:
            with_tasks: True to load the tasks; False to only count them.
        """
        table = schema.campaign_table
        query = sa.select(table).order_by(table.c.created.desc()).limit(limit)
        with database.read_connection(self._engine) as connection:
            rows = connection.execute(query).all()
            if not with_tasks:
                return [campaigns.campaign_with_counts(connection, row) for row in rows]
            return [campaigns.load_campaign(connection, row.id) for row in rows]

    def count_totals(self) -> CampaignTotals:
        """Return counts and payload bytes over all campaigns."""
        task, campaign = schema.task_table, schema.campaign_table
        with database.read_connection(self._engine) as connection:
            campaigns, tasks = (
                {
                    str(row.state): int(row.number)
                    for row in connection.execute(
                        sa.select(table.c.state, sa.func.count().label("number")).group_by(
                            table.c.state
                        )
                    )
                }
                for table in (campaign, task)
            )
            sums = connection.execute(
                sa.select(
                    *(
                        sa.func.coalesce(sa.func.sum(column), 0)
                        for column in (task.c.bytes_received, task.c.bytes_sent)
                    )
                )
            ).one()
        return CampaignTotals(campaigns, tasks, *map(int, sums))

    def generator_ids_in_use(self) -> set[str]:
        """Return the ids of the generators that unfinished campaigns use."""
        table = schema.campaign_table
        query = (
            sa.select(table.c.generator).where(table.c.state.in_(OPEN_CAMPAIGN_STATES)).distinct()
        )
        return {str(row.generator) for row in database.fetch_rows(self._engine, query)} - {""}

    def newest_failure_time(self) -> float | None:
        """Return the time at which a campaign last failed, Unix seconds, or None."""
        table = schema.campaign_table
        query = sa.select(sa.func.max(table.c.finished).label("newest"))
        row = database.fetch_first_row(self._engine, query.where(table.c.state == "failed"))
        return None if row is None or row.newest is None else float(row.newest)

    def oldest_queued_campaign_time(self) -> float | None:
        """Return the time at which the oldest campaign that is still queued was queued, or None."""
        table = schema.campaign_table
        query = sa.select(sa.func.min(table.c.created).label("oldest"))
        row = database.fetch_first_row(self._engine, query.where(table.c.state == "queued"))
        return None if row is None or row.oldest is None else float(row.oldest)

    def start_queued_campaigns(self, current_time: float | None = None) -> list[str]:
        """Start all queued campaigns, and return the ids of running ones, oldest first.

        A campaign that another process has locked, for instance to cancel it, is skipped this time.
        """
        table = schema.campaign_table
        with database.read_connection(self._engine) as connection:
            queued_id = connection.execute(sa.select(table.c.id).where(table.c.state == "queued"))
            campaign_ids = [row.id for row in queued_id]
        if campaign_ids:
            self._mark_queued_as_running(time.time() if current_time is None else current_time)
        query = sa.select(table.c.id).where(table.c.state.in_(_ACTIVE_CAMPAIGN_STATES))
        order = table.c.created, table.c.id
        return [row.id for row in database.fetch_rows(self._engine, query.order_by(*order))]

    def _mark_queued_as_running(self, current_time: float) -> None:
        """Start all queued campaigns, and with them the deadlines of their sites."""
        campaign, task = schema.campaign_table, schema.task_table
        with self._engine.begin() as connection:
            query = sa.select(campaign.c.id).where(campaign.c.state == "queued")
            rows = connection.execute(query.with_for_update(skip_locked=True))
            ids = [row.id for row in rows]
            connection.execute(
                campaign.update()
                .where(campaign.c.id.in_(ids))
                .values(state="running", started=current_time)
            )
            connection.execute(
                task.update().where(task.c.campaign.in_(ids)).values(opened=current_time)
            )
        for campaign_id in ids:
            log.info("campaign %s: begun", campaign_id)

    def cancel_campaign(self, campaign_id: str) -> Campaign:
        """Cancel a campaign: it ends at once if it has not started, else at the worker's next turn.

        Raises:
            ConfigError: No campaign has this id, or it ended already.
        """
        with self._engine.begin() as connection:
            campaign = _load_unfinished_campaign(connection, campaign_id)
            if campaign.started:
                _update_campaign_row(connection, campaign_id, state="cancelling")
            else:
                _finish_campaign(connection, campaign_id, "cancelled")
            return campaigns.load_campaign(connection, campaign_id)

    def pause_campaign(self, campaign_id: str, current_time: float | None = None) -> Campaign:
        """Pause a campaign: no site is asked until it is resumed, and its deadlines stop.

        Raises:
            ConfigError: No campaign has this id, or it ended already or is being cancelled.
        """
        with self._engine.begin() as connection:
            campaign = _load_unfinished_campaign(connection, campaign_id)
            if campaign.state == "cancelling":
                raise ConfigError(f"campaign {campaign_id}: it is being cancelled")
            if campaign.state != "paused":
                at = time.time() if current_time is None else current_time
                _update_campaign_row(connection, campaign_id, state="paused", paused_at=at)
            return campaigns.load_campaign(connection, campaign_id)

    def resume_campaign(self, campaign_id: str, current_time: float | None = None) -> Campaign:
        """Resume a paused campaign, and postpone its deadlines by the pause.

        Raises:
            ConfigError: No campaign has this id, or it is not paused.
        """
        table = schema.task_table
        with self._engine.begin() as connection:
            campaign = campaigns.load_campaign(connection, campaign_id, for_update=True)
            if campaign.state != "paused":
                raise ConfigError(f"campaign {campaign_id}: {campaign.state}, expected paused")
            pause = max(
                (time.time() if current_time is None else current_time) - campaign.paused_at, 0.0
            )
            condition = sa.and_(
                table.c.campaign == campaign_id, table.c.state.in_(OPEN_TASK_STATES)
            )
            for clock in (table.c.opened, table.c.asked):
                connection.execute(
                    table.update().where(condition, clock > 0).values({clock: clock + pause})
                )
            state = "running" if campaign.started else "queued"
            _update_campaign_row(connection, campaign_id, state=state, paused_at=0.0)
            return campaigns.load_campaign(connection, campaign_id)

    def retry_task(
        self,
        campaign_id: str,
        site: str,
        *,
        generator_version_id: str = "",
        current_time: float | None = None,
    ) -> Campaign:
        """Reopen a site's task that ended without a package, even after the campaign ended.

        If ``generator_version_id`` is given, later packages of the campaign are made with it.

        An expired query is repeated under its old id, so that a decision made at the plant since
        then still holds. A refused or failed one gets a new id: if the site still has its earlier
        release, it answers with that release and is charged nothing.

        Raises:
            ConfigError: No campaign has this id, it was cancelled, the site has no task in it or
                its task did not end in one of ``RETRIABLE_TASK_STATES``, the site is not enrolled,
                or its release is in quarantine.
        """
        table = schema.task_table
        current_time = time.time() if current_time is None else current_time
        with self._engine.begin() as connection:
            campaign = campaigns.load_campaign(connection, campaign_id, for_update=True)
            if campaign.state in ("cancelling", "cancelled"):
                raise ConfigError(f"campaign {campaign_id}: {campaign.state}; start another one")
            task = campaign.find_task(site)
            if task.state not in RETRIABLE_TASK_STATES:
                raise ConfigError(
                    f"campaign {campaign_id}: {site}: {task.state},"
                    f" expected one of {', '.join(RETRIABLE_TASK_STATES)}"
                )
            _check_retry_possible(connection, site, task.release_id)
            again = _waiting_task_row(campaign_id, site, current_time)
            if task.state == "expired":
                del again["query_id"]
            again |= {"opened": current_time, "state": "released" if task.release_id else "waiting"}
            again |= {"code": "", "package_sha256": "", "served": 0, "tries": 0}
            again |= dict.fromkeys(("asked", "made", "figure"), 0.0)
            connection.execute(
                table.update()
                .where(table.c.campaign == campaign_id, table.c.site == site)
                .values(again)
            )
            values: dict[str, object] = {}
            if generator_version_id:
                values["generator"] = generator_version_id
            if campaign.state not in OPEN_CAMPAIGN_STATES:
                values |= {"state": "running", "reason": "", "finished": None}
                values["started"] = campaign.started or current_time
            if values:
                _update_campaign_row(connection, campaign_id, **values)
            return campaigns.load_campaign(connection, campaign_id)

    def reopen_tasks(self, campaign_id: str, sites: Sequence[str], current_time: float) -> None:
        """Reopen delivered tasks of some sites, so that better packages are made from all releases.

        The new delivery ids are set when the packages are made.
        """
        table = schema.task_table
        with self._engine.begin() as connection:
            is_delivered = table.c.site.in_(sites) & (table.c.state == "delivered")
            connection.execute(
                table.update()
                .where(table.c.campaign == campaign_id, is_delivered)
                .values(state="released", code="", tries=0)
                .values(opened=current_time, asked=0.0, made=current_time, updated=current_time)
            )

    def finish_campaign(self, campaign_id: str, *, reason: str = "", code: str = "") -> Campaign:
        """End a campaign, unless it has ended already, and return it.

        An open task becomes ``delivered`` if its site got a package before. Otherwise it becomes
        ``cancelled`` if the campaign was being cancelled, ``failed`` if the campaign failed, and
        ``expired`` if it ended in another way.

        Args:
            reason: Reason why the campaign failed; if empty, it failed only if no site was served
                and some task failed.
            code: Code for each task that was open; empty: the tasks keep their codes.
        """
        with self._engine.begin() as connection:
            campaign = campaigns.load_campaign(connection, campaign_id, for_update=True)
            if campaign.state not in OPEN_CAMPAIGN_STATES:
                return campaign
            progress = campaign.progress
            asked_count = progress.asked_count
            failure_codes = [task.code for task in campaign.tasks if task.state == "failed"]
            if not progress.served_count and failure_codes and not reason:
                codes = ", ".join(sorted(set(failure_codes)))
                reason = (
                    f"no site was served, and {len(failure_codes)} of {asked_count} failed: {codes}"
                )
            if campaign.state == "cancelling":
                state, reason = "cancelled", ""
            elif reason:
                state = "failed"
            else:
                state = "done" if progress.served_count == asked_count else "partial"
            _finish_campaign(connection, campaign_id, state, reason, code)
            return campaigns.load_campaign(connection, campaign_id)

    def update_task(
        self,
        campaign_id: str,
        site: str,
        *,
        required_state: str = "",
        **changes: Unpack[TaskChanges],
    ) -> None:
        """Change an open task, and store its release, if given, in the same transaction.

        If the site has a package already and a better one fails, the task ends as ``delivered``.

        Args:
            required_state: Required current state of the task; empty: any open state.
            changes: Changes of the task.
        """
        table = schema.task_table
        release, traffic = changes.get("release"), changes.get("traffic", NO_TRAFFIC)
        values: dict[str, object] = {
            name: value for name, value in changes.items() if name not in ("release", "traffic")
        }
        state = changes.get("state")
        if state == "packaged":  # a new step begins
            values = {"opened": time.time(), "asked": 0.0, "tries": 0, **values}
        elif state == "delivered":
            values["served"] = table.c.served + 1
        elif state is not None and state not in OPEN_TASK_STATES:
            values["state"] = _final_task_state(state)
        states = (required_state,) if required_state else OPEN_TASK_STATES
        values.setdefault("tries", table.c.tries + traffic.messages)
        with self._engine.begin() as connection:
            if release is not None:
                insert_release(connection, release)
            connection.execute(
                table.update()
                .where(
                    table.c.campaign == campaign_id, table.c.site == site, table.c.state.in_(states)
                )
                .values(
                    messages=table.c.messages + traffic.messages,
                    bytes_received=table.c.bytes_received + traffic.bytes_received,
                    bytes_sent=table.c.bytes_sent + traffic.bytes_sent,
                    updated=time.time(),
                    **values,
                )
            )


def new_campaign_id() -> str:
    """Return a new, unused id for a campaign."""
    return secrets.token_hex(16)


def _check_enrolled(connection: Connection, sites: Sequence[str]) -> None:
    table = schema.site_table
    query = sa.select(table.c.name).where(table.c.name.in_(sites), table.c.state == "enrolled")
    missing = sorted(set(sites) - {row.name for row in connection.execute(query)})
    if missing:
        raise ConfigError(f"campaign: not enrolled: {', '.join(missing)}")


def _waiting_task_row(campaign_id: str, site: str, current_time: float) -> dict[str, object]:
    """Return the row of a task whose site was not asked yet; other columns have their defaults."""
    ids = {"query_id": secrets.token_hex(16), "delivery_id": secrets.token_hex(16)}
    return {"campaign": campaign_id, "site": site, **ids, "updated": current_time}


def _finish_campaign(
    connection: Connection, campaign_id: str, state: str, reason: str = "", code: str = ""
) -> None:
    current_time = time.time()
    table = schema.task_table
    ending = {"cancelled": "cancelled", "failed": "failed"}.get(state, "expired")
    connection.execute(
        table.update()
        .where(table.c.campaign == campaign_id, table.c.state.in_(OPEN_TASK_STATES))
        .values(
            state=_final_task_state(ending),
            updated=current_time,
            **({"code": code} if code else {}),
        )
    )
    _update_campaign_row(connection, campaign_id, state=state, reason=reason, finished=current_time)


def _update_campaign_row(connection: Connection, campaign_id: str, **values: object) -> None:
    connection.execute(
        schema.campaign_table.update()
        .where(schema.campaign_table.c.id == campaign_id)
        .values(**values)
    )


def _final_task_state(state: str) -> sa.ColumnElement[str]:
    """Return the final state of a task; a site that has a package ends as ``delivered``."""
    return sa.case((schema.task_table.c.served > 0, "delivered"), else_=state)


def _load_unfinished_campaign(connection: Connection, campaign_id: str) -> Campaign:
    campaign = campaigns.load_campaign(connection, campaign_id, for_update=True)
    if campaign.state not in OPEN_CAMPAIGN_STATES:
        raise ConfigError(f"campaign {campaign_id}: {campaign.state} already")
    return campaign


def _check_retry_possible(connection: Connection, site: str, release_id: str) -> None:
    table = schema.site_table
    row = connection.execute(sa.select(table.c.state).where(table.c.name == site)).one()
    if row.state != "enrolled":
        raise ConfigError(f"site {site}: {row.state}, expected enrolled")
    if not release_id:
        return
    release = schema.release_table
    query = sa.select(release.c.standing).where(release.c.release_id == release_id)
    standing = connection.execute(query).scalar_one()
    if standing not in USABLE_STATUSES:
        raise ConfigError(
            f"site {site}: its release is {standing}; first run"
            f" 'wg-server releases --accept {release_id}', if that is right"
        )
