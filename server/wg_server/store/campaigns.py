r"""What a campaign is: what was asked of whom, and how far it got with each site.

A campaign is one statistics query to each of its sites, then weights packages for each site that
answered. States of a task, which is one site's part::

    waiting -> released -> packaged -> delivered
         \-> refused  \-> failed  \-> expired       (each final, until an operator tries again)
         ^                                |
         +---------- retry ---------------+

A site that is not worth asking is ``cancelled`` from the start, with one of ``NOT_ASKED``; it may
be tried likewise.

A site that has a package is offered a better one when later releases came: its task goes from
``delivered`` to ``released`` again, with ``served`` above zero. Whatever becomes of the better one,
it ends as ``delivered``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLASSES, Statistics
from wg_core.wire import protocol
from wg_server.store import database, schema

CampaignState = Literal[
    "queued", "running", "paused", "cancelling", "cancelled", "done", "partial", "failed"
]
TaskState = Literal[
    "waiting", "released", "packaged", "delivered", "refused", "failed", "expired", "cancelled"
]
OPEN_CAMPAIGNS = ("queued", "running", "paused", "cancelling")
OPEN_TASKS = ("waiting", "released", "packaged")
NOT_WORTH = "worth"
NO_NAMES = "no-names"
NO_MACHINE = "no-machine"
NOT_ASKED = (NOT_WORTH, NO_NAMES, NO_MACHINE)
"""Why a site's part was never begun: see ``wg_server.campaigns.worth`` and ``machines``."""
IN_TASKS = ("released", "packaged", "delivered")  # Of sites whose release is here, and used


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One site's part in a campaign. Times are Unix seconds, and zero for "not yet".

    Attributes:
        site: The site.
        query_id: Logical id of the statistics query.
        delivery_id: Logical id of the delivery; a better package has another one.
        state: How far it got.
        code: Why it ended early, or what the site said last: one word; else empty.
        release_id: The release that answered; empty before.
        package_sha256: The newest package; empty before.
        opened: When it came to where it is: asking was allowed, or a package was there.
        asked: When the site was first sent what it is asked for now.
        answered: When its release came to this campaign.
        received: When the server first got that release; an equal one may be older.
        made: When the server looked at others' releases for the newest package.
        served: Packages that it took.
        tries: Messages sent for what it is asked for now.
        figure: What ``code`` is about: a time, or seconds.
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
    opened: float
    asked: float
    answered: float
    received: float
    made: float
    served: int
    tries: int
    figure: float
    messages: int
    bytes_received: int
    bytes_sent: int
    updated: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a campaign, in counts.

    Attributes:
        states: Parts by state.
        sites_asked: Sites that are asked, or were.
        sites_served: Sites that took a package.
        began: Whether others' releases were looked at for any package.
        enough: When as many releases were in as are waited for, Unix seconds; None: they are not.
    """

    states: Counter[str]
    sites_asked: int
    sites_served: int
    began: bool
    enough: float | None

    @property
    def released_sites(self) -> int:
        """Sites whose release is here."""
        return sum(self.states[state] for state in IN_TASKS)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """One campaign with its tasks, by site.

    Attributes:
        id: Id of the campaign.
        created: When it was queued.
        purpose: What the releases are for.
        epsilon: Asked of each site; ``0``: its public statement alone.
        delta: Asked of each site.
        encoder: The encoder that sites must hold.
        collect_seconds: How long a site may take to answer.
        deliver_seconds: How long it may take to fetch its package.
        min_sites: Releases that are waited for before packages are made, if they can still come.
        grace_seconds: How long the other sites are waited for after that.
        started: When a server began to work on it; zero before.
        paused_at: When it was paused; zero if it is not.
        state: How far it got; ``partial``: finished, and not every site was served.
        reason: Why it failed, if it did.
        finished: When it ended.
        generator: Id of the version that its packages are made with, whatever is installed since.
        statistics: What sites are asked for.
        tasks: One for each site; none where they were counted alone.
        counted: Progress by the database's count.
    """

    id: str
    created: float
    purpose: str
    epsilon: str
    delta: str
    encoder: str
    collect_seconds: float
    deliver_seconds: float
    min_sites: int
    grace_seconds: float
    started: float
    paused_at: float
    state: CampaignState
    reason: str
    finished: float | None
    generator: str = ""
    statistics: Statistics = CLASSES
    tasks: tuple[Task, ...]
    counted: Progress | None = None

    @property
    def is_free(self) -> bool:
        """True if sites are asked for their public statement alone."""
        return self.epsilon == protocol.FREE

    @property
    def is_pooled(self) -> bool:
        """Tell that a site's package depends on what the others release."""
        return not self.is_free and self.statistics == CLASSES

    @cached_property
    def progress(self) -> Progress:
        """Return the progress of a campaign."""
        if self.counted is not None:
            return self.counted
        answer_times = sorted(task.answered for task in self.tasks if task.state in IN_TASKS)
        return Progress(
            Counter(task.state for task in self.tasks),
            sum(task.code not in NOT_ASKED for task in self.tasks),
            sum(task.state == "delivered" or task.served > 0 for task in self.tasks),
            any(task.made for task in self.tasks),
            None if len(answer_times) < self.min_sites else answer_times[self.min_sites - 1],
        )

    @cached_property
    def arrivals(self) -> Sequence[tuple[float, str]]:
        """When the server got each release of it, in order, and of whom."""
        parts = self.tasks if self.is_pooled else ()
        return sorted((task.received, task.site) for task in parts if task.state in IN_TASKS)

    def task(self, site: str) -> Task:
        """The part of a site, or ``ConfigError``."""
        for task in self.tasks:
            if task.site == site:
                return task
        raise ConfigError(f"campaign {self.id}: has no site {site}")


