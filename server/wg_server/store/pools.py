"""Sums of releases by kind, and which releases are in them: tables of the store.

Rows belong to one generator, whose variances the sums rest on. A sum carries the number of its last
change: it is written only by who has read that number, so that two processes cannot lose each
other's sites. A release that was taken out keeps its row: which releases a sum had at an earlier
number can be told for ever.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wg_core.wire import canonical
from wg_server.store import database, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPool:
    """The sum of one kind.

    Attributes:
        generator: SHA-256 of the generator package, hex.
        kind: SHA-256 of encoder and class names, hex.
        labels: The class names, as canonical JSON.
        sites: How many releases are in the sum.
        data: The sum.
        changes: How often it was written.
        judged: Sites of the kind when all of them were last held against each other.
    """

    generator: str
    kind: str
    labels: str
    sites: int
    data: bytes
    changes: int
    judged: int

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return canonical.decode(tuple[str, ...], self.labels.encode(), subject="pool")


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRelease:
    """A release of a kind.

    Attributes:
        release_id: Id of the release.
        kind: As of ``StoredPool``.
        site: Whose it is.
        place: Number by which peers are drawn: one that no plant can foretell.
        noise: Variance that was added to the noise on its means, since it disagrees.
        used: Whether it is in the sum; an odd one is not.
        behind: Names of the classes that it stands behind, as canonical JSON.
        added: Change of the sum with which it came.
        removed: Change with which it went, or 0.
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
    def behind_names(self) -> tuple[str, ...]:
        """Names of the classes that it stands behind."""
        return canonical.decode(tuple[str, ...], self.behind.encode(), subject="pooled release")


class PoolTable:
    """Pools of one generator in the store."""

    def __init__(self, engine: Engine, generator: str) -> None:
        self._engine = engine
        self.generator = generator

    def pools(self) -> list[StoredPool]:
        """The sums of all kinds, without their data."""
        table = schema.pool
        columns = [column for column in table.c if column.name != "data"]
        query = sa.select(*columns).where(table.c.generator == self.generator)
        rows = database.rows(self._engine, query.order_by(table.c.kind))
        return [StoredPool(**row._mapping, data=b"") for row in rows]

    def pool(self, kind: str) -> StoredPool | None:
        """The sum of one kind."""
        table = schema.pool
        query = sa.select(table).where(table.c.generator == self.generator, table.c.kind == kind)
        row = database.first_row(self._engine, query)
        return None if row is None else StoredPool(**row._mapping)

    def present(self) -> dict[str, PooledRelease]:
        """All releases that were not taken out, by id."""
        return {row.release_id: row for row in self._rows(schema.pooled.c.removed == 0)}

    def class_names(self) -> dict[str, frozenset[str]]:
        """Return the class names of all releases that were not taken out, by id."""
        kinds = {pool.kind: frozenset(pool.names) for pool in self.pools()}
        return {row.release_id: kinds[row.kind] for row in self.present().values()}

    def release_of(self, site: str) -> PooledRelease | None:
        """The release of a site that is in a sum, or was found odd."""
        table = schema.pooled
        rows = self._rows(table.c.site == site, table.c.removed == 0)
        return rows[0] if rows else None

    def at(self, kind: str, changes: int) -> list[PooledRelease]:
        """Releases that the sum of a kind had after a change, by id."""
        table = schema.pooled
        return self._rows(
            table.c.kind == kind,
            table.c.used,
            table.c.added <= changes,
            sa.or_(table.c.removed == 0, table.c.removed > changes),
        )

    def write(
        self, pool: StoredPool, releases: Sequence[PooledRelease], removed_ids: Sequence[str]
    ) -> bool:
        """Put a sum in the place of the one before, with what came and went.

        Args:
            pool: Its ``changes`` is one more than that of the sum that was read, from 0 for none.
            releases: Those that came with this change.
            removed_ids: Ids of those that went with it.

        Returns:
            False, and nothing is written, if another process was first.
        """
        pools, pooled_table = schema.pool, schema.pooled
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
            for release in releases:
                values = {"generator": self.generator, **asdict(release)}
                connection.execute(pooled_table.insert().values(values))
        return True

    def tree(self, sums: Sequence[tuple[str, int]]) -> list[bytes]:
        """Ids of all releases in some sums, sorted; each is a kind, and the change it is of."""
        rows = [row for kind, changes in sums for row in self.at(kind, changes)]
        return sorted(row.release_id.encode() for row in rows)

    def note_tree(self, root: str, sums: Sequence[tuple[str, int]]) -> None:
        """Remember which sums a root is of, so that membership can be proven later."""
        table = schema.pool_tree
        key = (table.c.generator == self.generator) & (table.c.root == root)
        with self._engine.begin() as connection:
            database.lock_table(connection, table)
            if connection.execute(sa.select(table.c.root).where(key)).first() is None:
                text = canonical.encode(tuple(sums)).decode()
                row = {"generator": self.generator, "root": root, "sums": text}
                connection.execute(table.insert().values(row))

    def sums_of(self, root: str) -> tuple[tuple[str, int], ...]:
        """Which sums a root is of; none if it is not known."""
        table = schema.pool_tree
        query = sa.select(table.c.sums).where(
            table.c.generator == self.generator, table.c.root == root
        )
        row = database.first_row(self._engine, query)
        if row is None:
            return ()
        form = tuple[tuple[str, int], ...]
        return canonical.decode(form, row.sums.encode(), subject="tree of releases")

    def _query(self, *conditions: sa.ColumnElement[bool]) -> sa.Select[PooledRelease]:
        table = schema.pooled
        columns = [column for column in table.c if column.name != "generator"]
        return sa.select(*columns).where(table.c.generator == self.generator, *conditions)

    def _rows(self, *conditions: sa.ColumnElement[bool]) -> list[PooledRelease]:
        # Sorted here: with an order SQLite reads a whole generator in it, and not by an index.
        stored_rows = database.rows(self._engine, self._query(*conditions))
        return sorted(
            (PooledRelease(**row._mapping) for row in stored_rows), key=lambda x: x.release_id
        )
