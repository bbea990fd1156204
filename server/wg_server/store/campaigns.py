r"""Campaigns: the request to each site, and the state of each site's task.

A campaign sends one statistics query to each of its sites, then weights packages to each site that
answered. A task is the part of one site; its states are::

    waiting -> released -> packaged -> delivered
         \-> refused  \-> failed  \-> expired       (each final, until an operator retries)
         ^                                |
         +---------- retry ---------------+

A site that is not worth asking is ``cancelled`` from the start, with one of ``NOT_ASKED_CODES``; it
may be retried like the others.

A site that has a package is offered a better one after later releases arrived: its task returns
from ``delivered`` to ``released``, with ``served`` above zero. It ends as ``delivered``, even if
the better package fails.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLASS_STATISTICS, StatisticsKind
from wg_core.wire import protocol
from wg_server.store import database, schema

CampaignState = Literal[
    "queued", "running", "paused", "cancelling", "cancelled", "done", "partial", "failed"
]
TaskState = Literal[
    "waiting", "released", "packaged", "delivered", "refused", "failed", "expired", "cancelled"
]
OPEN_CAMPAIGN_STATES = ("queued", "running", "paused", "cancelling")
OPEN_TASK_STATES = ("waiting", "released", "packaged")
NO_SHARED_CLASS_NAMES_CODE = "worth"
NO_EARLIER_ANSWER_CODE = "no-names"
NO_SUPPORTED_MACHINE_CODE = "no-machine"
STATISTIC_UNUSED_CODE = "no-statistic"
NOT_ASKED_CODES = (
    NO_SHARED_CLASS_NAMES_CODE,
    NO_EARLIER_ANSWER_CODE,
    NO_SUPPORTED_MACHINE_CODE,
    STATISTIC_UNUSED_CODE,
)
"""Codes of tasks whose site is not asked, see ``wg_server.campaigns.expected_benefit`` and
``machine_site_selection``."""
RELEASED_TASK_STATES = (
    "released",
    "packaged",
    "delivered",
)  # States of tasks with a usable release


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTask:
    """State of one site in a campaign. Times are Unix seconds; zero means "not yet".

    Attributes:
        site: Name of the site.
        query_id: Logical id of the statistics query.
        delivery_id: Logical id of the delivery; a better package has another id.
        state: State of the task.
        code: One word: why the task ended early, or the site's last answer; else empty.
        release_id: Id of the release that answered the query; empty before.
        package_sha256: SHA-256 of the newest package, hex; empty before.
        opened: Time at which the current step began: at start or retry, or with a new package.
        asked: Time of the first message of the current step.
        answered: Time at which the release reached this campaign.
        received: Time at which the server first received that release, possibly for an earlier
            campaign.
        made: Time at which the making of the newest package began: it uses the releases of other
        sites that had arrived by then.
        served: Number of packages that the site received.
        tries: Number of messages sent in the current step.
        figure: Value that ``code`` refers to: a time, or a duration in seconds.
        messages: Number of all messages sent for the task, including repeated ones.
        bytes_received: Payload bytes from the site.
        bytes_sent: Payload bytes to the site.
        updated: Time of the last change.
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
class CampaignProgress:
    """Progress of a campaign, in counts.

    Attributes:
        task_counts_by_state: Number of tasks by state.
        asked_count: Number of sites that were or will be asked.
        served_count: Number of sites that received a package.
        has_packaging_begun: True if a package was already made for some site.
        min_sites_time: Time at which the ``min_sites``-th release came in, Unix seconds; None if
            fewer are in.
        unasked_count: Number of waiting sites to which no query was sent yet.
        last_unasked_opening_time: Time at which the last of these sites' tasks was opened, Unix
            seconds.
    """

    task_counts_by_state: Counter[str]
    asked_count: int
    served_count: int
    has_packaging_begun: bool
    min_sites_time: float | None
    unasked_count: int
    last_unasked_opening_time: float

    @property
    def released_count(self) -> int:
        """Number of sites with a usable release."""
        return sum(self.task_counts_by_state[state] for state in RELEASED_TASK_STATES)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """One campaign with its tasks, sorted by site. Times are Unix seconds.

    Attributes:
        id: Id of the campaign.
        created: Time at which it was queued.
        purpose: Purpose of the query.
        epsilon: Epsilon asked of each site; ``0``: only its public statement.
        delta: Delta asked of each site.
        encoder: SHA-256 of the encoder that sites must hold.
        collect_seconds: Time limit of a site's answer.
        deliver_seconds: Time limit within which a site fetches its package.
        min_sites: Number of releases to wait for, if still possible, before packages are made.
        grace_seconds: Seconds to wait for the remaining sites after ``min_sites`` releases.
        started: Time at which a server started it; zero before.
        paused_at: Time at which it was paused; zero if it is not paused.
        state: State of the campaign; ``partial``: finished, and some site was not served.
        reason: Reason of a failure; else empty.
        finished: Time at which it ended.
        generator: Id of the generator version that makes its packages, even if another is installed
            later.
        statistics: Statistics asked of the sites.
        tasks: One task per site; empty if the tasks were only counted.
        counted: Progress as counted by the database; None: it is computed from ``tasks``.
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
    statistics: StatisticsKind = CLASS_STATISTICS
    tasks: tuple[CampaignTask, ...]
    counted: CampaignProgress | None = None

    @property
    def asks_only_statements(self) -> bool:
        """True if sites are asked only for their public statement."""
        return self.epsilon == protocol.STATEMENT_EPSILON

    @property
    def uses_pooled_releases(self) -> bool:
        """True if a site's package depends on the releases of other sites."""
        return not self.asks_only_statements and self.statistics == CLASS_STATISTICS

    @cached_property
    def progress(self) -> CampaignProgress:
        """Progress of the campaign in counts of sites."""
        if self.counted is not None:
            return self.counted
        answer_times = sorted(
            task.answered for task in self.tasks if task.state in RELEASED_TASK_STATES
        )
        unasked = [task.opened for task in self.tasks if task.state == "waiting" and not task.asked]
        return CampaignProgress(
            Counter(task.state for task in self.tasks),
            sum(task.code not in NOT_ASKED_CODES for task in self.tasks),
            sum(task.state == "delivered" or task.served > 0 for task in self.tasks),
            any(task.made for task in self.tasks),
            None if len(answer_times) < self.min_sites else answer_times[self.min_sites - 1],
            len(unasked),
            max(unasked, default=0.0),
        )

    @cached_property
    def release_arrivals(self) -> Sequence[tuple[float, str]]:
        """Times (Unix seconds) at which pooled releases arrived, each with its site, in order."""
        parts = self.tasks if self.uses_pooled_releases else ()
        return sorted(
            (task.received, task.site) for task in parts if task.state in RELEASED_TASK_STATES
        )

    def find_task(self, site: str) -> CampaignTask:
        """Return the task of one site in the campaign.

        Raises:
            ConfigError: The campaign has no such site.
        """
        for task in self.tasks:
            if task.site == site:
                return task
        raise ConfigError(f"campaign {self.id}: has no site {site}")


