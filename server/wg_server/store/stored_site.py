"""Record of a site in the store, and look-up of a site by name."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wg_core.errors import ConfigError
from wg_server.store import schema

SiteState = Literal["invited", "enrolled", "revoked"]


ONLINE_LIMIT_SECONDS = 120.0
"""Longest time since the last request of a site that counts as online; a node makes a request every
90 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSite:
    """Plant in the server's database: its name, keys, state and last contact.

    Attributes:
        name: Name of the site.
        state: ``invited`` (a token was made), ``enrolled`` or ``revoked``.
        node_key: Flower node key, PEM; empty before enrolment.
        signing_key: Key that signs the site's statistics, hex.
        ledger_origin: Origin of its ledger.
        ledger_key: Key that signs the ledger's checkpoints, hex.
        enrolled: Time of enrolment, Unix time; 0 before.
        last_seen: Time of its last accepted request, Unix time; 0 before.
        pins: Keys of this server that the site pinned, as last reported: canonical
            ``protocol.ServerKeyPins``; empty: not reported yet.
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


def require_site(connection: Connection, name: str) -> StoredSite:
    """Return one site of the store by name.

    Raises:
        ConfigError: No site has this name.
    """
    site = find_site(connection, name, for_update=False)
    if site is None:
        raise ConfigError(f"site {name}: unknown; see 'wg-server sites'")
    return site


def find_site(connection: Connection, name: str, *, for_update: bool) -> StoredSite | None:
    """Return the site with a name, or None; ``for_update`` locks its row for the transaction."""
    query = sa.select(schema.site_table).where(schema.site_table.c.name == name)
    row = connection.execute(query.with_for_update() if for_update else query).first()
    return None if row is None else StoredSite(**row._mapping)
