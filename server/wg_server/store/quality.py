"""Packages that sites were asked about, and the quality reports that they answered with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError
from wg_server.store import database, schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The package that one site is asked about.

    Attributes:
        site: The site.
        delivery_id: Request id under which it was delivered.
        package_id: Its id, hex.
        package_sha256: SHA-256 of its file, hex.
        conditioned: Whether it was made from a release of the site itself.
        candidates: Names of the candidates that are counted, in order.
    """

    site: str
    delivery_id: str
    package_id: str
    package_sha256: str
    conditioned: bool
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """One verified quality report; ``data`` is the covered ``.wgq`` file as it came.

    ``signing_key`` is the key, hex, that verified it: the site may have another one by now.
    """

    received: float
    signing_key: str
    data: bytes


def put_subjects(connection: Connection, campaign_id: str, subjects: Sequence[Subject]) -> None:
    """Remember, within a transaction, what each site of a campaign is asked about."""
    rows = [
        {
            "campaign": campaign_id,
            "site": each.site,
            "delivery_id": each.delivery_id,
            "package_id": each.package_id,
            "package_sha256": each.package_sha256,
            "conditioned": int(each.conditioned),
            "candidates": json.dumps(each.candidates),
        }
        for each in subjects
    ]
    if rows:
        connection.execute(schema.quality.insert(), rows)


def put_report(connection: Connection, campaign_id: str, site: str, report: StoredReport) -> None:
    """Keep a report within a transaction."""
    table = schema.quality
    connection.execute(
        table.update()
        .where(table.c.campaign == campaign_id, table.c.site == site)
        .values(received=report.received, signing_key=report.signing_key, data=report.data)
    )


def parts(engine: Engine, campaign_id: str) -> dict[str, tuple[Subject, StoredReport | None]]:
    """What each site of a campaign was asked about, and its report if it came."""
    table = schema.quality
    query = sa.select(table).where(table.c.campaign == campaign_id).order_by(table.c.site)
    return {row.site: (_subject(row), _report(row)) for row in database.rows(engine, query)}


def subject(engine: Engine, campaign_id: str, site: str) -> Subject:
    """What a site is asked about.

    Raises:
        ConfigError: It is asked about nothing.
    """
    table = schema.quality
    query = sa.select(table).where(table.c.campaign == campaign_id, table.c.site == site)
    row = database.first(engine, query)
    if row is None:
        raise ConfigError(f"campaign {campaign_id}: {site} is asked about no package")
    return _subject(row)


def reports(engine: Engine, site: str) -> list[StoredReport]:
    """All reports of a site, newest first; the same file may have come to two campaigns."""
    table = schema.quality
    query = sa.select(table).where(table.c.site == site, table.c.received > 0)
    found = database.rows(engine, query.order_by(table.c.received.desc()))
    return [report for row in found if (report := _report(row)) is not None]


def _subject(row: sa.Row[tuple[object, ...]]) -> Subject:
    return Subject(
        site=row.site,
        delivery_id=row.delivery_id,
        package_id=row.package_id,
        package_sha256=row.package_sha256,
        conditioned=bool(row.conditioned),
        candidates=tuple(json.loads(row.candidates)),
    )


def _report(row: sa.Row[tuple[object, ...]]) -> StoredReport | None:
    if not row.received:
        return None
    return StoredReport(received=row.received, signing_key=row.signing_key, data=bytes(row.data))
