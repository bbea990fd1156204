"""What the server remembers of its plants: enrolment, certificates, ledgers seen, releases.

Decisions ("is this token still good?", "does this checkpoint extend the last?") are taken and
recorded in one transaction. Join tokens are kept as hashes only. It is longer than 500 lines, since
these transactions share their tables: in two modules a decision and its record would come apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_common.errors import ConfigError, RefusedError, VerificationError
from wg_common.wire.protocol import EnrolmentRequest
from wg_server.site.home import ServerHome
from wg_server.store import database, schema
from wg_server.store.succession import Beginning, SeenLog

T = TypeVar("T")

EVIDENCE_LIMIT = 16
"""Most pairs of contradicting checkpoints that are kept of one log."""
SiteState = Literal["invited", "enrolled", "revoked"]
Standing = Literal["untested", "plausible", "quarantined", "accepted", "rejected"]
"""Of a release: ``plausible`` and ``accepted`` (by the operator) ones are used."""
USED = ("plausible", "accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One plant.

    Attributes:
        name: Its name.
        state: ``invited`` (a token was made), ``enrolled`` or ``revoked``.
        node_key: Flower node key, PEM; empty before enrolment.
        signing_key: Statistics key, hex.
        ledger_origin: Origin of its ledger.
        ledger_key: Ledger checkpoint key, hex.
        enrolled: When it enrolled; 0 before.
        last_seen: When it last made a request that was let through; 0 before.
    """

    name: str
    state: SiteState
    node_key: str
    signing_key: str
    ledger_origin: str
    ledger_key: str
    enrolled: float
    last_seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRelease:
    """One verified release; ``data`` is the covered ``.wgs`` file as it came.

    ``signing_key`` is the key, hex, that verified it: the site may have another one by now.
    ``reasons`` says, a line each, why it is implausible, whatever its standing is by now.
    """

    release_id: str
    site: str
    encoder: str
    epsilon: str
    delta: str
    received: float
    signing_key: str
    data: bytes
    standing: Standing
    reasons: str = ""

    @property
    def used(self) -> bool:
        """Whether packages may be made from it."""
        return self.standing in USED


