"""Ledgers of plants: known logs, last cosigned checkpoints, and evidence of forks.

Whether a checkpoint extends the last one is decided and recorded in one transaction.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import RefusedError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.ledger.witness import WitnessRefused
from wg_core.wire import canonical
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.store import database, schema
from wg_server.store.ledger_succession import EnrolledLog, LedgerBeginning, ReplacedLog
from wg_server.store.stored_site import StoredSite, find_site

T = TypeVar("T")

FORK_EVIDENCE_LIMIT = 16  # Largest number of stored pairs of contradicting checkpoints per log
REFUSED_FILES_LIMIT = 64  # Largest number of stored files per log that the witness refused


class LedgerTable:
    """Tables of plants' ledgers, cosigned checkpoints and evidence of forks."""

    engine: Engine

    def update_checkpoint(
        self,
        site: StoredSite,
        current_time: float,
        decide_checkpoint: Callable[[bytes | None], tuple[bytes, int, T]],
    ) -> T:
        """Replace the stored checkpoint of a site's ledger, as ``decide_checkpoint`` decides.

        Args:
            current_time: Unix time.
            decide_checkpoint: Maps the stored checkpoint, or None, to the new one, its size and the
                value to return; if it raises, the stored checkpoint stays.
        """
        with self.engine.begin() as connection:
            find_site(
                connection, site.name, for_update=True
            )  # there may be no checkpoint to lock yet
            return update_checkpoint_in_transaction(
                connection, site, current_time, decide_checkpoint
            )

    def rotate_ledger_key(
        self,
        site: StoredSite,
        new_key: str,
        current_time: float,
        decide_checkpoint: Callable[[str, bytes | None], tuple[bytes, int, T]],
    ) -> T:
        """Store a site's new ledger key and checkpoint, and return ``decide_checkpoint``'s result.

        Args:
            new_key: New ledger key, hex.
            current_time: Unix time.
            decide_checkpoint: Maps the stored ledger key, and the stored checkpoint or None, to
                the new checkpoint, its size and the value to return; if it raises, nothing changes.

        Raises:
            RefusedError: Another site uses the key, or the site is no longer enrolled.
        """
        table = schema.site_table
        with self.engine.begin() as connection:
            database.lock_table(connection, table)
            stored_site = find_site(connection, site.name, for_update=True)
            holder = connection.execute(
                sa.select(table.c.name).where(
                    table.c.name != site.name, table.c.ledger_key == new_key
                )
            ).first()
            if stored_site is None or stored_site.state != "enrolled" or holder is not None:
                raise RefusedError("rotation: not enrolled, or another site uses this key")
            result = update_checkpoint_in_transaction(
                connection,
                stored_site,
                current_time,
                partial(decide_checkpoint, stored_site.ledger_key),
            )
            connection.execute(
                table.update().where(table.c.name == site.name).values(ledger_key=new_key)
            )
            connection.execute(
                schema.log_table.update()
                .where(schema.log_table.c.origin == stored_site.ledger_origin)
                .values(key=new_key)
            )
            return result

    def logs_of_sites(self, site_names: Iterable[str]) -> dict[str, list[EnrolledLog]]:
        """Return the ledgers that each of some sites enrolled with, by site name, oldest first."""
        logs, witness = schema.log_table, schema.cosigned_checkpoint_table
        query = (
            sa.select(logs, witness.c.checkpoint)
            .outerjoin(witness, witness.c.origin == logs.c.origin)
            .where(logs.c.site.in_(list(site_names)))
            .order_by(logs.c.site, logs.c.first_seen, logs.c.origin)
        )
        by_site: dict[str, list[EnrolledLog]] = {}
        for row in database.fetch_rows(self.engine, query):
            by_site.setdefault(row.site, []).append(EnrolledLog(**row._mapping))
        return by_site

    def replaced_log_exports(self, site: str) -> dict[str, bytes]:
        """Return the exported bytes of each ledger that a site replaced, by the ledger's origin."""
        table = schema.replaced_log_table
        query = sa.select(table).where(table.c.site == site).order_by(table.c.origin)
        return {row.origin: bytes(row.data) for row in database.fetch_rows(self.engine, query)}

    def last_cosigned_checkpoint(self, origin: str) -> bytes | None:
        """Return the last checkpoint cosigned for a ledger, or None."""
        query = sa.select(schema.cosigned_checkpoint_table.c.checkpoint).where(
            schema.cosigned_checkpoint_table.c.origin == origin
        )
        row = database.fetch_first_row(self.engine, query)
        return None if row is None else bytes(row.checkpoint)

    def store_fork_evidence(
        self, origin: str, earlier_checkpoint: bytes, later_checkpoint: bytes, current_time: float
    ) -> None:
        """Store two signed checkpoints that contradict each other, unless they are stored already.

        One pair proves a fork, and further pairs add nothing: only the first
        ``FORK_EVIDENCE_LIMIT`` pairs of a log are stored.
        """
        table = schema.fork_evidence_table
        with self.engine.begin() as connection:
            database.lock_table(connection, table)
            rows = connection.execute(
                sa.select(table.c.earlier, table.c.later).where(table.c.origin == origin)
            ).all()
            pairs = {(bytes(row.earlier), bytes(row.later)) for row in rows}
            if len(rows) >= FORK_EVIDENCE_LIMIT or (earlier_checkpoint, later_checkpoint) in pairs:
                return
            connection.execute(
                table.insert().values(
                    origin=origin,
                    received=current_time,
                    earlier=earlier_checkpoint,
                    later=later_checkpoint,
                )
            )

    def list_fork_evidence(self) -> list[tuple[str, float, bytes, bytes]]:
        """Return all evidence of forks: origin, time, earlier and later checkpoint."""
        rows = database.fetch_rows(
            self.engine,
            sa.select(schema.fork_evidence_table).order_by(schema.fork_evidence_table.c.id),
        )
        return [(row.origin, row.received, row.earlier, row.later) for row in rows]

    def store_refused_file(self, origin: str, data: bytes, current_time: float) -> None:
        """Store for auditors a verified file whose ledger does not extend the cosigned checkpoint.

        The file may show another history of that ledger, or may only be late. Only the first
        ``REFUSED_FILES_LIMIT`` files of a log are stored.
        """
        table, digest = schema.refused_file_table, canonical.sha256_hex(data)
        with self.engine.begin() as connection:
            database.lock_table(connection, table)
            rows = connection.execute(
                sa.select(table.c.sha256).where(table.c.origin == origin)
            ).all()
            if len(rows) >= REFUSED_FILES_LIMIT or digest in {row.sha256 for row in rows}:
                return
            connection.execute(
                table.insert().values(
                    sha256=digest, origin=origin, received=current_time, data=data
                )
            )

    def refused_files(self, origin: str) -> Iterator[bytes]:
        """Yield the stored files of a log that the witness refused, oldest first."""
        table = schema.refused_file_table
        query = sa.select(table.c.data).where(table.c.origin == origin)
        with database.read_connection(self.engine) as connection:
            rows = connection.execution_options(yield_per=1).execute(
                query.order_by(table.c.received, table.c.sha256)
            )
            for row in rows:
                yield bytes(row.data)

    def count_fork_evidence(self) -> int:
        """Count the stored pairs of contradicting checkpoints."""
        query = sa.select(sa.func.count().label("number")).select_from(schema.fork_evidence_table)
        return sum(row.number for row in database.fetch_rows(self.engine, query))


