"""Proofs that a site's release is among those that a package for it was made from.

A package names the root of a tree of releases and their number. Which sums that tree is of is kept
(``store.pools``), so that a path to the root can be shown for as long as the package is here.
"""

from collections.abc import Iterator

from wg_common import weights_package
from wg_core import atomic
from wg_core.ledger import merkle
from wg_core.ledger.auditor_record import Membership
from wg_core.wire import protocol
from wg_server.site.home import ServerHome
from wg_server.store import campaigns
from wg_server.store.pools import PoolTable
from wg_server.store.sites import Store


def memberships(home: ServerHome, store: Store, site: str) -> Iterator[Membership]:
    """One for each package of a site that is still here and whose tree has the site's release.

    Raises:
        DecodeError: A package is damaged.
    """
    for delivery_id in campaigns.deliveries_of(store.engine, site):
        path = home.package(delivery_id)
        if not path.is_file():
            continue
        data = atomic.read_bytes(path, limit=protocol.WEIGHTS_LIMIT)
        manifest = weights_package.provenance(data)
        table = PoolTable(store.engine, manifest.generator)
        ids, release_id = table.tree(table.sums_of(manifest.pool_root)), manifest.own_release
        if release_id.encode() not in ids:
            continue  # it stands alone, was left out as odd, or came after the sums were made
        index = ids.index(release_id.encode())
        leaves = [merkle.leaf_hash(leaf) for leaf in ids]
        yield Membership(
            site=site,
            package_id=manifest.package_id,
            release_id=release_id,
            root=manifest.pool_root,
            size=len(ids),
            index=index,
            path=tuple(x.hex() for x in merkle.inclusion_proof(leaves, index)),
        )
