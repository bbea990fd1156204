"""Operators of the console, and the append-only log of their actions.

Each entry's hash covers the previous entry's hash, so that anybody who kept a later hash detects a
changed or deleted entry. This does not protect against someone who controls both the database and
the kept hash.

An entry is written before its action, so that no action lacks one; if the action fails, a second
entry records the failure.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wg_core.errors import ConfigError, WgError
from wg_core.text_grammars import check_name
from wg_core.wire import canonical
from wg_server.store import database, schema
from wg_server.store.server_store import ServerStore, hash_secret

DETAIL_LENGTH_LIMIT = 500  # Largest number of characters of an entry's detail


AccessPath = Literal["console", "command", "server"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Author of an action: a console operator, a user of the command line, or the server itself.

    Attributes:
        name: Name of the operator, user or server.
        through: Way of access: ``console``, ``command`` or ``server``.
    """

    name: str
    through: AccessPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Person who may use the console.

    Attributes:
        name: Name in the log.
        created: Time at which access was granted, Unix time.
        removed: Time at which access was removed, Unix time; None: access is valid.
    """

    name: str
    created: float
    removed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Entry of the log: one action, or one failed attempt.

    Attributes:
        id: Number of the entry, from 1, without gaps.
        at: Time of the entry, Unix time.
        operator: Name of the actor.
        through: ``console``, ``command``, or ``server`` (an event without a person).
        action: One or two words; ``failed`` if the action of an earlier entry failed.
        subject: Site, campaign, release or generator that the action changed.
        detail: Settings of the action, or the error that made it fail, in English.
        digest: SHA-256 of this entry and the previous digest, hex.
    """

    id: int
    at: float
    operator: str
    through: str
    action: str
    subject: str
    detail: str
    digest: str


def grant_access(store: ServerStore, name: str, current_time: float) -> str:
    """Grant an operator access, replacing any earlier token; return the new token.

    The store holds only a hash of the token.

    Raises:
        DecodeError: The name is invalid.
    """
    check_name(name)
    token = secrets.token_urlsafe(32)
    table = schema.operator_table
    with store.engine.begin() as connection:
        connection.execute(table.delete().where(table.c.name == name))
        connection.execute(
            table.insert().values(
                name=name, token_sha256=hash_secret(token), created=current_time, removed=None
            )
        )
    return token


def remove_access(store: ServerStore, name: str, current_time: float) -> None:
    """Remove an operator's access with immediate effect.

    Raises:
        ConfigError: No operator has this name.
    """
    table = schema.operator_table
    condition = sa.and_(table.c.name == name, table.c.removed.is_(None))
    with store.engine.begin() as connection:
        if (
            connection.execute(
                table.update().where(condition).values(removed=current_time)
            ).rowcount
            != 1
        ):
            raise ConfigError(f"operator {name}: unknown; see 'wg-server operators'")


def operator_name_of_token(store: ServerStore, token: str) -> str | None:
    """Return the name of the operator to whom a valid token belongs, or None."""
    return operator_name_of_hash(store, hash_secret(token))


def operator_name_of_hash(store: ServerStore, token_sha256: str) -> str | None:
    """Return the name of the operator whose valid token has the given hash, or None."""
    table = schema.operator_table
    query = sa.select(table.c.name).where(
        table.c.token_sha256 == token_sha256, table.c.removed.is_(None)
    )
    row = database.fetch_first_row(store.engine, query)
    return None if row is None else str(row.name)


def list_operators(store: ServerStore) -> list[Operator]:
    """Return all operators, sorted by name."""
    table = schema.operator_table
    query = sa.select(table.c.name, table.c.created, table.c.removed).order_by(table.c.name)
    return [Operator(**row._mapping) for row in database.fetch_rows(store.engine, query)]


@contextmanager
def logged_action(
    store: ServerStore, actor: Actor, action: str, subject: str, detail: str = ""
) -> Iterator[None]:
    """Log an action before the body runs, and log a failure if the body raises."""
    add_log_entry(store, actor, action, subject, detail)
    try:
        yield
    except (WgError, OSError) as error:
        add_log_entry(store, actor, "failed", subject, f"{action}: {error}")
        raise


def add_log_entry(
    store: ServerStore, actor: Actor, action: str, subject: str, detail: str = ""
) -> None:
    """Add an entry to the operators' log."""
    table = schema.operator_log_table
    with store.engine.begin() as connection:
        database.lock_table(connection, table)
        number, before = _last_number_and_digest(connection)
        values = {
            "id": number + 1,
            "at": time.time(),
            "operator": actor.name,
            "through": actor.through,
            "action": action,
            "subject": subject,
            "detail": detail[:DETAIL_LENGTH_LIMIT].replace("\0", ""),
        }
        digest = _entry_digest(values, before)
        connection.execute(table.insert().values(**values, digest=digest))


def read_log(
    store: ServerStore, *, limit: int, before_entry_number: int | None = None
) -> list[LogEntry]:
    """Return entries of the operators' log, newest first.

    Args:
        limit: Largest number of entries.
        before_entry_number: Only entries with a lower number are returned.
    """
    table = schema.operator_log_table
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before_entry_number is not None:
        query = query.where(table.c.id < before_entry_number)
    return [LogEntry(**row._mapping) for row in database.fetch_rows(store.engine, query)]


def first_broken_entry_number(store: ServerStore, *, rows_per_page: int = 500) -> int | None:
    """Return the number of the first log entry that was changed or follows a gap, or None."""
    before, number = "", 0
    table = schema.operator_log_table
    query = sa.select(table).order_by(table.c.id).limit(rows_per_page)
    while rows := database.fetch_rows(store.engine, query.where(table.c.id > number)):
        for row in rows:
            number += 1
            values = dict(row._mapping)
            digest = values.pop("digest")
            if values["id"] != number or digest != _entry_digest(values, before):
                return number
            before = digest
    return None


def _last_number_and_digest(connection: Connection) -> tuple[int, str]:
    """Return number and digest of the newest entry in the operators' log."""
    table = schema.operator_log_table
    query = sa.select(table.c.id, table.c.digest).order_by(table.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return (0, "") if row is None else (int(row.id), str(row.digest))


def _entry_digest(values: dict[str, object], previous_digest: str) -> str:
    """Return the digest of a log entry; times are hashed as text, since floats are ambiguous."""
    text = {**values, "id": str(values["id"]), "at": repr(values["at"]), "before": previous_digest}
    return canonical.sha256_hex(canonical.encode(text))