def store_new_log(
    connection: Connection,
    request: EnrolmentRequest,
    ledger_beginning: LedgerBeginning,
    current_time: float,
) -> None:
    """Store the ledger that a site enrols with.

    Raises:
        RefusedError: The ledger, or the one that it replaces, is known with another site, key or
            first entry.
    """
    if ledger_beginning.replaced_log is not None:
        _store_replaced_log(connection, request.site, ledger_beginning.replaced_log)
    table = schema.log_table
    origin = request.ledger_origin
    row = connection.execute(sa.select(table).where(table.c.origin == origin)).first()
    predecessor = ledger_beginning.predecessor
    if row is None:
        connection.execute(
            table.insert().values(
                origin=origin,
                site=request.site,
                key=request.ledger_key,
                genesis=ledger_beginning.genesis_leaf_hash,
                predecessor=predecessor.origin if predecessor else "",
                predecessor_checkpoint=predecessor.checkpoint if predecessor else "",
                first_seen=current_time,
            )
        )
        return
    if row.site != request.site:
        raise RefusedError("enrolment: another site uses this ledger")
    if row.key != request.ledger_key:
        raise RefusedError(
            "enrolment: this ledger is known with another key: finish 'wg-client keys --renew"
            " ledger' first, or give the ledger up with 'wg-client keys --renew ledger --stolen'"
        )
    if row.genesis != ledger_beginning.genesis_leaf_hash:
        raise RefusedError("enrolment: this ledger is known with another beginning")


