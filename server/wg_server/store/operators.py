"""Operators by name, and the log of what they did: entries are added, and nothing else.

Each entry holds the hash of the one before it, so that one that was changed or taken out is found
by anybody who kept a later hash. It does not protect from who owns the database and the last hash.

An entry is written before what it says is done, so that nothing is done without one; where that
fails, a second entry says so.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wg_core.errors import ConfigError, WgError
from wg_core.grammar import check_name
from wg_core.wire import canonical
from wg_server.store import database, schema
from wg_server.store.sites import Store, hash_secret

DETAIL_LIMIT = 500  # Most characters that an entry says of a detail


Through = Literal["console", "command", "server"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: an operator at the console, a user by a command, or the server itself."""

    name: str
    through: Through


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Somebody who may use the console.

    Attributes:
        name: As the log says it.
        created: When it was let in, Unix time.
        removed: When it was shut out; None: it is not.
    """

    name: str
    created: float
    removed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One thing that an operator did, or tried.

    Attributes:
        id: Number of the entry, from 1, without gaps.
        at: When, Unix time.
        operator: Who.
        through: ``console``, ``command``, or ``server``: what ended by itself.
        action: What, one word or two; ``failed`` for the end of the entry before.
        subject: To which site, campaign, release or generator.
        detail: What else is to be known.
        digest: SHA-256 of this entry and the digest before it, hex.
    """

    id: int
    at: float
    operator: str
    through: str
    action: str
    subject: str
    detail: str
    digest: str


def add(store: Store, name: str, current_time: float) -> str:
    """Let an operator in, or give one a new token; the token, of which only a hash is kept.

    Raises:
        DecodeError: The name is none.
    """
    check_name(name)
    token = secrets.token_urlsafe(32)
    table = schema.operator
    with store.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.name == name))
        connection.execute(
            table.insert().values(
                name=name, token_sha256=hash_secret(token), created=current_time, removed=None
            )
        )
    return token


def remove(store: Store, name: str, current_time: float) -> None:
    """Shut an operator out, from the next request on; ``ConfigError`` if there is none."""
    table = schema.operator
    condition = sa.and_(table.c.name == name, table.c.removed.is_(None))
    with store.engine.begin() as connection:
        if (
            connection.execute(
                table.update().where(condition).values(removed=current_time)
            ).rowcount
            != 1
        ):
            raise ConfigError(f"operator {name}: unknown; see 'wg-server operators'")


def of_token(store: Store, token: str) -> str | None:
    """Name of the operator that a token lets in, if it lets one in."""
    return of_hash(store, hash_secret(token))


def of_hash(store: Store, token_sha256: str) -> str | None:
    """Name of the operator whose token has this hash, if it lets one in."""
    table = schema.operator
    query = sa.select(table.c.name).where(
        table.c.token_sha256 == token_sha256, table.c.removed.is_(None)
    )
    row = database.first_row(store.engine, query)
    return None if row is None else str(row.name)


def operators(store: Store) -> list[Operator]:
    """All operators, by name."""
    table = schema.operator
    query = sa.select(table.c.name, table.c.created, table.c.removed).order_by(table.c.name)
    return [Operator(**row._mapping) for row in database.rows(store.engine, query)]


@contextmanager
def record_action(
    store: Store, actor: Actor, action: str, subject: str, detail: str = ""
) -> Iterator[None]:
    """Write down what is done while this is entered, before it is done, and whether it failed."""
    record(store, actor, action, subject, detail)
    try:
        yield
    except (WgError, OSError) as error:
        record(store, actor, "failed", subject, f"{action}: {error}")
        raise


def record(
    store: Store, actor: Actor, action: str, subject: str, detail: str = "", at: float | None = None
) -> None:
    """Add an entry."""
    table = schema.operator_log
    with store.engine.begin() as connection:
        database.lock_table(connection, table)
        number, before = _last(connection)
        values = {
            "id": number + 1,
            "at": time.time() if at is None else at,
            "operator": actor.name,
            "through": actor.through,
            "action": action,
            "subject": subject,
            "detail": detail[:DETAIL_LIMIT].replace("\0", ""),
        }
        digest = _digest(values, before)
        connection.execute(table.insert().values(**values, digest=digest))


def entries(store: Store, *, limit: int, before: int | None = None) -> list[LogEntry]:
    """Entries, newest first.

    Args:
        limit: How many at most.
        before: Only those with a lower number.
    """
    table = schema.operator_log
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    return [LogEntry(**row._mapping) for row in database.rows(store.engine, query)]


def broken_at(store: Store, *, page: int = 500) -> int | None:
    """Number of the first entry that does not follow from those before it; None: all do."""
    before, number = "", 0
    table = schema.operator_log
    query = sa.select(table).order_by(table.c.id).limit(page)
    while rows := database.rows(store.engine, query.where(table.c.id > number)):
        for row in rows:
            number += 1
            values = dict(row._mapping)
            digest = values.pop("digest")
            if values["id"] != number or digest != _digest(values, before):
                return number
            before = digest
    return None


def _last(connection: Connection) -> tuple[int, str]:
    """Number and digest of the newest entry."""
    table = schema.operator_log
    query = sa.select(table.c.id, table.c.digest).order_by(table.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return (0, "") if row is None else (int(row.id), str(row.digest))


def _digest(values: dict[str, object], before: str) -> str:
    """Times are hashed as text: canonical JSON of a float is another matter."""
    text = {**values, "id": str(values["id"]), "at": repr(values["at"]), "before": before}
    return hashlib.sha256(canonical.encode(text)).hexdigest()
