"""Store of sites: join tokens, enrolment and certificates.

Whether a token is still valid, or a checkpoint extends the last one, is decided and recorded in one
transaction. Join tokens are stored only as hashes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError, RefusedError
from wg_core.wire import canonical
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.site.home import ServerHome
from wg_server.store import database, schema
from wg_server.store.ledger_succession import LedgerBeginning
from wg_server.store.ledgers import LedgerTable, store_new_log, update_checkpoint_in_transaction
from wg_server.store.releases import ReleaseTable
from wg_server.store.stored_site import SiteState, StoredSite, find_site, require_site

T = TypeVar("T")

CERTIFICATES_LIMIT = 8
"""Largest number of valid certificates of a site; a further renewal deletes the oldest one."""


class ServerStore(LedgerTable, ReleaseTable):
    """Database of sites, their ledgers and releases."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._file = database.sqlite_file_identity(engine)

    @classmethod
    def open(cls, home: ServerHome) -> Self:
        """Open the store of a home, and migrate its schema to the current version.

        Raises:
            ConfigError: The home is not initialised, or the database is missing or cannot be
                opened.
        """
        return cls(database.open_home_engine(home))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections to the database."""
        self.engine.dispose()

    def store_join_token(
        self, site: str, secret: str, expires: float, *, may_replace: bool = False
    ) -> None:
        """Store a join token for a site: a hash of its secret, and its expiry (Unix time).

        Raises:
            ConfigError: The site is enrolled already, and ``may_replace`` is False.
        """
        with self.engine.begin() as connection:
            stored_site = find_site(connection, site, for_update=True)
            if stored_site is None:
                connection.execute(schema.site_table.insert().values(name=site, state="invited"))
            elif stored_site.state == "enrolled" and not may_replace:
                raise ConfigError(
                    f"site {site}: enrolled already; --replace lets it enrol again with new keys"
                )
            connection.execute(
                schema.join_token_table.insert().values(
                    secret_sha256=hash_secret(secret), site=site, expires=expires
                )
            )

    def has_valid_join_token(self, secret: str) -> bool:
        """Return whether a valid join token has the given secret."""
        table = schema.join_token_table
        query = sa.select(table.c.site).where(
            table.c.secret_sha256 == hash_secret(secret), table.c.expires > time.time()
        )
        return database.fetch_first_row(self.engine, query) is not None

    def enrol_site(
        self,
        request: EnrolmentRequest,
        node_key: str,
        tls_key_sha256: str,
        current_time: float,
        issue_certificate: Callable[[], tuple[str, float, T]],
        ledger_beginning: LedgerBeginning,
    ) -> tuple[T, bytes]:
        """Use a join token, and store the site's keys, ledger and certificate, or change nothing.

        A site that missed the answer may repeat the request: with the same token and keys it gets
        another certificate until the token expires.

        Args:
            request: Request of the site; its secret must belong to a token for this site's name
                that is unused, or was used with the same keys.
            node_key: Checked node key, PEM.
            tls_key_sha256: SHA-256 of the public key of the certificate, hex.
            current_time: Unix time.
            issue_certificate: Issues the certificate; returns fingerprint, expiry, and a result.
            ledger_beginning: First entry and predecessor of the site's ledger; errors of its
                ``decide_checkpoint`` are passed on.

        Returns:
            The result of ``issue_certificate``, and the cosignature of ``decide_checkpoint``.

        Raises:
            RefusedError: The token is unknown, expired, used with other keys, or belongs to another
                site; or the ledger belongs to another site, or is known with another key or another
                first entry.
        """
        sites = schema.site_table
        keys = {
            "node_key": node_key,
            "signing_key": request.signing_key,
            "ledger_key": request.ledger_key,
            "ledger_origin": request.ledger_origin,
        }
        digest = _hash_lines([tls_key_sha256, ledger_beginning.genesis_leaf_hash, *keys.values()])
        with self.engine.begin() as connection:
            database.lock_table(connection, sites)  # "nobody else has this key" is about all rows
            again = _spend_token(connection, request, digest, current_time)
            if again:
                _check_same_keys(require_site(connection, request.site), keys)
            _check_keys_not_taken(connection, request.site, keys)
            store_new_log(connection, request, ledger_beginning, current_time)
            fingerprint, expires, result = issue_certificate()
            if not again:
                _revoke_certificates(connection, request.site, current_time)
                connection.execute(
                    sites.update()
                    .where(sites.c.name == request.site)
                    .values(state="enrolled", enrolled=current_time, **keys)
                )
            _add_certificate(connection, request.site, fingerprint, expires)
            site = require_site(connection, request.site)
            return result, update_checkpoint_in_transaction(
                connection, site, current_time, ledger_beginning.decide_checkpoint
            )

    def add_certificate(self, site: str, certificate_sha256: str, expires: float) -> None:
        """Store a renewed certificate; up to ``CERTIFICATES_LIMIT`` certificates stay valid."""
        with self.engine.begin() as connection:
            _add_certificate(connection, site, certificate_sha256, expires)

    def adopt_certificate(self, site: str, certificate_sha256: str, expires: float) -> bool:
        """Store a certificate that an enrolled site shows for the first time.

        Return True if it was stored; False if it is known, or the site is not enrolled.
        """
        table = schema.certificate_table
        with self.engine.begin() as connection:
            stored_site = find_site(connection, site, for_update=True)
            query = sa.select(table.c.site).where(table.c.fingerprint == certificate_sha256)
            if (
                stored_site is None
                or stored_site.state != "enrolled"
                or connection.execute(query).first()
            ):
                return False
            connection.execute(
                table.insert().values(fingerprint=certificate_sha256, site=site, expires=expires)
            )
            return True

    def revoke_site(self, site: str, current_time: float) -> None:
        """Revoke a site: its certificates and unused tokens become invalid at once.

        Raises:
            ConfigError: No site has this name.
        """
        with self.engine.begin() as connection:
            database.lock_table(connection, schema.site_table)  # first, as all do: else a deadlock
            if find_site(connection, site, for_update=True) is None:
                raise ConfigError(f"site {site}: unknown; see 'wg-server sites'")
            _revoke_certificates(connection, site, current_time)
            connection.execute(
                schema.site_table.update()
                .where(schema.site_table.c.name == site)
                .values(state="revoked")
            )
            connection.execute(
                schema.join_token_table.update()
                .where(
                    schema.join_token_table.c.site == site, schema.join_token_table.c.used.is_(None)
                )
                .values(used=current_time)
            )

    def authenticate_site(self, certificate_sha256: str, current_time: float) -> StoredSite | None:
        """Return the enrolled site that a valid client certificate belongs to, or None."""
        sites, certificates = schema.site_table, schema.certificate_table
        query = (
            sa.select(sites)
            .join(certificates, certificates.c.site == sites.c.name)
            .where(
                certificates.c.fingerprint == certificate_sha256,
                certificates.c.revoked.is_(None),
                certificates.c.expires > current_time,
                sites.c.state == "enrolled",
            )
        )
        row = database.fetch_first_row(self.engine, query)
        return None if row is None else StoredSite(**row._mapping)

    def belongs_to_revoked_site(self, certificate_sha256: str) -> bool:
        """Return whether a client certificate belongs to a revoked site."""
        sites, certificates = schema.site_table, schema.certificate_table
        query = (
            sa.select(sites.c.name)
            .join(certificates, certificates.c.site == sites.c.name)
            .where(certificates.c.fingerprint == certificate_sha256, sites.c.state == "revoked")
        )
        return database.fetch_first_row(self.engine, query) is not None

    def record_request_times(self, request_times: Mapping[str, float]) -> None:
        """Store the time of each site's last request: Unix time, by name."""
        table = schema.site_table
        change = table.update().where(table.c.name == sa.bindparam("site"))
        # Sorted: a fixed order of locks avoids deadlocks.
        rows = [{"site": name, "at": request_times[name]} for name in sorted(request_times)]
        with self.engine.begin() as connection:
            connection.execute(change.values(last_seen=sa.bindparam("at")), rows)

    def store_pins(self, site: str, pins_json: str) -> None:
        """Store the server keys that a site pinned, if they changed."""
        table = schema.site_table
        condition = sa.and_(table.c.name == site, table.c.pins != pins_json)
        if database.fetch_first_row(self.engine, sa.select(table.c.name).where(condition)) is None:
            return
        with self.engine.begin() as connection:
            connection.execute(table.update().where(condition).values(pins=pins_json))

    def require_site(self, name: str) -> StoredSite:
        """Return one site of the store by name.

        Raises:
            ConfigError: No site has this name.
        """
        with database.read_connection(self.engine) as connection:
            return require_site(connection, name)

    def site_pages(
        self, state: SiteState | None = None, *, rows_per_page: int = 1000
    ) -> Iterator[list[StoredSite]]:
        """Yield pages of at most ``rows_per_page`` sites by name: all, or those in a state."""
        table, last = schema.site_table, ""
        query = sa.select(table).order_by(table.c.name).limit(rows_per_page)
        if state is not None:
            query = query.where(table.c.state == state)
        while page := self._read_sites(query.where(table.c.name > last)):
            yield page
            last = page[-1].name

    def sites(self, state: SiteState | None = None) -> Iterator[StoredSite]:
        """Iterate over all sites, or those in a state, by name; they are read in pages."""
        return chain.from_iterable(self.site_pages(state))

    def search_and_count_sites(
        self, text: str, *, offset: int, rows_per_page: int
    ) -> tuple[list[StoredSite], int]:
        """Return a page of the sites whose names contain a text, and the number of all matches."""
        name = schema.site_table.c.name
        query = sa.select(schema.site_table).where(name.contains(text.lower(), autoescape=True))
        count = sa.select(sa.func.count().label("number")).select_from(query.subquery())
        row = database.fetch_first_row(self.engine, count)
        page = self._read_sites(query.order_by(name).offset(offset).limit(rows_per_page))
        return page, 0 if row is None else int(row.number)

    def sites_in_campaigns(self, campaign_ids: Sequence[str]) -> dict[str, StoredSite]:
        """Return the enrolled sites that have a task in one of these campaigns, by name."""
        table = schema.site_table
        names = sa.select(schema.task_table.c.site).where(
            schema.task_table.c.campaign.in_(campaign_ids)
        )
        query = sa.select(table).where(table.c.state == "enrolled", table.c.name.in_(names))
        return {site.name: site for site in self._read_sites(query)}

    def _read_sites(self, query: sa.Select[Any]) -> list[StoredSite]:
        return [StoredSite(**row._mapping) for row in database.fetch_rows(self.engine, query)]

    def is_readable(self) -> bool:
        """Return whether the database is readable, and its file is still the one that was opened.

        This process can still read a file that was moved away or replaced, but such a file is lost
        when the process ends.
        """
        return (
            database.sqlite_file_identity(self.engine) == self._file
            and self.count_fork_evidence() >= 0
        )


