r"""The durable queue of campaigns: what was asked of whom, and how far it got.

A campaign is one statistics query to each of its sites, then one weights package for each site
that answered. Request ids are made once, when the campaign is queued, and survive restarts of
either side: asking again under the same id is harmless. States of a task::

    waiting -> released -> packaged -> delivered
         \-> refused  \-> failed  \-> expired       (each final)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_common.errors import ConfigError
from wg_server.store import database, schema
from wg_server.store.releases import StoredRelease, put_release

CampaignState = Literal["queued", "running", "cancelling", "cancelled", "done", "partial", "failed"]
TaskState = Literal[
    "waiting", "released", "packaged", "delivered", "refused", "failed", "expired", "cancelled"
]
OPEN_CAMPAIGNS = ("queued", "running", "cancelling")
OPEN_TASKS = ("waiting", "released", "packaged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One site's part in a campaign.

    Attributes:
        site: The site.
        query_id: Logical id of the statistics query.
        delivery_id: Logical id of the delivery.
        state: How far it got.
        code: Why it ended early: a word of the site or of the server; else empty.
        release_id: The release that answered; empty before.
        package_sha256: The package made; empty before.
        messages: Messages sent for it, those sent again included.
        bytes_received: Payload bytes from the site.
        bytes_sent: Payload bytes to the site.
        updated: When it last changed.
    """

    site: str
    query_id: str
    delivery_id: str
    state: TaskState
    code: str
    release_id: str
    package_sha256: str
    messages: int
    bytes_received: int
    bytes_sent: int
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign with its tasks, by site.

    Attributes:
        id: Its id.
        created: When it was queued.
        purpose: What the releases are for.
        epsilon: Asked of each site.
        delta: Asked of each site.
        encoder: The encoder that sites must hold.
        collect_until: Sites that have not answered by then are left out.
        deliver_until: Packages that were not taken by then expire.
        state: How far it got; ``partial``: finished, and not every site was served.
        reason: Why it failed, if it did.
        finished: When it ended.
        tasks: One for each site.
    """

    id: str
    created: float
    purpose: str
    epsilon: str
    delta: str
    encoder: str
    collect_until: float
    deliver_until: float
    state: CampaignState
    reason: str
    finished: float | None
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Campaigns and tasks by state; messages and payload bytes of all tasks."""

    campaigns: dict[str, int]
    tasks: dict[str, int]
    messages: int
    bytes_received: int
    bytes_sent: int


