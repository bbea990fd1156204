"""Releases that are kept and not used, and the operator's word on them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields

import sqlalchemy as sa

from wg_common.errors import ConfigError, WgError
from wg_server.store import database, schema
from wg_server.store.releases import Standing, StoredRelease
from wg_server.store.sites import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNote:
    """A release without its bytes; as in ``StoredRelease``."""

    release_id: str
    site: str
    epsilon: str
    received: float
    standing: Standing
    reasons: str


def notes(store: Store, *standings: Standing) -> list[ReleaseNote]:
    """Releases of these standings, or all, newest first."""
    table = schema.release
    columns = [table.c[field.name] for field in fields(ReleaseNote)]
    query = sa.select(*columns).order_by(table.c.received.desc(), table.c.release_id)
    if standings:
        query = query.where(table.c.standing.in_(standings))
    return [ReleaseNote(**row._mapping) for row in database.rows(store.engine, query)]


def counts(store: Store) -> dict[str, int]:
    """How many releases there are of each site, whatever their standing."""
    table = schema.release
    query = sa.select(table.c.site, sa.func.count().label("number")).group_by(table.c.site)
    return {row.site: int(row.number) for row in database.rows(store.engine, query)}


def judge(store: Store, release_id: str, standing: Standing) -> None:
    """Set a release's standing: the operator's word; ``ConfigError`` if there is none."""
    if not _set(store, schema.release.c.release_id == release_id, standing=standing):
        raise ConfigError(f"release {release_id}: unknown; see 'wg-server releases list --all'")


def examine_untested(store: Store, examine: Callable[[StoredRelease], str]) -> None:
    """Look at releases that came before there was a look.

    Args:
        examine: Says why a release is implausible, or nothing.
    """
    for note in notes(store, "untested"):
        try:
            said = examine(store.release(note.release_id))
        except WgError as error:
            said = f"cannot be opened: {error}"
        table = schema.release  # whoever had a word meanwhile has the last one
        same = sa.and_(table.c.release_id == note.release_id, table.c.standing == "untested")
        _set(store, same, standing="quarantined" if said else "plausible", reasons=said)
        if said:
            log.error("release %s of %s: quarantined: %s", note.release_id, note.site, said)


def _set(store: Store, where: sa.ColumnElement[bool], **values: str) -> bool:
    """Whether there was a row to change."""
    with store.engine.begin() as connection:
        return (
            connection.execute(schema.release.update().where(where).values(**values)).rowcount > 0
        )
