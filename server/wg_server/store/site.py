"""A plant as the server knows it, and how its row is found."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wg_core.errors import ConfigError
from wg_server.store import schema

SiteState = Literal["invited", "enrolled", "revoked"]


PRESENT_SECONDS = 120.0
"""A site that made a request so lately is there: a node makes one in a minute and a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One plant.

    Attributes:
        name: Name of the site.
        state: ``invited`` (a token was made), ``enrolled`` or ``revoked``.
        node_key: Flower node key, PEM; empty before enrolment.
        signing_key: Statistics key, hex.
        ledger_origin: Origin of its ledger.
        ledger_key: Ledger checkpoint key, hex.
        enrolled: When it enrolled; 0 before.
        last_seen: When it last made a request that was let through; 0 before.
        pins: What it believes this server by, as it said last: canonical ``protocol.Pins``; empty:
            it did not say yet.
    """

    name: str
    state: SiteState
    node_key: str
    signing_key: str
    ledger_origin: str
    ledger_key: str
    enrolled: float
    last_seen: float
    pins: str = ""


def known_site(connection: Connection, name: str) -> Site:
    """One site, or ``ConfigError``."""
    site = find_site(connection, name, lock=False)
    if site is None:
        raise ConfigError(f"site {name}: unknown; see 'wg-server sites'")
    return site


def find_site(connection: Connection, name: str, *, lock: bool) -> Site | None:
    """One site, if it is there; locked, nobody else changes it until the transaction ends."""
    query = sa.select(schema.site).where(schema.site.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Site(**row._mapping)