class CampaignQueue:
    """Campaigns in the store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self,
        sites: Sequence[str],
        *,
        epsilon: str,
        delta: str,
        purpose: str,
        encoder: str,
        collect_seconds: float,
        deliver_seconds: float,
        now: float | None = None,
    ) -> Campaign:
        """Queue a campaign.

        Raises:
            ConfigError: No site, a site twice, or one that is not enrolled.
        """
        now = time.time() if now is None else now
        if not sites or len(set(sites)) != len(sites):
            raise ConfigError("campaign: expected at least one site, and each once")
        campaign_id = secrets.token_hex(16)
        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(schema.site.c.name).where(
                    schema.site.c.name.in_(sites), schema.site.c.state == "enrolled"
                )
            )
            missing = sorted(set(sites) - {row.name for row in rows})
            if missing:
                raise ConfigError(f"campaign: not enrolled: {', '.join(missing)}")
            connection.execute(
                schema.campaign.insert().values(
                    id=campaign_id,
                    created=now,
                    purpose=purpose,
                    epsilon=epsilon,
                    delta=delta,
                    encoder=encoder,
                    collect_until=now + collect_seconds,
                    deliver_until=now + collect_seconds + deliver_seconds,
                    state="queued",
                    reason="",
                )
            )
            connection.execute(
                schema.task.insert(), [_waiting(campaign_id, site, now) for site in sites]
            )
            return _load(connection, campaign_id)

    def show(self, campaign_id: str) -> Campaign:
        """One campaign.

        Raises:
            ConfigError: There is none of this id.
        """
        with database.reading(self._engine) as connection:
            return _load(connection, campaign_id)

    def all(self) -> list[Campaign]:
        """All campaigns, newest first."""
        table = schema.campaign
        with database.reading(self._engine) as connection:
            ids = connection.execute(sa.select(table.c.id).order_by(table.c.created.desc()))
            return [_load(connection, row.id) for row in ids.all()]

    def totals(self) -> Totals:
        """Figures over all campaigns, counted by the database."""
        task, campaign = schema.task, schema.campaign
        with database.reading(self._engine) as connection:
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
                        for column in (task.c.messages, task.c.bytes_received, task.c.bytes_sent)
                    )
                )
            ).one()
        messages, received, sent = map(int, sums)
        return Totals(campaigns, tasks, messages, received, sent)

    def may_fetch(self, site: str, delivery_id: str) -> bool:
        """Whether a package was made for this site and waits to be fetched by it."""
        task, campaign = schema.task, schema.campaign
        query = (
            sa.select(task.c.site)
            .join(campaign, campaign.c.id == task.c.campaign)
            .where(
                task.c.delivery_id == delivery_id,
                task.c.site == site,
                task.c.state == "packaged",
                campaign.c.state == "running",
            )
        )
        return database.first(self._engine, query) is not None

    def claim(self) -> Campaign | None:
        """The campaign to work on, running from here: one that was interrupted, else the oldest.

        One that another process holds just now, to cancel it say, is passed over.
        """
        table = schema.campaign
        with self._engine.begin() as connection:
            row = connection.execute(
                sa.select(table.c.id)
                .where(table.c.state.in_(OPEN_CAMPAIGNS))
                .order_by(table.c.state == "queued", table.c.created)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).first()
            if row is None:
                return None
            connection.execute(
                table.update()
                .where(table.c.id == row.id, table.c.state == "queued")
                .values(state="running")
            )
            return _load(connection, row.id)

    def cancel(self, campaign_id: str) -> Campaign:
        """Ask for a campaign to end; one that only waits ends at once.

        Raises:
            ConfigError: There is none of this id, or it ended already.
        """
        with self._engine.begin() as connection:
            found = _load(connection, campaign_id, lock=True)
            if found.state not in OPEN_CAMPAIGNS:
                raise ConfigError(f"campaign {campaign_id}: {found.state} already")
            if found.state == "queued":
                _finish(connection, campaign_id, "cancelled", "", time.time())
            else:
                _set_campaign(connection, campaign_id, state="cancelling")
            return _load(connection, campaign_id)

    def finish(self, campaign_id: str, reason: str = "") -> Campaign:
        """End a campaign: what is still open in it expires, or is cancelled or failed."""
        with self._engine.begin() as connection:
            found = _load(connection, campaign_id, lock=True)
            if found.state not in OPEN_CAMPAIGNS:
                return found
            served = all(task.state == "delivered" for task in found.tasks)
            if found.state == "cancelling":
                state = "cancelled"
            elif reason:
                state = "failed"
            else:
                state = "done" if served else "partial"
            _finish(connection, campaign_id, state, reason, time.time())
            return _load(connection, campaign_id)

    def update(
        self,
        campaign_id: str,
        site: str,
        *,
        release: StoredRelease | None = None,
        messages: int = 0,
        bytes_received: int = 0,
        bytes_sent: int = 0,
        **values: Any,
    ) -> None:
        """Change a task that is not final yet; a release is stored in the same transaction.

        Args:
            campaign_id: The campaign.
            site: The site.
            release: A verified release that answered it.
            messages: Added to the count.
            bytes_received: Added to the count.
            bytes_sent: Added to the count.
            values: ``state``, ``code``, ``release_id``, ``package_sha256``.
        """
        table = schema.task
        with self._engine.begin() as connection:
            if release is not None:
                put_release(connection, release)
            connection.execute(
                table.update()
                .where(
                    table.c.campaign == campaign_id,
                    table.c.site == site,
                    table.c.state.in_(OPEN_TASKS),
                )
                .values(
                    messages=table.c.messages + messages,
                    bytes_received=table.c.bytes_received + bytes_received,
                    bytes_sent=table.c.bytes_sent + bytes_sent,
                    updated=time.time(),
                    **values,
                )
            )


def _waiting(campaign_id: str, site: str, now: float) -> dict[str, object]:
    """The row of a task whose site was not asked yet."""
    return {
        "campaign": campaign_id,
        "site": site,
        "query_id": secrets.token_hex(16),
        "delivery_id": secrets.token_hex(16),
        "state": "waiting",
        "code": "",
        "release_id": "",
        "package_sha256": "",
        "messages": 0,
        "bytes_received": 0,
        "bytes_sent": 0,
        "updated": now,
    }


def _finish(connection: Connection, campaign_id: str, state: str, reason: str, now: float) -> None:
    table = schema.task
    rest = {"cancelled": "cancelled", "failed": "failed"}.get(state, "expired")
    connection.execute(
        table.update()
        .where(table.c.campaign == campaign_id, table.c.state.in_(OPEN_TASKS))
        .values(state=rest, updated=now)
    )
    _set_campaign(connection, campaign_id, state=state, reason=reason, finished=now)


def _set_campaign(connection: Connection, campaign_id: str, **values: object) -> None:
    connection.execute(
        schema.campaign.update().where(schema.campaign.c.id == campaign_id).values(**values)
    )


def _load(connection: Connection, campaign_id: str, *, lock: bool = False) -> Campaign:
    query = sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise ConfigError(f"campaign {campaign_id}: unknown; see 'wg-server campaign list'")
    columns = [column for column in schema.task.c if column.name != "campaign"]
    tasks = connection.execute(
        sa.select(*columns)
        .where(schema.task.c.campaign == campaign_id)
        .order_by(schema.task.c.site)
    )
    return Campaign(**row._mapping, tasks=tuple(Task(**task._mapping) for task in tasks))