def update_checkpoint_in_transaction(
    connection: Connection,
    site: StoredSite,
    current_time: float,
    decide_checkpoint: Callable[[bytes | None], tuple[bytes, int, T]],
) -> T:
    """Replace the stored checkpoint of a site's ledger within a transaction.

    Args:
        current_time: Unix time.
        decide_checkpoint: Maps the stored checkpoint, or None, to the new one, its size and the
            value to return; if it raises, the stored checkpoint stays.

    Raises:
        WitnessRefused: The ledger replaces a cosigned ledger that the site did not show, so that
            the spend that it inherits cannot be checked.
    """
    _check_predecessor_shown(connection, site.ledger_origin)
    table = schema.cosigned_checkpoint_table
    row = connection.execute(sa.select(table).where(table.c.origin == site.ledger_origin)).first()
    checkpoint, size, result = decide_checkpoint(None if row is None else row.checkpoint)
    values = {"checkpoint": checkpoint, "size": size, "updated": current_time}
    if row is None:
        connection.execute(
            table.insert().values(origin=site.ledger_origin, site=site.name, **values)
        )
    elif checkpoint != row.checkpoint:  # a node that starts asks for the previous checkpoint
        connection.execute(
            table.update().where(table.c.origin == site.ledger_origin).values(**values)
        )
    return result


def _store_replaced_log(connection: Connection, site: str, replaced_log: ReplacedLog) -> None:
    """Store a replaced ledger; refuse one of another site, or one that contradicts a checkpoint."""
    table, witness = schema.replaced_log_table, schema.cosigned_checkpoint_table
    cosigned_row = connection.execute(
        sa.select(witness).where(witness.c.origin == replaced_log.origin)
    ).first()
    if cosigned_row is not None:
        if cosigned_row.site != site:
            raise RefusedError("enrolment: the ledger that is replaced is another site's")
        head = checkpoints.decode(bytes(cosigned_row.checkpoint))[0]
        size = min(head.size, len(replaced_log.leaves))
        if size == head.size and merkle.root(list(replaced_log.leaves[:size])) != head.root:
            raise RefusedError(
                f"enrolment: the ledger that is replaced has another root at {size} entries than"
                " was cosigned here"
            )
    values = {"site": site, "size": len(replaced_log.leaves), "data": replaced_log.export_data}
    stored_row = connection.execute(
        sa.select(table.c.site, table.c.size).where(table.c.origin == replaced_log.origin)
    ).first()
    if stored_row is None:
        connection.execute(table.insert().values(origin=replaced_log.origin, **values))
    elif stored_row.site != site:
        raise RefusedError("enrolment: the ledger that is replaced is another site's")
    elif stored_row.size < len(replaced_log.leaves):
        connection.execute(
            table.update().where(table.c.origin == replaced_log.origin).values(**values)
        )


def _check_predecessor_shown(connection: Connection, origin: str) -> None:
    """Refuse a new ledger whose predecessor was cosigned here but was not shown by the site."""
    log, witness, replaced_log = (
        schema.log_table,
        schema.cosigned_checkpoint_table,
        schema.replaced_log_table,
    )
    query = (
        sa.select(log.c.predecessor)
        .join(witness, witness.c.origin == log.c.predecessor)
        .outerjoin(replaced_log, replaced_log.c.origin == log.c.predecessor)
        .where(log.c.origin == origin, replaced_log.c.origin.is_(None))
    )
    missing = connection.execute(query).first()
    if missing is not None:
        raise WitnessRefused(
            HTTPStatus.FORBIDDEN,
            f"ledger {origin} replaces {missing.predecessor}, which was not shown: what it spent"
            " cannot be checked; put its file back beside the new one and run 'wg-client init"
            " --replace' with a new token",
        )
