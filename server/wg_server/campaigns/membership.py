"""Membership proofs: a site's release is among the releases that its package was made from.

A package names the root and size of a Merkle tree of releases. The store records which pools each
tree covers (``store.pools``), so that an inclusion proof can be made as long as the package's file
exists here.
"""

from collections.abc import Iterator

from wg_common import weights_package
from wg_common.auditor_record import MembershipProof
from wg_core import atomic
from wg_core.ledger import merkle
from wg_core.wire import protocol
from wg_server.site.home import ServerHome
from wg_server.store import campaigns
from wg_server.store.pools import PoolTable
from wg_server.store.server_store import ServerStore


def site_membership_proofs(
    home: ServerHome, store: ServerStore, site: str
) -> Iterator[MembershipProof]:
    """Yield a proof for each stored package of a site whose tree contains the site's release.

    Raises:
        DecodeError: A package is damaged.
    """
    for delivery_id in campaigns.package_delivery_ids(store.engine, site):
        path = home.package_path(delivery_id)
        if not path.is_file():
            continue
        data = atomic.read_bytes(path, limit=protocol.WEIGHTS_BYTES_LIMIT)
        manifest = weights_package.read_package_provenance(data)
        table = PoolTable(store.engine, manifest.generator)
        ids, release_id = (
            table.release_ids_in_pools(table.pool_versions_under_root(manifest.pool_root)),
            manifest.own_release,
        )
        if release_id.encode() not in ids:
            continue  # no pool has it, it is an outlier, or it came after the sums were made
        index = ids.index(release_id.encode())
        leaves = [merkle.leaf_hash(leaf) for leaf in ids]
        yield MembershipProof(
            site=site,
            package_id=manifest.package_id,
            release_id=release_id,
            root=manifest.pool_root,
            size=len(ids),
            index=index,
            path=tuple(x.hex() for x in merkle.inclusion_proof(leaves, index)),
        )
