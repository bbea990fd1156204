"""Status of stored releases, and the operator's decision about implausible ones."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wg_core.errors import ConfigError
from wg_server.store import database, schema
from wg_server.store.releases import ReleaseStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSummary:
    """Stored release without its bytes; the fields are those of ``StoredRelease``."""

    release_id: str
    site: str
    epsilon: str
    received: float
    standing: ReleaseStatus
    reasons: str


def list_release_summaries(engine: Engine, *statuses: ReleaseStatus) -> list[ReleaseSummary]:
    """Return releases of plants with one of these statuses, or all releases, newest first."""
    table = schema.release_table
    columns = [table.c[field.name] for field in fields(ReleaseSummary)]
    query = sa.select(*columns).order_by(table.c.received.desc(), table.c.release_id)
    if statuses:
        query = query.where(table.c.standing.in_(statuses))
    return [ReleaseSummary(**row._mapping) for row in database.fetch_rows(engine, query)]


def count_releases_by_site(engine: Engine, site_names: Sequence[str]) -> dict[str, int]:
    """Return the number of stored releases of each site that has any, whatever their status."""
    table = schema.release_table
    query = sa.select(table.c.site, sa.func.count().label("number")).group_by(table.c.site)
    query = query.where(table.c.site.in_(site_names))
    return {row.site: int(row.number) for row in database.fetch_rows(engine, query)}


def set_release_status(engine: Engine, release_id: str, status: ReleaseStatus) -> None:
    """Set the status of a release by the operator's decision.

    Raises:
        ConfigError: No release has this id.
    """
    table = schema.release_table
    update = table.update().where(table.c.release_id == release_id).values(standing=status)
    with engine.begin() as connection:
        rows = connection.execute(update).rowcount
    if not rows:
        raise ConfigError(f"release {release_id}: unknown; see 'wg-server releases --all'")
