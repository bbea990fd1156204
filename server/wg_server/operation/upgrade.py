"""A home of an earlier version: brought up to date where that can be done, and named where not.

A store is migrated whenever it is opened; here a copy of it is kept first, and everything else in
the home is read as serving would read it. What this version cannot use is named with the command
that makes it anew; nothing is deleted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wg_common.errors import WgError
from wg_common.wire import signing
from wg_server.operation.serve import alone
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store import copying, database, schema
from wg_server.store.sites import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """What was found and done.

    Attributes:
        before: Schema of the store before; empty: there was none.
        now: Its schema now.
        copy: The store as it was, if it was changed and lies in the home; empty otherwise.
        findings: What asks for a hand, and what to run.
        stops: Whether one of them keeps the server from serving.
    """

    before: str
    now: str
    copy: str
    findings: tuple[str, ...]
    stops: bool


def upgrade(home: ServerHome) -> Upgraded:
    """Bring a home up to date. No server may run.

    Raises:
        ConfigError: The home is not initialised, a server runs, ``server.yaml`` does not fit this
            version, or the store was written by a newer program.
        StorageError: The store cannot be copied or migrated; it is as it was.
    """
    config = home.config()
    with alone(home):
        url = home.database_url
        before, copy = database.schema_of(url), ""
        if before and before != schema.HEAD and not config.database:
            target = home.root / f"server-{before}.sqlite"
            if not target.exists():  # a second try does not lose the first one's copy
                copying.copy_file(home.database, target)
            copy = str(target)
        Store.open(home).close()
        stops = tuple(_needed(home))
        wanting = _generators(home)
    return Upgraded(
        before=before,
        now=schema.HEAD,
        copy=copy,
        findings=(*stops, *wanting),
        stops=bool(stops),
    )


def _needed(home: ServerHome) -> Iterator[str]:
    """What keeps a server from serving."""
    for path in (home.signing_key, home.witness_key):
        try:
            signing.load(path)
        except WgError as error:
            yield f"{error}; restore it from a backup, or run 'wg-server rotate-keys'"
    for path in (home.ca_cert, home.tls_cert):
        try:
            pki.load_certificate(path)
        except WgError as error:
            yield f"{error}; restore it from a backup, or run 'wg-server renew'"


def _generators(home: ServerHome) -> list[str]:
    """What is missing or cannot be read of what packages are made with; serving goes on."""
    from wg_server.generator.heads import generate as heads  # torch is slow to import
    from wg_server.generator.networks import generate as networks

    run = f"run 'wg-server train --home {home.root}'"
    if not home.encoder.is_file():
        return [f"no public encoder yet: run 'wg-server zoo build --home {home.root}'"]
    if not home.generator.is_file():
        return [f"no generator yet: {run}"]
    try:
        generator = heads.load_generator(home.generator)
    except WgError as error:
        return [f"the generator is of another version: {error}; {run}"]
    if generator.parts.encoder != home.encoder_id():
        return [f"the generator is for another encoder than the home's: {run}"]
    if home.networks.is_file():
        try:
            networks.load_networks(home.networks, generator)
        except WgError as error:
            return [f"the generator of networks is of another version: {error}; {run}"]
    return []