def load(
    connection: Connection, campaign_id: str, *, lock: bool = False, site: str = ""
) -> Campaign:
    """One campaign; with ``site``, of its tasks that one alone.

    Locked, nobody else changes its row until the transaction ends.

    Raises:
        ConfigError: There is none of this id.
    """
    query = sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise ConfigError(f"campaign {campaign_id}: unknown; see 'wg-server campaign show'")
    task, release = schema.task, schema.release
    columns = [column for column in task.c if column.name != "campaign"]
    received_time = sa.func.coalesce(release.c.received, 0.0).label("received")
    task_query = (
        sa.select(*columns, received_time)
        .outerjoin(release, release.c.release_id == task.c.release_id)
        .where(task.c.campaign == campaign_id)
        .order_by(task.c.site)
    )
    if site:
        task_query = task_query.where(task.c.site == site)
    tasks = tuple(Task(**entry._mapping) for entry in connection.execute(task_query))
    return Campaign(**row._mapping, tasks=tasks)


def campaign_of_row(connection: Connection, row: sa.Row[Any]) -> Campaign:
    """A campaign by its row, without tasks; after its end ``enough`` is not looked for."""
    task = schema.task
    is_served = (task.c.state == "delivered") | (task.c.served > 0)
    counts = [
        sa.func.sum(sa.case((condition, 1), else_=0)).label(name)
        for name, condition in (("asked", task.c.code.not_in(NOT_ASKED)), ("served", is_served))
    ]
    figures = sa.func.count().label("number"), *counts, sa.func.max(task.c.made).label("made")
    of_campaign = task.c.campaign == row.id
    query = sa.select(task.c.state, *figures).where(of_campaign).group_by(task.c.state)
    groups = connection.execute(query).all()
    answer_times = sa.select(task.c.answered).where(of_campaign, task.c.state.in_(IN_TASKS))
    place = answer_times.order_by(task.c.answered).offset(row.min_sites - 1).limit(1)
    progress = Progress(
        Counter({group.state: int(group.number) for group in groups}),
        sum(int(group.asked) for group in groups),
        sum(int(group.served) for group in groups),
        any(group.made for group in groups),
        connection.execute(place).scalar() if row.finished is None else None,
    )
    return Campaign(**row._mapping, tasks=(), counted=progress)


def deliveries_of(engine: Engine, site: str) -> list[str]:
    """List the deliveries of a site's packages, made or due, the newest of each campaign."""
    task = schema.task
    query = sa.select(task.c.delivery_id).where(task.c.site == site, task.c.package_sha256 != "")
    return [row.delivery_id for row in database.rows(engine, query.order_by(task.c.updated))]
