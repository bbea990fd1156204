"""What keeps an enrolled site's node from getting in, as the fleet listener last saw it.

A node whose clock is wrong is refused before it can say anything; the listener notes why here, so
that the operator's commands, which are other processes, can say it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from wg_server.store import database, schema
from wg_server.store.sites import Store

CLOCK = "clock"  # Its clock is off by `figure` seconds; ahead of this server's above zero
NODE_KEY = "node-key"
"""Its certificate is good, and its node key is not the one that it enrolled with."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Trouble of a site: its kind, a figure, and when it was last seen, Unix seconds."""

    code: str
    figure: float
    seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """View of a site from the server.

    Attributes:
        state: ``invited``, ``enrolled`` or ``revoked``.
        last_seen: When it last made a request that was let through; zero: never.
        certificate: When its newest good certificate expires; None: it has none.
        trouble: What keeps its node out, if something was seen to.
    """

    state: str
    last_seen: float
    certificate: float | None
    trouble: Trouble | None


def note(store: Store, site: str, code: str, figure: float, current_time: float) -> None:
    """Remember what kept a site out; what was known before is forgotten."""
    table = schema.trouble
    with store.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.site == site))
        connection.execute(
            table.insert().values(site=site, code=code, figure=figure, seen=current_time)
        )


def forget(store: Store, site: str) -> None:
    """The site's node got in."""
    table = schema.trouble
    query = sa.select(table.c.site).where(table.c.site == site)
    if database.first_row(store.engine, query) is not None:
        with store.engine.begin() as connection:
            connection.execute(table.delete().where(table.c.site == site))


def sights(store: Store, *, names: Sequence[str] = (), campaign: str = "") -> dict[str, Sight]:
    """Return the views of some sites, or of those with a part in a campaign; by name."""
    site, trouble, task, certificate = schema.site, schema.trouble, schema.task, schema.certificate
    newest = sa.select(certificate.c.site, sa.func.max(certificate.c.expires).label("expires"))
    ends = newest.where(certificate.c.revoked.is_(None)).group_by(certificate.c.site).subquery()
    part = sa.select(task.c.site).where(task.c.campaign == campaign)
    query = (
        sa.select(site.c.name, site.c.state, site.c.last_seen, ends.c.expires, trouble)
        .outerjoin(ends, ends.c.site == site.c.name)
        .outerjoin(trouble, trouble.c.site == site.c.name)
        .where(site.c.name.in_(part if campaign else names))
    )
    return {
        row.name: Sight(
            state=row.state,
            last_seen=row.last_seen,
            certificate=row.expires,
            trouble=None if row.code is None else Trouble(row.code, row.figure, row.seen),
        )
        for row in database.rows(store.engine, query)
    }
