"""Pools of releases, one per set of class names, updated as releases come and go.

After releases were received, judged or revoked, ``GeneratorPools.refresh_pools`` updates the pools;
a package then takes the same time with ten sites as with ten thousand
(``generator.prior.evidence_pools``).

The influence of a release is determined when it is added, by comparison with
``COMPARED_PEERS_LIMIT`` others that share classes (``generator.prior.influence_bound``). Peers are
drawn by a keyed hash of their ids, so that no site can become a peer by its name or by trying ids.
The first releases of a pool were compared with few others. All its releases are therefore compared
again whenever their number has doubled, and at each change while the pool and those that share
classes with it have at most ``RECOMPARED_SITES_LIMIT`` sites.
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
from wg_server.campaigns import release_intake
from wg_server.campaigns.release import DecodedRelease, PackageRecipient
from wg_server.generator.prior import evidence_pools, influence_bound
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.evidence_pools import EvidencePool, PooledReleases
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.store.pools import PooledRelease, PoolTable, StoredPool
from wg_server.store.server_store import ServerStore

log = logging.getLogger(__name__)

COMPARED_PEERS_LIMIT = 32  # Number of other releases that a new release is compared with
RECOMPARED_SITES_LIMIT = 64  # Largest number of sites of which all are compared at each change
POOL_CLASSES_LIMIT = 256  # Classes of a pool, whose size grows with their square (here 17 MB)
PACKAGE_POOLS_LIMIT = 64  # Pools that a package uses, those that share most classes first

LOOKUP_PAUSE_FACTOR = 30.0  # Pause after a look-up, as a multiple of the look-up's duration

_WRITE_TRIES_LIMIT = 20


class GeneratorPools:
    """Pools of releases for one generator and encoder, in the store that has the releases."""

    def __init__(
        self,
        store: ServerStore,
        encoder_sha256: str,
        generator_sha256: str,
        priors: ModelVariances,
        peer_hash_key: bytes,
    ) -> None:
        """Open the pools in a store.

        Args:
            generator_sha256: SHA-256 of the generator's package, hex.
            priors: Variances of class means between tasks and sites, from the generator.
            peer_hash_key: Key of the hash that draws peers.
        """
        self._store = store
        self._encoder = encoder_sha256
        self._priors = priors
        self._secret = peer_hash_key
        self._table = PoolTable(store.engine, generator_sha256)
        self._next = 0.0
        self._release: Callable[[str], DecodedRelease] = lru_cache(4 * RECOMPARED_SITES_LIMIT)(
            self._load_release
        )
        self._evidence: Callable[..., SiteEvidence] = lru_cache(4 * RECOMPARED_SITES_LIMIT)(
            self._site_evidence
        )
        self._root: Callable[..., tuple[str, int]] = lru_cache(PACKAGE_POOLS_LIMIT)(
            self._merkle_root_and_size
        )
        self._sum: Callable[[str, int], EvidencePool] = lru_cache(PACKAGE_POOLS_LIMIT)(
            self._read_pool
        )
        self._behind: Callable[[str, int], Counter[str]] = lru_cache(PACKAGE_POOLS_LIMIT)(
            self._agreeing_release_counts
        )

    def refresh_pools(self) -> None:
        """Add new usable releases to the pools, and remove releases that are no longer used.

        A release that cannot be opened is left out and logged. After a refresh, further calls do
        nothing for ``LOOKUP_PAUSE_FACTOR`` times as long as it took to look for changes, so that
        this takes a small share of the time.
        """
        start = time.monotonic()
        if start < self._next:
            return
        present = self._table.pooled_releases_by_id()
        newest = set(
            self._store.newest_usable_release_ids(encoder_sha256=self._encoder, excluded_site="")
        )
        look_seconds = time.monotonic() - start
        self._update_pools(present, newest)
        self._next = time.monotonic() + LOOKUP_PAUSE_FACTOR * look_seconds

    def _update_pools(
        self, pooled_releases: Mapping[str, PooledRelease], newest_usable_ids: set[str]
    ) -> None:
        changes: dict[str, tuple[list[PooledRelease], list[str]]] = {}
        labels_by_kind = {pool.kind: labels for pool, labels in self._pools_with_class_names()}
        for release_id in sorted(newest_usable_ids - pooled_releases.keys()):
            try:
                manifest = self._release(release_id).manifest
            except WgError as error:
                log.error("release %s is left out: %s", release_id, error)
                continue
            schema = manifest.schema
            fits = schema.release_kind == CLASS_STATISTICS and schema.dimension == len(
                self._priors.between
            )
            if fits and 2 <= len(manifest.schema.labels) <= POOL_CLASSES_LIMIT:
                row = self._uncompared_row(manifest)
                labels_by_kind[row.kind] = frozenset(manifest.schema.labels)
                changes.setdefault(row.kind, ([], []))[0].append(row)
        for release_id in pooled_releases.keys() - newest_usable_ids:
            changes.setdefault(pooled_releases[release_id].kind, ([], []))[1].append(release_id)
        around = set(changes)
        for kind in changes:
            near = self._overlapping_class_sets(labels_by_kind, kind)
            members = sum(row.kind in near for row in pooled_releases.values())
            if members + len(changes[kind][0]) <= RECOMPARED_SITES_LIMIT:
                around |= near
        coming = [row for new_rows, _ in changes.values() for row in new_rows]
        removed_ids = {i for _, ids in changes.values() for i in ids}
        peers = [*coming, *(row for i, row in pooled_releases.items() if i not in removed_ids)]
        for kind in sorted(around):
            near = self._overlapping_class_sets(labels_by_kind, kind)
            close = [row for row in peers if row.kind in near]
            self._update_pool(kind, tuple(sorted(labels_by_kind[kind])), close, removed_ids)

    def pooled_releases_for_site(self, labels: Sequence[str], excluded_site: str) -> PooledReleases:
        """Return the pools that share classes with a site, without the site's own release."""
        label_set = set(labels)
        common = [
            (len(names & label_set), pool)
            for pool, names in self._pools_with_class_names()
            if pool.sites
        ]
        common.sort(key=lambda pair: (-pair[0], -pair[1].sites, pair[1].kind))
        kinds = [pool for count, pool in common[:PACKAGE_POOLS_LIMIT] if count]
        own_row = self._table.release_of_site(excluded_site)
        pools, behind = [], Counter[str]()
        for kind in kinds:
            pool = self._sum(kind.kind, kind.changes)
            behind += self._behind(kind.kind, kind.changes)
            if own_row is not None and own_row.used and own_row.kind == kind.kind:
                pool = pool - self._single_release_pool(own_row, pool.labels)
                behind -= Counter(own_row.agreed_class_names)
            if pool.site_count:
                pools.append(pool)
        root, releases = self._root(*((kind.kind, kind.changes) for kind in kinds))
        return PooledReleases(tuple(pools), root, releases, behind)

    def _update_pool(
        self,
        class_set_id: str,
        labels: tuple[str, ...],
        overlapping_releases: Sequence[PooledRelease],
        removed_ids: set[str],
    ) -> None:
        """Update the pool of one set of class names by new and removed releases.

        Args:
            overlapping_releases: Current releases in this pool and in pools that share classes with
                it, including new ones.
            removed_ids: Ids of releases to remove.
        """
        members = {row.release_id: row for row in overlapping_releases if row.kind == class_set_id}
        peers = heapq.nsmallest(
            COMPARED_PEERS_LIMIT + 1, overlapping_releases, key=lambda row: row.place
        )
        for _ in range(_WRITE_TRIES_LIMIT):
            stored_pool = self._table.find_pool(class_set_id)
            present = {
                i: row
                for i, row in self._table.pooled_releases_by_id().items()
                if row.kind == class_set_id
            }
            judged_count = 0 if stored_pool is None else stored_pool.judged
            is_rebuilt = (
                len(overlapping_releases) <= RECOMPARED_SITES_LIMIT
                or len(members) >= 2 * judged_count
            )
            pool = _decode_pool(
                None if is_rebuilt else stored_pool, labels, len(self._priors.between)
            )
            leave = [i for i in present if is_rebuilt or i in removed_ids]
            new_rows = [row for i, row in members.items() if is_rebuilt or i not in present]
            for release_id in leave:
                if present[release_id].used and not is_rebuilt:
                    pool = pool - self._single_release_pool(present[release_id], labels)
            changes = 1 + (0 if stored_pool is None else stored_pool.changes)
            rows = []
            for row in new_rows:  # one at a time: thousands would not fit into memory
                rows.append(
                    judged_row := self._compare_release_with_peers(row, peers, labels, changes)
                )
                if judged_row.used:
                    pool = pool + self._single_release_pool(judged_row, labels)
            new_pool = StoredPool(
                generator=self._table.generator,
                kind=class_set_id,
                labels=canonical.encode(tuple(labels)).decode(),
                sites=pool.site_count,
                data=evidence_pools.encode_pool(pool),
                changes=changes,
                judged=len(members) if is_rebuilt else judged_count,
            )
            if self._table.write_pool(new_pool, rows, leave):
                return
        raise StorageError(
            f"pool {class_set_id[:16]}: {_WRITE_TRIES_LIMIT} times another process was first"
        )

    def _compare_release_with_peers(
        self,
        pooled_release: PooledRelease,
        peers: Iterable[PooledRelease],
        labels: tuple[str, ...],
        change_number: int,
    ) -> PooledRelease:
        """Compare a release with its peers; return its row, with added noise or as an outlier."""
        site = self._evidence(pooled_release.release_id, labels)
        drawn_peers = [peer for peer in peers if peer.site != pooled_release.site][
            :COMPARED_PEERS_LIMIT
        ]
        evidence = [self._evidence(peer.release_id, labels) for peer in drawn_peers]
        agreement = influence_bound.compare_with_peers(self._priors, site, evidence)
        if agreement.is_outlier:
            log.warning(
                "site %s: its classes are other ones than those of these names at other sites; its"
                " release is left out",
                pooled_release.site,
            )
        behind = tuple(
            name for name, stands in zip(labels, agreement.agreed_classes, strict=True) if stands
        )
        return replace(
            pooled_release,
            noise=agreement.extra_variance,
            used=not agreement.is_outlier,
            behind=canonical.encode(behind).decode(),
            added=change_number,
            removed=0,
        )

    def _single_release_pool(
        self, pooled_release: PooledRelease, labels: tuple[str, ...]
    ) -> EvidencePool:
        """Return the evidence that a release adds to its pool, or subtracts when it is removed."""
        site = self._evidence(pooled_release.release_id, labels)
        return evidence_pools.single_site_pool(
            self._priors,
            labels,
            replace(site, noise_variances=site.noise_variances + pooled_release.noise),
        )

    def _site_evidence(self, release_id: str, labels: tuple[str, ...]) -> SiteEvidence:
        return site_evidence(self._release(release_id).statistics, labels)

    def _uncompared_row(self, manifest: StatisticsManifest) -> PooledRelease:
        """Return the table row of a new release that was not yet compared with its peers."""
        identity = manifest.release_id.encode()
        digest = hashlib.blake2b(identity, key=self._secret, digest_size=7).digest()
        return PooledRelease(
            release_id=manifest.release_id,
            kind=self._class_set_id(manifest.schema.labels),
            site=manifest.site,
            place=int.from_bytes(digest),
            noise=0.0,
            used=False,
            behind="[]",
            added=0,
        )

    def _class_set_id(self, labels: Iterable[str]) -> str:
        return canonical.sha256_hex(canonical.encode((self._encoder, *sorted(labels))))

    def _pools_with_class_names(self) -> list[tuple[StoredPool, frozenset[str]]]:
        """Return all pools without their data, each with its set of class names."""
        return [(pool, frozenset(pool.class_names)) for pool in self._table.list_pools()]

    @staticmethod
    def _overlapping_class_sets(
        labels_by_class_set: Mapping[str, frozenset[str]], class_set_id: str
    ) -> set[str]:
        """Return the ids of class sets that share two or more classes with one, itself included."""
        labels = labels_by_class_set[class_set_id]
        return {name for name, names in labels_by_class_set.items() if len(names & labels) > 1}

    def _load_release(self, release_id: str) -> DecodedRelease:
        return release_intake.decode_stored_release(self._store.require_release(release_id))

    def _merkle_root_and_size(self, *pool_versions: tuple[str, int]) -> tuple[str, int]:
        """Return root (hex) and size of the Merkle tree over the releases in some pools.

        Args:
            pool_versions: Pools as pairs of class set id and change number.
        """
        leaves = [
            merkle.leaf_hash(release_id)
            for release_id in self._table.release_ids_in_pools(pool_versions)
        ]
        if not leaves:
            return "", 0
        root = merkle.root(leaves).hex()
        self._table.store_merkle_tree(root, pool_versions)
        return root, len(leaves)

    def _agreeing_release_counts(self, class_set_id: str, change_number: int) -> Counter[str]:
        """Return by class how many of a pool's releases agree with their peers on the class."""
        rows = self._table.releases_at_change(class_set_id, change_number)
        return Counter(name for row in rows for name in row.agreed_class_names)

    def _read_pool(self, class_set_id: str, change_number: int) -> EvidencePool:
        stored_pool = self._table.find_pool(class_set_id)
        if stored_pool is None or stored_pool.changes != change_number:
            raise StorageError(
                f"pool {class_set_id[:16]}: changed meanwhile; the package is made again"
            )
        return _decode_pool(stored_pool, stored_pool.class_names, len(self._priors.between))


