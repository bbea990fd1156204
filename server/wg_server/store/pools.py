"""Tables of the store: one sum of releases per set of class names, and the releases in each sum.

Each row belongs to one generator, with whose variances the sum is computed. A sum carries a change
number, and only a process that read the current number may write it, so that two processes cannot
overwrite each other's changes. A removed release keeps its row, so that the releases in a sum after
any earlier change stay known.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wg_core.wire import canonical
from wg_server.store import database, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPool:
    """Stored pool: the sum over all releases with one encoder and one set of class names.

    Attributes:
        generator: SHA-256 of the generator package, hex.
        kind: Id of the class set: SHA-256 of encoder and class names, hex.
        labels: Class names, as canonical JSON.
        sites: Number of releases in the sum.
        data: Encoded sum.
        changes: Change number: how often the sum was written.
        judged: Number of releases when all of them were last compared with their peers.
    """

    generator: str
    kind: str
    labels: str
    sites: int
    data: bytes
    changes: int
    judged: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names of the pool, sorted."""
        return canonical.decode(tuple[str, ...], self.labels.encode(), input_name="pool")


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRelease:
    """Release as a pool's table has it: part of the pool, or left out as an outlier.

    Attributes:
        release_id: Id of the release.
        kind: Id of the pool's class set: SHA-256 of encoder and class names, hex.
        site: Site of the release.
        place: Keyed hash of the release id; the releases with the smallest hashes are the peers.
        noise: Variance added to the noise of its means because it disagrees with its peers.
        used: True if the release is in the sum; False if it is an outlier.
        behind: Names of the classes on which it agrees with its peers, as canonical JSON.
        added: Change number of the pool at which the release was added.
        removed: Change number of the pool at which the release was removed, or 0.
    """

    release_id: str
    kind: str
    site: str
    place: int
    noise: float
    used: bool
    behind: str
    added: int
    removed: int = 0

    @property
    def agreed_class_names(self) -> tuple[str, ...]:
        """Names of the classes on which the release agrees with its peers."""
        return canonical.decode(tuple[str, ...], self.behind.encode(), input_name="pooled release")


