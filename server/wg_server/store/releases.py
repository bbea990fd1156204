"""Table of releases received from plants, stored byte for byte, each with its current status."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError, VerificationError
from wg_core.privacy.schema import CLASS_STATISTICS, StatisticsKind
from wg_core.wire import protocol
from wg_server.store import database, schema

ReleaseStatus = Literal["plausible", "quarantined", "accepted", "rejected"]
"""Status of a release; only ``plausible`` and (by the operator) ``accepted`` ones are used."""
USABLE_STATUSES = ("plausible", "accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRelease:
    """Verified release of a site.

    Attributes:
        encoder: SHA-256 of the encoder that computed the features, hex.
        received: Time at which the server first received it, Unix time.
        signing_key: Key, hex, that verified the release; the site may have another key by now.
        data: ``.wgs`` file as received: the release, its ledger entries and their proofs.
        standing: Status of the release, which decides whether packages may use it.
        reasons: Reasons why it is implausible, one per line, whatever its status.
        statistics: Kind of statistics; ``classes`` for a public statement, which has none.
    """

    release_id: str
    site: str
    encoder: str
    epsilon: str
    delta: str
    received: float
    signing_key: str
    data: bytes
    standing: ReleaseStatus
    reasons: str = ""
    statistics: StatisticsKind = CLASS_STATISTICS

    @property
    def is_usable(self) -> bool:
        """True if packages may be made from the release."""
        return self.standing in USABLE_STATUSES


class ReleaseTable:
    """Table of the releases received from plants."""

    engine: Engine

    def add_release(self, release: StoredRelease) -> StoredRelease:
        """Store a verified release; a release that is stored already stays unchanged.

        Returns:
            The release with its stored status.

        Raises:
            VerificationError: The id belongs to a release of another site.
        """
        with self.engine.begin() as connection:
            return replace(release, standing=insert_release(connection, release))

    def releases_of_site(self, site: str) -> Iterator[StoredRelease]:
        """Yield all releases of a site, oldest first."""
        table = schema.release_table
        query = sa.select(table).where(table.c.site == site)
        with database.read_connection(self.engine) as connection:
            rows = connection.execution_options(yield_per=1).execute(
                query.order_by(table.c.received, table.c.release_id)
            )
            for row in rows:
                yield StoredRelease(**row._mapping)

    def newest_release(self, site: str) -> StoredRelease | None:
        """Return a site's last received release of statistics, whatever its status, or None."""
        table = schema.release_table
        query = sa.select(table).where(
            table.c.site == site, table.c.epsilon != protocol.STATEMENT_EPSILON
        )
        row = database.fetch_first_row(
            self.engine, query.order_by(table.c.received.desc()).limit(1)
        )
        return None if row is None else StoredRelease(**row._mapping)

    def newest_answer_ids_by_site(self) -> dict[str, str]:
        """Return the id of each site's newest release or public statement, whatever its status."""
        table = schema.release_table
        query = sa.select(table.c.site, table.c.release_id).order_by(table.c.received)
        return {row.site: row.release_id for row in database.fetch_rows(self.engine, query)}

    def find_release(self, release_id: str) -> StoredRelease | None:
        """Return a stored release by its id, or None."""
        query = sa.select(schema.release_table).where(
            schema.release_table.c.release_id == release_id
        )
        row = database.fetch_first_row(self.engine, query)
        return None if row is None else StoredRelease(**row._mapping)

    def require_release(self, release_id: str) -> StoredRelease:
        """Return a stored release by its id.

        Raises:
            ConfigError: No release has this id.
        """
        stored_release = self.find_release(release_id)
        if stored_release is None:
            raise ConfigError(f"release {release_id}: unknown")
        return stored_release

    def newest_usable_release_ids(self, *, encoder_sha256: str, excluded_site: str) -> list[str]:
        """Return the id of each other site's newest usable class statistics, sorted by site name.

        Args:
            encoder_sha256: SHA-256 of the encoder that the releases are made with.
            excluded_site: Site to leave out; revoked sites are left out too.
        """
        ids = _select_ranked_releases(encoder_sha256, excluded_site).subquery()
        query = sa.select(ids.c.release_id).where(ids.c.rank == 1).order_by(ids.c.site)
        return [row.release_id for row in database.fetch_rows(self.engine, query)]


def _select_ranked_releases(encoder_sha256: str, excluded_site: str) -> sa.Select[Any]:
    """Select id, site and rank (1 for the newest) of every usable release of other sites."""
    releases, sites = schema.release_table, schema.site_table
    rank = sa.func.row_number().over(
        partition_by=releases.c.site,
        order_by=(releases.c.received.desc(), releases.c.release_id.desc()),
    )
    return (
        sa.select(releases.c.release_id, releases.c.site, rank.label("rank"))
        .join(sites, sites.c.name == releases.c.site)
        .where(
            releases.c.encoder == encoder_sha256,
            releases.c.site != excluded_site,
            releases.c.standing.in_(USABLE_STATUSES),
            releases.c.epsilon
            != protocol.STATEMENT_EPSILON,  # a public statement has no statistics
            releases.c.statistics == CLASS_STATISTICS,  # machine statistics have no classes to pool
            sites.c.state != "revoked",
        )
    )


def insert_release(connection: Connection, release: StoredRelease) -> ReleaseStatus:
    """Insert a release within a transaction, and return its status; see ``add_release``."""
    table = schema.release_table
    row = connection.execute(
        sa.select(table.c.site, table.c.standing).where(table.c.release_id == release.release_id)
    ).first()
    if row is None:
        connection.execute(table.insert().values(asdict(release)))
        return release.standing
    if row.site != release.site:
        raise VerificationError(f"release {release.release_id}: is one of another site")
    return cast(ReleaseStatus, row.standing)