def _decode_pool(
    stored_pool: StoredPool | None, labels: Sequence[str], dimension: int
) -> EvidencePool:
    if stored_pool is None:
        return evidence_pools.empty_pool(labels, dimension)
    return evidence_pools.decode_pool(stored_pool.data, labels, dimension, stored_pool.sites)


class StoredReleasePools:
    """Pools of the generator in use, from a store; implements ``packaging.ReleasePools``."""

    def __init__(self, home: ServerHome, store: ServerStore) -> None:
        self.store = store
        self._home = home
        self._pools: tuple[str, str, GeneratorPools] | None = None

    def pooled_releases(
        self, generator_sha256: str, priors: ModelVariances, plant: PackageRecipient
    ) -> PooledReleases:
        """Return the pooled releases of other sites for the classes of ``plant``."""
        if self._pools is None or self._pools[:2] != (generator_sha256, plant.encoder_sha256):
            secret = hashlib.sha256(self._home.signing_key.read_bytes()).digest()
            pools = GeneratorPools(
                self.store, plant.encoder_sha256, generator_sha256, priors, secret
            )
            self._pools = generator_sha256, plant.encoder_sha256, pools
        pools = self._pools[2]
        with locks.hold_lock(
            self._home.root / "pools.lock"
        ):  # one of several processes does the work
            pools.refresh_pools()
        return pools.pooled_releases_for_site(plant.labels, plant.site)
