"""Whom a campaign does not ask: sites at which others' releases would buy nothing.

A release adds nothing to its own site's weights; sites gain by those of others that have a class
name in common. The server knows names of sites that released or stated before. One that it has
heard nothing of may be of any kind, and is asked: so is a whole fleet the first time, and all are
counted that would be asked together. What labels a site has only ``wg-client check`` knows.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from wg_core.errors import WgError
from wg_server.campaigns import intake
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store.pools import PoolTable
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

LEAST_POINTS = 2.0
"""Points of right answers at a site without labels below which it is not asked."""

Expectation = Callable[[int], float]
"""Points from the number of other sites of a class name in common."""


def by_names(other_sites: int) -> float:
    """Nothing without others, and enough with any."""
    return LEAST_POINTS if other_sites else 0.0


def by_model(home: ServerHome, epsilon: float, delta: float) -> Expectation:
    """Estimate by the installed generator's priors; by names alone where they cannot be read.

    Loads torch, which no process that carries messages does.
    """
    from wg_server.generator.prior.expectation import expected_points
    from wg_server.generator.weights.head_generation import load_generator

    try:
        priors = load_generator(versions.ready(home).heads).parts.priors
    except WgError:
        return by_names
    return lambda count: expected_points(priors, count, epsilon, delta) if count else 0.0


def left_out(
    store: Store, sites: Sequence[str], expected: Expectation, generator: str
) -> list[str]:
    """Those of some sites that are not worth asking.

    Class names are those of the sums of a generator (SHA-256 of its package, hex); releases that
    are in none of these are opened.
    """
    newest, pooled_names = store.newest_answers(), PoolTable(store.engine, generator).class_names()
    release_ids = {site: newest.get(site, "") for site in sites}
    kinds = {site: pooled_names.get(i) or _stated(store, i) for site, i in release_ids.items()}
    sizes = Counter(kinds.values())
    by_name: dict[str, set[frozenset[str]]] = defaultdict(set)
    for kind in filter(None, sizes):
        for name in kind:
            by_name[name].add(kind)

    def worth(kind: frozenset[str] | None) -> bool:
        if kind is None:
            return True
        sharing = set[frozenset[str]]().union(*(by_name[name] for name in kind))
        return expected(sum(map(sizes.__getitem__, sharing)) + sizes[None] - 1) >= LEAST_POINTS

    worthy = {kind for kind in sizes if worth(kind)}
    return [site for site in sites if kinds[site] not in worthy]


def _stated(store: Store, release_id: str) -> frozenset[str] | None:
    """Class names of a release or statement; None: there is none, or it cannot be read."""
    try:
        return frozenset(intake.stated_by(store.release(release_id)).labels) if release_id else None
    except WgError as error:
        log.warning("release %s: its class names cannot be read: %s", release_id, error)
        return None
