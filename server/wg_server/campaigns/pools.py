"""Pools of releases, one per set of class names (called kind), updated as releases come and go.

After releases were received, judged or revoked, ``GeneratorPools.refresh`` updates the sums; making
a package then takes the same time with ten sites as with ten thousand
(``generator.prior.pooling``).

The influence of a release is determined when it is added, by comparison with ``PEER_COUNT`` others
that share classes (``generator.prior.influence``). Peers are drawn by a keyed hash of their ids, so
that no site can become a peer by its name or by trying ids. All releases of a kind are compared
again while it and the kinds that share classes with it have at most ``REJUDGED_SITES`` sites, and
whenever it has doubled, because the first releases were compared with few others.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from wg_common.inference.posterior import SiteEvidence
from wg_core import locks
from wg_core.errors import StorageError, WgError
from wg_core.ledger import merkle
from wg_core.privacy.schema import CLASS_STATISTICS
from wg_core.wire import canonical
from wg_core.wire.statistics_file import StatisticsManifest
from wg_server.campaigns import intake
from wg_server.campaigns.release import OpenedRelease, PackageRecipient
from wg_server.generator.prior import influence, pooling
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.pooling import EvidencePool, PooledReleases
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.store.pools import PooledRelease, PoolTable, StoredPool
from wg_server.store.sites import ServerStore

log = logging.getLogger(__name__)

PEER_COUNT = 32  # Number of other releases that a new release is compared with
REJUDGED_SITES = 64  # Largest number of sites of which all are compared at each change
CLASSES_LIMIT = 256  # Classes of a kind; its sum grows with their square (17 MB here)
KINDS_LIMIT = 64  # Kinds that a package uses, beginning with those that share most classes

LOOKUP_PAUSE_FACTOR = 30.0  # Pause after a look-up, as a multiple of the look-up's duration

_WRITE_TRIES_LIMIT = 20


class GeneratorPools:
    """Pools of releases for one generator and encoder, kept in the store and updated from it."""

    def __init__(
        self,
        store: ServerStore,
        encoder: str,
        generator: str,
        priors: ModelVariances,
        secret: bytes,
    ) -> None:
        """Open the pools in a store.

        Args:
            generator: SHA-256 of the generator's package, hex.
            priors: Variances of the generator.
            secret: Key of the hash that draws peers.
        """
        self._store = store
        self._encoder = encoder
        self._priors = priors
        self._secret = secret
        self._table = PoolTable(store.engine, generator)
        self._next = 0.0
        self._release: Callable[[str], OpenedRelease] = lru_cache(4 * REJUDGED_SITES)(
            self._open_release
        )
        self._evidence: Callable[..., SiteEvidence] = lru_cache(4 * REJUDGED_SITES)(
            self._evidence_of
        )
        self._root: Callable[..., tuple[str, int]] = lru_cache(KINDS_LIMIT)(self._merkle_tree)
        self._sum: Callable[[str, int], EvidencePool] = lru_cache(KINDS_LIMIT)(self._read_pool)
        self._behind: Callable[[str, int], Counter[str]] = lru_cache(KINDS_LIMIT)(
            self._agreeing_release_counts
        )

    def refresh(self) -> None:
        """Add new usable releases to the pools, and remove releases that are no longer used.

        A release that cannot be opened is left out and logged. After a refresh, calls do nothing
        for ``LOOKUP_PAUSE_FACTOR`` times the duration of its look-up, so that look-ups take a small
        share of the time.
        """
        start = time.monotonic()
        if start < self._next:
            return
        present = self._table.pooled_releases()
        newest = set(self._store.newest_usable_ids(encoder=self._encoder, excluded_site=""))
        look_seconds = time.monotonic() - start
        self._update_pools(present, newest)
        self._next = time.monotonic() + LOOKUP_PAUSE_FACTOR * look_seconds

    def _update_pools(self, present: Mapping[str, PooledRelease], newest: set[str]) -> None:
        changes: dict[str, tuple[list[PooledRelease], list[str]]] = {}
        labels_by_kind = {pool.kind: labels for pool, labels in self._pools_with_names()}
        for release_id in sorted(newest - present.keys()):
            try:
                manifest = self._release(release_id).manifest
            except WgError as error:
                log.error("release %s is left out: %s", release_id, error)
                continue
            schema = manifest.schema
            fits = schema.statistics == CLASS_STATISTICS and schema.dimension == len(
                self._priors.between
            )
            if fits and 2 <= len(manifest.schema.labels) <= CLASSES_LIMIT:
                row = self._uncompared_row(manifest)
                labels_by_kind[row.kind] = frozenset(manifest.schema.labels)
                changes.setdefault(row.kind, ([], []))[0].append(row)
        for release_id in present.keys() - newest:
            changes.setdefault(present[release_id].kind, ([], []))[1].append(release_id)
        around = set(changes)
        for kind in changes:
            near = self._overlapping_kinds(labels_by_kind, kind)
            members = sum(row.kind in near for row in present.values())
            if members + len(changes[kind][0]) <= REJUDGED_SITES:
                around |= near
        coming = [row for new_rows, _ in changes.values() for row in new_rows]
        removed_ids = {i for _, ids in changes.values() for i in ids}
        peers = [*coming, *(row for i, row in present.items() if i not in removed_ids)]
        for kind in sorted(around):
            near = self._overlapping_kinds(labels_by_kind, kind)
            close = [row for row in peers if row.kind in near]
            self._update_pool(kind, tuple(sorted(labels_by_kind[kind])), close, removed_ids)

    def pooled_releases_without(self, labels: Sequence[str], site: str) -> PooledReleases:
        """Return the pools that share classes with a site, without the site's own release."""
        label_set = set(labels)
        common = [
            (len(names & label_set), pool) for pool, names in self._pools_with_names() if pool.sites
        ]
        common.sort(key=lambda pair: (-pair[0], -pair[1].sites, pair[1].kind))
        kinds = [pool for count, pool in common[:KINDS_LIMIT] if count]
        own_row = self._table.release_of(site)
        pools, behind = [], Counter[str]()
        for kind in kinds:
            pool = self._sum(kind.kind, kind.changes)
            behind += self._behind(kind.kind, kind.changes)
            if own_row is not None and own_row.used and own_row.kind == kind.kind:
                pool = pool - self._release_evidence(own_row, pool.labels)
                behind -= Counter(own_row.agreed_class_names)
            if pool.sites:
                pools.append(pool)
        root, releases = self._root(*((kind.kind, kind.changes) for kind in kinds))
        return PooledReleases(tuple(pools), root, releases, behind)

    def _update_pool(
        self,
        kind: str,
        labels: tuple[str, ...],
        close: Sequence[PooledRelease],
        removed_ids: set[str],
    ) -> None:
        """Update the pool of one kind (class set) by new and removed releases.

        Args:
            close: Current releases of this kind and of kinds that share classes with it, including
                new ones.
            removed_ids: Ids of releases to remove.
        """
        members = {row.release_id: row for row in close if row.kind == kind}
        peers = heapq.nsmallest(PEER_COUNT + 1, close, key=lambda row: row.place)
        for _ in range(_WRITE_TRIES_LIMIT):
            stored_pool = self._table.find_pool(kind)
            present = {
                i: row for i, row in self._table.pooled_releases().items() if row.kind == kind
            }
            judged_count = 0 if stored_pool is None else stored_pool.judged
            is_rebuilt = len(close) <= REJUDGED_SITES or len(members) >= 2 * judged_count
            pool = _decode_pool(
                None if is_rebuilt else stored_pool, labels, len(self._priors.between)
            )
            leave = [i for i in present if is_rebuilt or i in removed_ids]
            new_rows = [row for i, row in members.items() if is_rebuilt or i not in present]
            for release_id in leave:
                if present[release_id].used and not is_rebuilt:
                    pool = pool - self._release_evidence(present[release_id], labels)
            changes = 1 + (0 if stored_pool is None else stored_pool.changes)
            rows = []
            for row in new_rows:  # one at a time: thousands would not fit into memory
                rows.append(judged_row := self._judge_release(row, peers, labels, changes))
                if judged_row.used:
                    pool = pool + self._release_evidence(judged_row, labels)
            new_pool = StoredPool(
                generator=self._table.generator,
                kind=kind,
                labels=canonical.encode(tuple(labels)).decode(),
                sites=pool.sites,
                data=pooling.encode_pool(pool),
                changes=changes,
                judged=len(members) if is_rebuilt else judged_count,
            )
            if self._table.write_pool(new_pool, rows, leave):
                return
        raise StorageError(
            f"pool {kind[:16]}: {_WRITE_TRIES_LIMIT} times another process was first"
        )

    def _judge_release(
        self,
        row: PooledRelease,
        peers: Iterable[PooledRelease],
        labels: tuple[str, ...],
        changes: int,
    ) -> PooledRelease:
        """Compare a release with its peers; return its row with added noise, or as an outlier."""
        site = self._evidence(row.release_id, labels)
        drawn_peers = [peer for peer in peers if peer.site != row.site][:PEER_COUNT]
        evidence = [self._evidence(peer.release_id, labels) for peer in drawn_peers]
        agreement = influence.compare_with_peers(self._priors, site, evidence)
        if agreement.is_outlier:
            log.warning(
                "site %s: its classes are other ones than those of these names at other sites; its"
                " release is left out",
                row.site,
            )
        behind = tuple(
            name for name, stands in zip(labels, agreement.agreed_classes, strict=True) if stands
        )
        return replace(
            row,
            noise=agreement.noise,
            used=not agreement.is_outlier,
            behind=canonical.encode(behind).decode(),
            added=changes,
            removed=0,
        )

    def _release_evidence(self, row: PooledRelease, labels: tuple[str, ...]) -> EvidencePool:
        """Return the evidence that a release adds to its pool, or subtracts when it is removed."""
        site = self._evidence(row.release_id, labels)
        return pooling.single_site_pool(
            self._priors, labels, replace(site, noise=site.noise + row.noise)
        )

    def _evidence_of(self, release_id: str, labels: tuple[str, ...]) -> SiteEvidence:
        return site_evidence(self._release(release_id).statistics, labels)

    def _uncompared_row(self, manifest: StatisticsManifest) -> PooledRelease:
        """Return the table row of a new release that was not yet compared with its peers."""
        identity = manifest.release_id.encode()
        digest = hashlib.blake2b(identity, key=self._secret, digest_size=7).digest()
        return PooledRelease(
            release_id=manifest.release_id,
            kind=self._kind_id(manifest.schema.labels),
            site=manifest.site,
            place=int.from_bytes(digest),
            noise=0.0,
            used=False,
            behind="[]",
            added=0,
        )

    def _kind_id(self, labels: Iterable[str]) -> str:
        return canonical.sha256_hex(canonical.encode((self._encoder, *sorted(labels))))

    def _pools_with_names(self) -> list[tuple[StoredPool, frozenset[str]]]:
        """Return the pools of all kinds (class sets) with class names, but without their sums."""
        return [(pool, frozenset(pool.class_names)) for pool in self._table.list_pools()]

    @staticmethod
    def _overlapping_kinds(labels_by_kind: Mapping[str, frozenset[str]], kind: str) -> set[str]:
        """Return the kinds that share two or more classes with ``kind``, including ``kind``."""
        labels = labels_by_kind[kind]
        return {name for name, names in labels_by_kind.items() if len(names & labels) > 1}

    def _open_release(self, release_id: str) -> OpenedRelease:
        return intake.open_release(self._store.require_release(release_id))

    def _merkle_tree(self, *kinds: tuple[str, int]) -> tuple[str, int]:
        """Return root (hex) and size of the Merkle tree over the releases in some pools.

        Args:
            kinds: Pools as pairs of a kind and a change number.
        """
        leaves = [
            merkle.leaf_hash(release_id) for release_id in self._table.release_ids_in_pools(kinds)
        ]
        if not leaves:
            return "", 0
        root = merkle.root(leaves).hex()
        self._table.store_merkle_tree(root, kinds)
        return root, len(leaves)

    def _agreeing_release_counts(self, kind: str, changes: int) -> Counter[str]:
        """Return for each class the number of releases in a pool that agree on the class."""
        rows = self._table.releases_at_change(kind, changes)
        return Counter(name for row in rows for name in row.agreed_class_names)

    def _read_pool(self, kind: str, changes: int) -> EvidencePool:
        stored_pool = self._table.find_pool(kind)
        if stored_pool is None or stored_pool.changes != changes:
            raise StorageError(f"pool {kind[:16]}: changed meanwhile; the package is made again")
        return _decode_pool(stored_pool, stored_pool.class_names, len(self._priors.between))


def _decode_pool(row: StoredPool | None, labels: Sequence[str], dimension: int) -> EvidencePool:
    if row is None:
        return pooling.empty_pool(labels, dimension)
    return pooling.decode_pool(row.data, labels, dimension, row.sites)


class StoredPools:
    """Pools of the generator in use, from a store; implements ``packaging.ReleasePools``."""

    def __init__(self, home: ServerHome, store: ServerStore) -> None:
        self.store = store
        self._home = home
        self._pools: tuple[str, str, GeneratorPools] | None = None

    def pooled_releases(
        self, generator: str, priors: ModelVariances, plant: PackageRecipient
    ) -> PooledReleases:
        """Return the pooled releases of other sites, see ``packaging.ReleasePools``."""
        if self._pools is None or self._pools[:2] != (generator, plant.encoder):
            secret = hashlib.sha256(self._home.signing_key.read_bytes()).digest()
            pools = GeneratorPools(self.store, plant.encoder, generator, priors, secret)
            self._pools = generator, plant.encoder, pools
        pools = self._pools[2]
        with locks.hold_lock(
            self._home.root / "pools.lock"
        ):  # one of several processes does the work
            pools.refresh()
        return pools.pooled_releases_without(plant.labels, plant.site)
