"""Releases that are kept and not used, and the operator's word on them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wg_core.errors import ConfigError
from wg_server.store import database, schema
from wg_server.store.releases import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNote:
    """A release without its bytes; as in ``StoredRelease``."""

    release_id: str
    site: str
    epsilon: str
    received: float
    standing: Standing
    reasons: str


def notes(engine: Engine, *standings: Standing) -> list[ReleaseNote]:
    """Releases of these standings, or all, newest first."""
    table = schema.release
    columns = [table.c[field.name] for field in fields(ReleaseNote)]
    query = sa.select(*columns).order_by(table.c.received.desc(), table.c.release_id)
    if standings:
        query = query.where(table.c.standing.in_(standings))
    return [ReleaseNote(**row._mapping) for row in database.rows(engine, query)]


def counts(engine: Engine, names: Sequence[str]) -> dict[str, int]:
    """Count the releases of some sites, whatever their standing."""
    table = schema.release
    query = sa.select(table.c.site, sa.func.count().label("number")).group_by(table.c.site)
    query = query.where(table.c.site.in_(names))
    return {row.site: int(row.number) for row in database.rows(engine, query)}


def judge(engine: Engine, release_id: str, standing: Standing) -> None:
    """Set a release's standing: the operator's word; ``ConfigError`` if there is none."""
    table = schema.release
    update = table.update().where(table.c.release_id == release_id).values(standing=standing)
    with engine.begin() as connection:
        rows = connection.execute(update).rowcount
    if not rows:
        raise ConfigError(f"release {release_id}: unknown; see 'wg-server releases --all'")
