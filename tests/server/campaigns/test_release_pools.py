"""Sums of kinds follow the releases that are used, and say whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.server.generator.conftest import ENCODER, World, generator, world, zoo_tasks
from tests.server.rows import release_of

from wg_core.errors import DecodeError
from wg_core.ledger import merkle
from wg_server.campaigns import expected_benefit, release_intake, release_pools
from wg_server.campaigns.release_pools import GeneratorPools
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.weights.head_generation import HeadGenerator
from wg_server.store import schema
from wg_server.store.pools import PoolTable
from wg_server.store.quarantine import set_release_status
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore

__all__ = ["generator", "world", "zoo_tasks"]

LABELS = ("c0", "c1", "c2", "c3")
MOVED = ("c1", "c2", "c3", "c0")


@dataclass
class Fleet:
    """Sites that release, and the sums of what they released."""

    store: ServerStore
    world: World
    priors: ModelVariances
    releases: dict[str, Any]

    def pools(self, generator: str = "cd" * 32) -> GeneratorPools:
        return GeneratorPools(self.store, ENCODER, generator, self.priors, b"secret")

    def release(
        self, number: int, labels: tuple[str, ...] = LABELS, again: int = 0, records: int = 0
    ) -> str:
        """One more release of a site, with the records of another site if ``records`` says so."""
        site, name = f"plant-{number:03}", f"{number:03}-{again}"
        statistics = self.world.release(
            3, records or number + 100 * again, epsilon=4.0, shots=200, labels=labels
        )
        manifest = SimpleNamespace(schema=statistics.schema, site=site, release_id=name)
        self.releases[name] = SimpleNamespace(manifest=manifest, statistics=statistics)
        with self.store.engine.begin() as connection:
            table = schema.site_table
            if connection.execute(sa.select(table).where(table.c.name == site)).first() is None:
                connection.execute(table.insert().values(name=site, state="enrolled"))
        self.store.add_release(
            release_of(site, name, encoder=ENCODER, epsilon="4", received=float(again))
        )
        return name


@pytest.fixture
def fleet(
    any_store: ServerStore, world: World, generator: HeadGenerator, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    fleet = Fleet(any_store, world, generator.package.priors, {})

    def opened(stored: StoredRelease) -> Any:
        if stored.release_id not in fleet.releases:
            raise DecodeError("a damaged store")
        return fleet.releases[stored.release_id]

    monkeypatch.setattr(release_intake, "decode_stored_release", opened)
    return fleet


def the_sum(fleet: Fleet, site: str = "nobody") -> evidence_pools.EvidencePool:
    (pool,) = fleet.pools().pooled_releases_for_site(LABELS, site).pools
    return pool


def same(one: evidence_pools.EvidencePool, other: evidence_pools.EvidencePool) -> bool:
    return (
        one.site_count == other.site_count
        and np.array_equal(one.precision, other.precision)
        and np.array_equal(one.right_sides, other.right_sides)
    )


def root_of(names: list[str]) -> str:
    return merkle.root([merkle.leaf_hash(name.encode()) for name in names]).hex()


def test_a_site_sees_all_others_and_not_itself(fleet: Fleet) -> None:
    names = [fleet.release(number) for number in range(6)]
    kept = fleet.pools()
    kept.refresh_pools()
    found = kept.pooled_releases_for_site(LABELS, "plant-002")
    assert found.pools[0].site_count == found.other_site_count == 5
    assert found.release_count == 6
    assert found.merkle_root == root_of(names)
    assert the_sum(fleet).site_count == 6


def test_what_came_later_or_in_another_order_gives_the_same_sum(fleet: Fleet) -> None:
    for number in (4, 1, 5):
        fleet.release(number)
        fleet.pools().refresh_pools()
    fleet.release(2)
    fleet.pools().refresh_pools()
    fleet.pools("ef" * 32).refresh_pools()  # of another generator, all at once
    (other,) = fleet.pools("ef" * 32).pooled_releases_for_site(LABELS, "nobody").pools
    assert same(the_sum(fleet), other)


def test_quarantine_revocation_and_a_newer_release_take_the_old_one_back(fleet: Fleet) -> None:
    names = [fleet.release(number) for number in range(5)]
    fleet.pools().refresh_pools()
    before = the_sum(fleet)
    set_release_status(fleet.store.engine, names[1], "rejected")
    fleet.pools().refresh_pools()
    assert the_sum(fleet).site_count == 4
    set_release_status(fleet.store.engine, names[1], "accepted")
    fleet.pools().refresh_pools()
    assert same(the_sum(fleet), before)
    fleet.store.revoke_site("plant-003", current_time=1.0)
    fleet.release(4, again=1)
    fleet.pools().refresh_pools()
    found = fleet.pools().pooled_releases_for_site(LABELS, "nobody")
    assert found.pools[0].site_count == 4 and not same(found.pools[0], before)
    left = sorted([*names[:3], "004-1"])
    assert found.merkle_root == root_of(left)


def test_which_releases_a_package_stood_on_can_be_told_later(fleet: Fleet) -> None:
    names = [fleet.release(number) for number in range(4)]
    fleet.pools().refresh_pools()
    table = PoolTable(fleet.store.engine, "cd" * 32)
    (pool,) = table.list_pools()
    set_release_status(fleet.store.engine, names[0], "rejected")
    fleet.release(7)
    fleet.pools().refresh_pools()
    assert [row.release_id for row in table.releases_at_change(pool.kind, pool.changes)] == names


def test_exchanged_labels_are_left_out_whoever_came_first(fleet: Fleet) -> None:
    fleet.release(1, MOVED)
    fleet.pools().refresh_pools()
    assert the_sum(fleet).site_count == 1  # nobody to hold it against
    for number in range(2, 8):
        fleet.release(number)
        fleet.pools().refresh_pools()
    # Its classes have the same names, so it is of the same kind.
    found = fleet.pools().pooled_releases_for_site(LABELS, "nobody")
    assert [pool.site_count for pool in found.pools] == [6]
    assert found.release_count == 6


def test_a_kind_of_its_own_does_not_escape_comparison(fleet: Fleet) -> None:
    for number in range(1, 7):
        fleet.release(number)
    fleet.release(8, (*MOVED, "made up"))
    fleet.pools().refresh_pools()
    found = fleet.pools().pooled_releases_for_site(LABELS, "nobody")
    assert [pool.labels for pool in found.pools] == [LABELS]


def test_kinds_with_a_class_in_common_are_used_and_others_are_not(fleet: Fleet) -> None:
    for number in range(1, 4):
        fleet.release(number)
    fleet.release(4, ("c0", "x1", "x2", "x3"))
    fleet.release(5, ("y0", "y1", "y2", "y3"))
    fleet.pools().refresh_pools()
    found = fleet.pools().pooled_releases_for_site(LABELS, "nobody")
    assert [pool.site_count for pool in found.pools] == [3, 1]
    assert found.release_count == 4


def test_a_release_that_cannot_be_opened_is_left_out(fleet: Fleet) -> None:
    for number in range(3):
        fleet.release(number)
    del fleet.releases["001-0"]
    fleet.pools().refresh_pools()
    assert the_sum(fleet).site_count == 2


def test_many_sites_are_taken_in_a_few_at_a_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_pools, "RECOMPARED_SITES_LIMIT", 6)
    monkeypatch.setattr(release_pools, "COMPARED_PEERS_LIMIT", 5)
    for number in range(20):
        fleet.release(number)
        if number % 3 == 0:
            fleet.pools().refresh_pools()
    fleet.pools().refresh_pools()
    assert the_sum(fleet).site_count == 20
    assert the_sum(fleet, "plant-007").site_count == 19
    kept = PoolTable(fleet.store.engine, "cd" * 32)
    assert kept.release_of_site("plant-007") is not None
    assert kept.release_of_site("plant-999") is None


def test_of_two_processes_none_loses_a_site(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        fleet.release(number)
    write = PoolTable.write_pool

    def overtaken(table: PoolTable, *arguments: Any) -> bool:
        monkeypatch.setattr(PoolTable, "write_pool", write)
        fleet.release(9)
        fleet.pools().refresh_pools()
        return write(table, *arguments)

    monkeypatch.setattr(PoolTable, "write_pool", overtaken)
    fleet.pools().refresh_pools()
    fleet.pools().refresh_pools()
    assert the_sum(fleet).site_count == 4


def test_a_long_intake_keeps_no_later_release_waiting(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, change, found = [0.0], release_pools.GeneratorPools._update_pool, fleet.pools()

    def slow(*words: Any) -> None:
        clock[0] += 100.0
        change(*words)

    monkeypatch.setattr(release_pools.GeneratorPools, "_update_pool", slow)
    monkeypatch.setattr(release_pools, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    for number in range(3):
        fleet.release(number)
        found.refresh_pools()
    assert the_sum(fleet).site_count == 3


def test_whom_a_campaign_asks_is_read_from_the_sums(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, labels in ((1, LABELS), (2, LABELS), (3, ("c8", "c9"))):
        fleet.release(number, labels)
    fleet.pools().refresh_pools()
    monkeypatch.setattr(
        release_intake, "recipient_without_statistics", None
    )  # no release is opened
    sites = ["plant-001", "plant-002", "plant-003"]
    assert [
        *expected_benefit.class_name_overlap(fleet.store, sites, "cd" * 32).skip_codes_by_site()
    ] == ["plant-003"]