def load_campaign(
    connection: Connection, campaign_id: str, *, for_update: bool = False, site: str = ""
) -> Campaign:
    """Load one campaign with its tasks, or if ``site`` is given with the task of that site only.

    With ``for_update``, the campaign's row stays locked until the transaction ends.

    Raises:
        ConfigError: No campaign has this id.
    """
    query = sa.select(schema.campaign_table).where(schema.campaign_table.c.id == campaign_id)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    if row is None:
        raise ConfigError(f"campaign {campaign_id}: unknown; see 'wg-server campaign show'")
    task, release = schema.task_table, schema.release_table
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
    tasks = tuple(CampaignTask(**entry._mapping) for entry in connection.execute(task_query))
    return Campaign(**row._mapping, tasks=tasks)


def campaign_with_counts(connection: Connection, row: sa.Row[Any]) -> Campaign:
    """Build a campaign from its row, with counts of its tasks in place of the tasks.

    The count ``min_sites_time`` is None if the campaign has ended.
    """
    task = schema.task_table
    is_served = (task.c.state == "delivered") | (task.c.served > 0)
    is_unasked = (task.c.state == "waiting") & (task.c.asked == 0)
    counts = [
        sa.func.sum(sa.case((condition, 1), else_=0)).label(name)
        for name, condition in (
            ("asked", task.c.code.not_in(NOT_ASKED_CODES)),
            ("served", is_served),
            ("unasked", is_unasked),
        )
    ]
    latest = [
        sa.func.max(task.c.made).label("made"),
        sa.func.max(sa.case((is_unasked, task.c.opened), else_=0.0)).label("unasked_since"),
    ]
    figures = sa.func.count().label("number"), *counts, *latest
    of_campaign = task.c.campaign == row.id
    query = sa.select(task.c.state, *figures).where(of_campaign).group_by(task.c.state)
    groups = connection.execute(query).all()
    answer_times = sa.select(task.c.answered).where(
        of_campaign, task.c.state.in_(RELEASED_TASK_STATES)
    )
    place = answer_times.order_by(task.c.answered).offset(row.min_sites - 1).limit(1)
    progress = CampaignProgress(
        Counter({group.state: int(group.number) for group in groups}),
        sum(int(group.asked) for group in groups),
        sum(int(group.served) for group in groups),
        any(group.made for group in groups),
        connection.execute(place).scalar() if row.finished is None else None,
        sum(int(group.unasked) for group in groups),
        max((float(group.unasked_since) for group in groups), default=0.0),
    )
    return Campaign(**row._mapping, tasks=(), counted=progress)


def package_delivery_ids(engine: Engine, site: str) -> list[str]:
    """List the delivery ids of a site's packages, in order of their tasks' last change."""
    task = schema.task_table
    query = sa.select(task.c.delivery_id).where(task.c.site == site, task.c.package_sha256 != "")
    return [row.delivery_id for row in database.fetch_rows(engine, query.order_by(task.c.updated))]
