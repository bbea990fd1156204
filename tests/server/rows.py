"""Sites and releases of a server's store, for tests that are about other things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wg_server.store import schema
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite


def site_named(name: str, **changes: Any) -> StoredSite:
    """An enrolled site that was never seen, with no key and a ledger of its name."""
    fields = {
        "state": "enrolled",
        "node_key": "",
        "signing_key": "",
        "ledger_origin": name,
        "ledger_key": "",
        "enrolled": 0.0,
        "last_seen": 0.0,
    }
    return StoredSite(name=name, **{**fields, **changes})


def add_sites(store: ServerStore, names: Sequence[str], **changes: Any) -> None:
    """Enrol sites as ``site_named`` has them."""
    with store.engine.begin() as connection:
        rows = [asdict(site_named(name, **changes)) for name in names]
        connection.execute(schema.site_table.insert(), rows)


def release_of(site: str, release_id: str, **changes: Any) -> StoredRelease:
    """A plausible release of a site that nothing opens."""
    fields = {
        "encoder": "e",
        "epsilon": "1",
        "delta": "1e-5",
        "received": 1.0,
        "signing_key": "k",
        "data": b"data",
        "standing": "plausible",
    }
    return StoredRelease(site=site, release_id=release_id, **{**fields, **changes})