def _spend_token(
    connection: Connection, request: EnrolmentRequest, keys_sha256: str, current_time: float
) -> bool:
    """Use a join token for a site's keys; return whether it was used with the same keys before.

    Raises:
        RefusedError: The token is unknown, expired, or used with other keys.
    """
    table = schema.join_token_table
    this = sa.and_(
        table.c.secret_sha256 == hash_secret(request.secret), table.c.site == request.site
    )
    spent_row = connection.execute(
        table.update()
        .where(this, table.c.used.is_(None), table.c.expires > current_time)
        .values(used=current_time, keys_sha256=keys_sha256)
    )
    if spent_row.rowcount == 1:
        return False
    token = connection.execute(sa.select(table).where(this)).first()
    if token is None:
        raise RefusedError("join token: unknown, or of another site")
    if token.expires <= current_time:
        raise RefusedError(f"join token: expired; {_NEW_TOKEN_ADVICE}")
    if token.keys_sha256 != keys_sha256:
        raise RefusedError(
            f"join token: used already, with other keys than these; {_NEW_TOKEN_ADVICE}"
        )
    return True


_NEW_TOKEN_ADVICE = "ask the operator for a new one ('wg-server enroll --replace')"  # noqa: S105


def _check_keys_not_taken(connection: Connection, site: str, keys: Mapping[str, str]) -> None:
    """Raise ``RefusedError`` if another site has one of these keys."""
    sites = schema.site_table
    same_key = sa.or_(*(sites.c[name] == key for name, key in keys.items()))
    query = sa.select(sites.c.name).where(sites.c.name != site, same_key)
    if connection.execute(query).first() is not None:
        raise RefusedError("enrolment: another site uses one of these keys")