class Store:
    """The database of sites and releases."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, home: ServerHome) -> Self:
        """Open the store of a home, and bring its schema up to date.

        Raises:
            ConfigError: The home is not initialised, or the database cannot be opened.
        """
        return cls(database.open_engine(home.database_url))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def invite(self, site: str, secret: str, expires: float, *, replace: bool = False) -> None:
        """Remember a join token (as a hash), and with it the site's name.

        Raises:
            ConfigError: The site is enrolled and is not to be replaced.
        """
        with self.engine.begin() as connection:
            known = _site(connection, site, lock=True)
            if known is None:
                empty = {"node_key": "", "signing_key": "", "ledger_origin": "", "ledger_key": ""}
                connection.execute(
                    schema.site.insert().values(
                        name=site, state="invited", enrolled=0.0, last_seen=0.0, **empty
                    )
                )
            elif known.state == "enrolled" and not replace:
                raise ConfigError(
                    f"site {site}: enrolled already; --replace lets it enrol again with new keys"
                )
            connection.execute(
                schema.join_token.insert().values(
                    secret_sha256=hash_secret(secret), site=site, expires=expires
                )
            )

    def enrol(
        self,
        request: EnrolmentRequest,
        node_key: str,
        now: float,
        issue: Callable[[], tuple[str, float, T]],
        beginning: Beginning,
    ) -> T:
        """Spend a join token and record the site's keys, ledger and certificate, or change nothing.

        Args:
            request: What the site sent; its secret must be an unused token of its name.
            node_key: The checked node key, PEM.
            now: Unix time.
            issue: Makes the certificate: fingerprint, expiry, and what to return.
            beginning: How the site's ledger begins; what its ``cosign`` raises is passed on.

        Raises:
            RefusedError: The token is unknown, spent, expired, or of another site; or the ledger
                is another site's, or known with another key or another beginning.
        """
        tokens, sites, certificates = schema.join_token, schema.site, schema.certificate
        with self.engine.begin() as connection:
            spent = connection.execute(
                tokens.update()
                .where(
                    tokens.c.secret_sha256 == hash_secret(request.secret),
                    tokens.c.site == request.site,
                    tokens.c.used.is_(None),
                    tokens.c.expires > now,
                )
                .values(used=now)
            )
            if spent.rowcount != 1:
                raise RefusedError("join token: unknown, used, expired, or of another site")
            database.lock_table(connection, sites)  # "nobody else has this key" is about all rows
            taken = connection.execute(
                sa.select(sites.c.name).where(
                    sites.c.name != request.site,
                    sa.or_(
                        sites.c.node_key == node_key,
                        sites.c.signing_key == request.signing_key,
                        sites.c.ledger_key == request.ledger_key,
                        sites.c.ledger_origin == request.ledger_origin,
                    ),
                )
            ).first()
            if taken is not None:
                raise RefusedError("enrolment: another site uses one of these keys")
            _begin_log(connection, request, beginning, now)
            fingerprint, expires, result = issue()
            _revoke_certificates(connection, request.site, now)
            connection.execute(
                sites.update()
                .where(sites.c.name == request.site)
                .values(
                    state="enrolled",
                    node_key=node_key,
                    signing_key=request.signing_key,
                    ledger_origin=request.ledger_origin,
                    ledger_key=request.ledger_key,
                    enrolled=now,
                )
            )
            connection.execute(
                certificates.insert().values(
                    fingerprint=fingerprint, site=request.site, expires=expires
                )
            )
            _witness(connection, _known(connection, request.site), now, beginning.cosign)
            return result

    def add_certificate(self, site: str, fingerprint: str, expires: float) -> None:
        """Record a renewed certificate; the older one stays good until it expires."""
        with self.engine.begin() as connection:
            connection.execute(
                schema.certificate.insert().values(
                    fingerprint=fingerprint, site=site, expires=expires
                )
            )

    def revoke(self, site: str, now: float) -> None:
        """Shut a site out: its certificates and unused tokens are worth nothing from now on.

        Raises:
            ConfigError: There is no such site.
        """
        with self.engine.begin() as connection:
            if _site(connection, site, lock=True) is None:
                raise ConfigError(f"site {site}: unknown")
            _revoke_certificates(connection, site, now)
            connection.execute(
                schema.site.update().where(schema.site.c.name == site).values(state="revoked")
            )
            connection.execute(
                schema.join_token.update()
                .where(schema.join_token.c.site == site, schema.join_token.c.used.is_(None))
                .values(used=now)
            )

    def authenticate(self, fingerprint: str, now: float) -> Site | None:
        """The enrolled site that a client certificate belongs to, if it is good now."""
        sites, certificates = schema.site, schema.certificate
        with database.reading(self.engine) as connection:
            row = connection.execute(
                sa.select(sites)
                .join(certificates, certificates.c.site == sites.c.name)
                .where(
                    certificates.c.fingerprint == fingerprint,
                    certificates.c.revoked.is_(None),
                    certificates.c.expires > now,
                    sites.c.state == "enrolled",
                )
            ).first()
        return None if row is None else Site(**row._mapping)

    def saw(self, site: str, now: float) -> None:
        """Remember when a site was last heard of."""
        with self.engine.begin() as connection:
            connection.execute(
                schema.site.update().where(schema.site.c.name == site).values(last_seen=now)
            )

    def site(self, name: str) -> Site:
        """One site.

        Raises:
            ConfigError: There is no such site.
        """
        with database.reading(self.engine) as connection:
            return _known(connection, name)

    def sites(self) -> list[Site]:
        """All sites, by name."""
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(schema.site).order_by(schema.site.c.name))
            return [Site(**row._mapping) for row in rows]

    def certificate_expiry(self, site: str) -> float | None:
        """When the newest good certificate of a site expires."""
        table = schema.certificate
        with database.reading(self.engine) as connection:
            found = connection.execute(
                sa.select(sa.func.max(table.c.expires)).where(
                    table.c.site == site, table.c.revoked.is_(None)
                )
            ).scalar()
        return None if found is None else float(found)

    def witness(
        self, site: Site, now: float, decide: Callable[[bytes | None], tuple[bytes, int, T]]
    ) -> T:
        """Let ``decide`` see the last checkpoint of a site's ledger, and store the new one.

        Args:
            site: The site.
            now: Unix time.
            decide: Takes the remembered checkpoint, returns the new one, its size and a result;
                what it raises leaves the memory as it was.
        """
        with self.engine.begin() as connection:
            _site(connection, site.name, lock=True)  # the first checkpoint has no row to lock yet
            return _witness(connection, site, now, decide)

    def rotate_ledger_key(
        self,
        site: Site,
        new_key: str,
        now: float,
        decide: Callable[[str, bytes | None], tuple[bytes, int, T]],
    ) -> T:
        """Let ``decide`` see a site's ledger key and checkpoint, and store the new ones.

        Args:
            site: The site.
            new_key: The new ledger key, hex.
            now: Unix time.
            decide: As for ``witness``, with the ledger key that is known before the checkpoint.

        Raises:
            RefusedError: Another site uses the key, or the site is not enrolled any more.
        """
        table = schema.site
        with self.engine.begin() as connection:
            database.lock_table(connection, table)
            known = _site(connection, site.name, lock=True)
            taken = connection.execute(
                sa.select(table.c.name).where(
                    table.c.name != site.name, table.c.ledger_key == new_key
                )
            ).first()
            if known is None or known.state != "enrolled" or taken is not None:
                raise RefusedError("rotation: not enrolled, or another site uses this key")
            result = _witness(connection, known, now, partial(decide, known.ledger_key))
            connection.execute(
                table.update().where(table.c.name == site.name).values(ledger_key=new_key)
            )
            connection.execute(
                schema.log.update()
                .where(schema.log.c.origin == known.ledger_origin)
                .values(key=new_key)
            )
            return result

    def logs(self) -> dict[str, list[SeenLog]]:
        """Every ledger that a site enrolled with, by site, oldest first."""
        logs, witness = schema.log, schema.witness
        query = (
            sa.select(logs, witness.c.checkpoint)
            .outerjoin(witness, witness.c.origin == logs.c.origin)
            .order_by(logs.c.site, logs.c.first_seen, logs.c.origin)
        )
        found: dict[str, list[SeenLog]] = {}
        with database.reading(self.engine) as connection:
            for row in connection.execute(query):
                found.setdefault(row.site, []).append(SeenLog(**row._mapping))
        return found

    def witnessed(self, origin: str) -> bytes | None:
        """The last checkpoint cosigned for a ledger."""
        with database.reading(self.engine) as connection:
            row = connection.execute(
                sa.select(schema.witness.c.checkpoint).where(schema.witness.c.origin == origin)
            ).first()
        return None if row is None else bytes(row.checkpoint)

    def keep_evidence(self, origin: str, earlier: bytes, later: bytes, now: float) -> None:
        """Keep two signed checkpoints that contradict each other, if they are news.

        One pair proves a fork. A site that goes on forking adds nothing: of one log at most
        ``EVIDENCE_LIMIT`` pairs are kept, the first ones.
        """
        table = schema.evidence
        with self.engine.begin() as connection:
            database.lock_table(connection, table)
            kept = connection.execute(
                sa.select(table.c.earlier, table.c.later).where(table.c.origin == origin)
            ).all()
            pairs = {(bytes(row.earlier), bytes(row.later)) for row in kept}
            if len(kept) >= EVIDENCE_LIMIT or (earlier, later) in pairs:
                return
            connection.execute(
                table.insert().values(origin=origin, received=now, earlier=earlier, later=later)
            )

    def evidence(self) -> list[tuple[str, float, bytes, bytes]]:
        """All evidence of forks: origin, time, earlier and later checkpoint."""
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(schema.evidence).order_by(schema.evidence.c.id))
            return [(row.origin, row.received, row.earlier, row.later) for row in rows]

    def add_release(self, release: StoredRelease) -> StoredRelease:
        """Keep a verified release; one that is there already must be the same.

        Returns:
            The release as it is kept: with the standing that it has by now.

        Raises:
            VerificationError: Another release has this id.
        """
        with self.engine.begin() as connection:
            return replace(release, standing=put_release(connection, release))

    def releases(self, site: str) -> Iterator[StoredRelease]:
        """All releases of a site, oldest first, one at a time."""
        table = schema.release
        query = sa.select(table).where(table.c.site == site)
        with database.reading(self.engine) as connection:
            rows = connection.execution_options(yield_per=1).execute(
                query.order_by(table.c.received, table.c.release_id)
            )
            for row in rows:
                yield StoredRelease(**row._mapping)

    def find_release(self, release_id: str) -> StoredRelease | None:
        """One release, if it is there."""
        with database.reading(self.engine) as connection:
            row = connection.execute(
                sa.select(schema.release).where(schema.release.c.release_id == release_id)
            ).first()
        return None if row is None else StoredRelease(**row._mapping)

    def release(self, release_id: str) -> StoredRelease:
        """One release.

        Raises:
            ConfigError: There is none of this id.
        """
        found = self.find_release(release_id)
        if found is None:
            raise ConfigError(f"release {release_id}: unknown")
        return found

    def memory(self, *, encoder: str, apart_from: str) -> Sequence[StoredRelease]:
        """The newest release that is used of every other site that is not revoked.

        Under an encoder. A site whose newest one is in quarantine is remembered by the one before.
        """
        releases, sites = schema.release, schema.site
        rank = sa.func.row_number().over(
            partition_by=releases.c.site,
            order_by=(releases.c.received.desc(), releases.c.release_id.desc()),
        )
        ranked = (
            sa.select(releases.c.release_id, rank.label("rank"))
            .join(sites, sites.c.name == releases.c.site)
            .where(
                releases.c.encoder == encoder,
                releases.c.site != apart_from,
                releases.c.standing.in_(USED),
                sites.c.state != "revoked",
            )
            .subquery()
        )
        with database.reading(self.engine) as connection:
            rows = connection.execute(
                sa.select(releases)
                .join(ranked, ranked.c.release_id == releases.c.release_id)
                .where(ranked.c.rank == 1)
                .order_by(releases.c.site)
            )
            return [StoredRelease(**row._mapping) for row in rows]

    def forks(self) -> int:
        """How many pieces of evidence of forks there are."""
        with database.reading(self.engine) as connection:
            count = sa.select(sa.func.count()).select_from(schema.evidence)
            return int(connection.execute(count).scalar_one())


def put_release(connection: Connection, release: StoredRelease) -> Standing:
    """Insert a release within a transaction, and return its standing; see ``Store.add_release``."""
    table = schema.release
    row = connection.execute(
        sa.select(table.c.site, table.c.standing).where(table.c.release_id == release.release_id)
    ).first()
    if row is None:
        connection.execute(
            table.insert().values(
                release_id=release.release_id,
                site=release.site,
                encoder=release.encoder,
                epsilon=release.epsilon,
                delta=release.delta,
                received=release.received,
                signing_key=release.signing_key,
                data=release.data,
                standing=release.standing,
                reasons=release.reasons,
            )
        )
        return release.standing
    if row.site != release.site:
        raise VerificationError(f"release {release.release_id}: is one of another site")
    return cast(Standing, row.standing)


def _begin_log(
    connection: Connection, request: EnrolmentRequest, beginning: Beginning, now: float
) -> None:
    """Remember the ledger that a site enrols with, unless it contradicts what is known of it."""
    table = schema.log
    origin = request.ledger_origin
    known = connection.execute(sa.select(table).where(table.c.origin == origin)).first()
    named = beginning.predecessor
    values = {
        "genesis": beginning.genesis,
        "predecessor": named.origin if named else "",
        "predecessor_checkpoint": named.checkpoint if named else "",
    }
    if known is None:
        values |= {"site": request.site, "key": request.ledger_key}
        connection.execute(table.insert().values(origin=origin, first_seen=now, **values))
        return
    if known.site != request.site:
        raise RefusedError("enrolment: another site uses this ledger")
    if known.key and known.key != request.ledger_key:
        raise RefusedError(
            "enrolment: this ledger is known with another key: finish 'wg-client rotate-key' first,"
            " or give the ledger up with 'wg-client compromise'"
        )
    if known.genesis and known.genesis != beginning.genesis:
        raise RefusedError("enrolment: this ledger is known with another beginning")
    connection.execute(
        table.update().where(table.c.origin == origin).values(key=request.ledger_key, **values)
    )


def _known(connection: Connection, name: str) -> Site:
    found = _site(connection, name, lock=False)
    if found is None:
        raise ConfigError(f"site {name}: unknown; see 'wg-server sites'")
    return found


def _witness(
    connection: Connection,
    site: Site,
    now: float,
    decide: Callable[[bytes | None], tuple[bytes, int, T]],
) -> T:
    table = schema.witness
    row = connection.execute(sa.select(table).where(table.c.origin == site.ledger_origin)).first()
    checkpoint, size, result = decide(None if row is None else row.checkpoint)
    values = {"checkpoint": checkpoint, "size": size, "updated": now}
    if row is None:
        connection.execute(
            table.insert().values(origin=site.ledger_origin, site=site.name, **values)
        )
    else:
        connection.execute(
            table.update().where(table.c.origin == site.ledger_origin).values(**values)
        )
    return result


def hash_secret(secret: str) -> str:
    """What is stored of a join token's secret (256 random bits: a plain hash is enough)."""
    return hashlib.sha256(secret.encode("ascii", "replace")).hexdigest()


def _site(connection: Connection, name: str, *, lock: bool) -> Site | None:
    query = sa.select(schema.site).where(schema.site.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Site(**row._mapping)


def _revoke_certificates(connection: Connection, site: str, now: float) -> None:
    table = schema.certificate
    connection.execute(
        table.update().where(table.c.site == site, table.c.revoked.is_(None)).values(revoked=now)
    )
