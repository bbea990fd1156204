"""Reasons why enrolled sites' nodes were last refused, as recorded by the fleet listener.

A node with a wrong clock, for example, is refused before it can send anything. The listener stores
the reason, so that the operator's commands, which run in other processes, can show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from wg_server.store import database, schema
from wg_server.store.server_store import ServerStore

CLOCK_TROUBLE = "clock"
"""The node's clock is off by ``figure`` seconds; positive: ahead of the server."""
NODE_KEY_TROUBLE = "node-key"
"""The certificate is valid, but the node key is not the enrolled one."""


@dataclass(frozen=True, slots=True)
class ConnectionTrouble:
    """Reason why a site's node was refused: code, its figure, and Unix time of the last refusal."""

    code: str
    figure: float
    last_refusal_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """Connection status of a site: last contact, certificate, and trouble.

    Attributes:
        state: ``invited``, ``enrolled`` or ``revoked``.
        last_seen: Time of its last accepted request, Unix time; zero: never.
        certificate_expiry: Expiry of its newest certificate that is not revoked, Unix time; None:
            it has none.
        trouble: Reason why its node is refused; None: no reason is stored.
        uses_files: True if its releases came as files and its node never connected.
    """

    state: str
    last_seen: float
    certificate_expiry: float | None
    trouble: ConnectionTrouble | None
    uses_files: bool


def store_connection_trouble(
    store: ServerStore, site: str, code: str, figure: float, current_time: float
) -> None:
    """Store the reason why a site's node is refused, replacing an earlier one.

    Args:
        code: Reason, a code of ``campaigns.offline_codes``.
        figure: Unix time or a clock's error in seconds, by the code; 0.0 if it has none.
    """
    table = schema.connection_trouble_table
    with store.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.site == site))
        connection.execute(
            table.insert().values(site=site, code=code, figure=figure, seen=current_time)
        )


def delete_connection_trouble(store: ServerStore, site: str) -> None:
    """Delete the stored reason why a site's node was refused, after the node connected."""
    table = schema.connection_trouble_table
    query = sa.select(table.c.site).where(table.c.site == site)
    if database.fetch_first_row(store.engine, query) is not None:
        with store.engine.begin() as connection:
            connection.execute(table.delete().where(table.c.site == site))


def site_statuses_by_name(
    store: ServerStore, *, site_names: Sequence[str] = (), campaign_id: str = ""
) -> dict[str, SiteStatus]:
    """Return the connection status of some sites, or of all sites in a campaign, by name."""
    site, trouble, task, certificate = (
        schema.site_table,
        schema.connection_trouble_table,
        schema.task_table,
        schema.certificate_table,
    )
    newest = sa.select(certificate.c.site, sa.func.max(certificate.c.expires).label("expires"))
    ends = newest.where(certificate.c.revoked.is_(None)).group_by(certificate.c.site).subquery()
    part = sa.select(task.c.site).where(task.c.campaign == campaign_id)
    has_release = sa.exists().where(schema.release_table.c.site == site.c.name).label("has_release")
    query = (
        sa.select(site.c.name, site.c.state, site.c.last_seen, ends.c.expires, has_release, trouble)
        .outerjoin(ends, ends.c.site == site.c.name)
        .outerjoin(trouble, trouble.c.site == site.c.name)
        .where(site.c.name.in_(part if campaign_id else site_names))
    )
    return {
        row.name: SiteStatus(
            state=row.state,
            last_seen=row.last_seen,
            certificate_expiry=row.expires,
            trouble=None if row.code is None else ConnectionTrouble(row.code, row.figure, row.seen),
            uses_files=bool(row.has_release) and not row.last_seen,
        )
        for row in database.fetch_rows(store.engine, query)
    }