def _check_same_keys(site: StoredSite, keys: Mapping[str, str]) -> None:
    """Raise ``RefusedError`` if a site no longer has the keys that its token enrolled."""
    if site.state != "enrolled" or any(getattr(site, name) != key for name, key in keys.items()):
        raise RefusedError(
            f"join token: used already, and since then the site changed; {_NEW_TOKEN_ADVICE}"
        )


def _hash_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of some texts joined by line feeds."""
    return canonical.sha256_hex("\n".join(lines).encode())


def hash_secret(secret: str) -> str:
    """Hash a join token's secret (256 random bits: a plain hash is enough)."""
    return canonical.sha256_hex(secret.encode("ascii", "replace"))


def _revoke_certificates(connection: Connection, site: str, current_time: float) -> None:
    table = schema.certificate_table
    connection.execute(
        table.update()
        .where(table.c.site == site, table.c.revoked.is_(None))
        .values(revoked=current_time)
    )


def _add_certificate(
    connection: Connection, site: str, certificate_sha256: str, expires: float
) -> None:
    table = schema.certificate_table
    condition = sa.and_(table.c.site == site, table.c.fingerprint != certificate_sha256)
    connection.execute(
        table.insert().values(fingerprint=certificate_sha256, site=site, expires=expires)
    )
    newest = (
        sa.select(table.c.fingerprint)
        .where(condition)
        .order_by(table.c.expires.desc())
        .limit(CERTIFICATES_LIMIT - 1)
    )
    connection.execute(table.delete().where(condition, table.c.fingerprint.not_in(newest)))
