"""What keeps an enrolled site's node from getting in, as the fleet listener last saw it.

A node whose clock is wrong is refused before it can say anything; the listener notes why here, so
that the operator's commands, which are other processes, can say it.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from wg_server.store import database, schema
from wg_server.store.sites import Store

CLOCK = "clock"  # Its clock is off by `figure` seconds; ahead of this server's above zero
NODE_KEY = "node-key"
"""Its certificate is good, and its node key is not the one that it enrolled with."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What it is, a figure about it, and when it was last seen, Unix seconds."""

    code: str
    figure: float
    seen: float


def note(store: Store, site: str, code: str, figure: float, now: float) -> None:
    """Remember what kept a site out; what was known before is forgotten."""
    table = schema.trouble
    with store.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.site == site))
        connection.execute(table.insert().values(site=site, code=code, figure=figure, seen=now))


def forget(store: Store, site: str) -> None:
    """The site's node got in."""
    table = schema.trouble
    query = sa.select(table.c.site).where(table.c.site == site)
    if database.first(store.engine, query) is not None:
        with store.engine.begin() as connection:
            connection.execute(table.delete().where(table.c.site == site))


def known(store: Store) -> dict[str, Trouble]:
    """What is known, by site."""
    rows = database.rows(store.engine, sa.select(schema.trouble))
    return {row.site: Trouble(row.code, row.figure, row.seen) for row in rows}