class PoolTable:
    """Tables of the pools of one generator, and of their releases."""

    def __init__(self, engine: Engine, generator_sha256: str) -> None:
        self._engine = engine
        self.generator = generator_sha256

    def list_pools(self) -> list[StoredPool]:
        """Return the pools of all class sets, with empty ``data``."""
        table = schema.pool_table
        columns = [column for column in table.c if column.name != "data"]
        query = sa.select(*columns).where(table.c.generator == self.generator)
        rows = database.fetch_rows(self._engine, query.order_by(table.c.kind))
        return [StoredPool(**row._mapping, data=b"") for row in rows]

    def find_pool(self, class_set_id: str) -> StoredPool | None:
        """Return the pool of one class set, or None."""
        table = schema.pool_table
        query = sa.select(table).where(
            table.c.generator == self.generator, table.c.kind == class_set_id
        )
        row = database.fetch_first_row(self._engine, query)
        return None if row is None else StoredPool(**row._mapping)

    def pooled_releases_by_id(self) -> dict[str, PooledRelease]:
        """Return all releases that were not removed, outliers included, by id."""
        return {
            row.release_id: row
            for row in self._read_releases(schema.pooled_release_table.c.removed == 0)
        }

    def class_names_by_release_id(self) -> dict[str, frozenset[str]]:
        """Return the class names of each release that was not removed, by release id."""
        kinds = {pool.kind: frozenset(pool.class_names) for pool in self.list_pools()}
        return {row.release_id: kinds[row.kind] for row in self.pooled_releases_by_id().values()}

    def release_of_site(self, site: str) -> PooledRelease | None:
        """Return the release of a site that is in a pool or was left out as an outlier, or None."""
        table = schema.pooled_release_table
        rows = self._read_releases(table.c.site == site, table.c.removed == 0)
        return rows[0] if rows else None

    def releases_at_change(self, class_set_id: str, change_number: int) -> list[PooledRelease]:
        """Return the releases that were in a pool after one of its changes, sorted by id."""
        table = schema.pooled_release_table
        return self._read_releases(
            table.c.kind == class_set_id,
            table.c.used,
            table.c.added <= change_number,
            sa.or_(table.c.removed == 0, table.c.removed > change_number),
        )

    def write_pool(
        self, pool: StoredPool, added_releases: Sequence[PooledRelease], removed_ids: Sequence[str]
    ) -> bool:
        """Replace the sum of a pool, and record the added and removed releases.

        Args:
            pool: New sum; its ``changes`` is one more than in the sum that was read (0 if there was
                none).
            added_releases: Releases added by this change.
            removed_ids: Ids of releases removed by this change.

        Returns:
            False if another process wrote first; then nothing is written.
        """
        pools, pooled_table = schema.pool_table, schema.pooled_release_table
        key = (pools.c.generator == self.generator) & (pools.c.kind == pool.kind)
        with self._engine.begin() as connection:
            database.lock_table(connection, pools)
            row = connection.execute(sa.select(pools.c.changes).where(key)).first()
            if (0 if row is None else row.changes) != pool.changes - 1:
                return False
            connection.execute(pools.delete().where(key))
            connection.execute(pools.insert().values(asdict(pool)))
            if removed_ids:
                connection.execute(
                    pooled_table.update()
                    .where(
                        pooled_table.c.generator == self.generator,
                        pooled_table.c.removed == 0,
                        pooled_table.c.release_id.in_(removed_ids),
                    )
                    .values(removed=pool.changes)
                )
            for release in added_releases:
                values = {"generator": self.generator, **asdict(release)}
                connection.execute(pooled_table.insert().values(values))
        return True

    def release_ids_in_pools(self, pool_versions: Sequence[tuple[str, int]]) -> list[bytes]:
        """Return sorted ids of the releases in pools, given as (class set id, change number)."""
        rows = [
            row for kind, changes in pool_versions for row in self.releases_at_change(kind, changes)
        ]
        return sorted(row.release_id.encode() for row in rows)

    def store_merkle_tree(self, root_hex: str, pool_versions: Sequence[tuple[str, int]]) -> None:
        """Store which pools a Merkle root (hex) covers, so that membership can be proven later.

        Args:
            pool_versions: Pools as pairs of class set id and change number.
        """
        table = schema.pool_tree_table
        key = (table.c.generator == self.generator) & (table.c.root == root_hex)
        with self._engine.begin() as connection:
            database.lock_table(connection, table)
            if connection.execute(sa.select(table.c.root).where(key)).first() is None:
                text = canonical.encode(tuple(pool_versions)).decode()
                row = {"generator": self.generator, "root": root_hex, "sums": text}
                connection.execute(table.insert().values(row))

    def pool_versions_under_root(self, root_hex: str) -> tuple[tuple[str, int], ...]:
        """Return a Merkle root's pools as (class set id, change number); empty if unknown."""
        table = schema.pool_tree_table
        query = sa.select(table.c.sums).where(
            table.c.generator == self.generator, table.c.root == root_hex
        )
        row = database.fetch_first_row(self._engine, query)
        if row is None:
            return ()
        form = tuple[tuple[str, int], ...]
        return canonical.decode(form, row.sums.encode(), input_name="tree of releases")

    def _select_releases(self, *conditions: sa.ColumnElement[bool]) -> sa.Select[PooledRelease]:
        table = schema.pooled_release_table
        columns = [column for column in table.c if column.name != "generator"]
        return sa.select(*columns).where(table.c.generator == self.generator, *conditions)

    def _read_releases(self, *conditions: sa.ColumnElement[bool]) -> list[PooledRelease]:
        # Sorted here: with ORDER BY, SQLite scans the whole generator instead of using an index.
        stored_rows = database.fetch_rows(self._engine, self._select_releases(*conditions))
        return sorted(
            (PooledRelease(**row._mapping) for row in stored_rows), key=lambda x: x.release_id
        )
