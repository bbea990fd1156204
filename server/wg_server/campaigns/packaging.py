"""Making a weights package for one site: generate, fill in the manifest, sign.

The only place of the server, beside zoo and training, that needs torch; it is imported when the
first package is made, so that serving starts fast.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wg_common import catalogue, weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core import atomic
from wg_core.errors import VerificationError
from wg_core.wire import canonical, signing
from wg_server.campaigns import stated
from wg_server.campaigns.pools import NO_MEMORY, Memory, Pools
from wg_server.campaigns.release import Recipient
from wg_server.generator import versions
from wg_server.generator.versions import Recipe, Version
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store

if TYPE_CHECKING:
    from wg_server.generator.weights.head_generation import Generated, Generator

PACKAGE_LIFE = datetime.timedelta(days=30)

log = logging.getLogger(__name__)


MakePackage = Callable[[ServerHome, Store, Recipient, str, Recipe], bytes]
"""Makes the signed bytes of a ``.wgw`` for a plant: as ``make_package``."""


def make_package(
    home: ServerHome, store: Store, plant: Recipient, request_id: str, recipe: Recipe
) -> bytes:
    """Generate candidates for a plant and pack them, signed.

    Where a plant that released nothing states a machine that the generator knows, they are networks
    for it; else what it finishes to heads on the encoder, from the sums of its classes' kinds: free
    post-processing of what other sites released.

    Args:
        request_id: Logical id of the delivery; the seed of samples.
        recipe: Which generator makes weights of which architecture.

    Raises:
        ConfigError: The generator is not there, or does not make this architecture.
        DecodeError: It cannot be read.
        VerificationError: It is damaged.
    """
    version = versions.read(home, recipe.generator)
    version.require(recipe.architecture)
    networks = stated.networks(version, plant, seed=int(request_id[:8], 16))
    if networks is not None:
        architecture, memory = catalogue.SPECTRUM_LINES, NO_MEMORY
        generator, candidates = networks.generator, networks.candidates
    else:
        generated, memory = _generate(home, store, version, plant)
        for alarm in generated.report.alarms:
            log.warning("package for %s: %s", plant.site, alarm)
        architecture = version.summary.architecture
        generator, candidates = version.summary.generator, generated.candidates
    tensors = weights_package.pack_tensors(
        {candidate.name: candidate.tensors for candidate in candidates}
    )
    now = int(time.time())
    manifest = WeightsManifest(
        package_id=secrets.token_hex(16),
        request_id=request_id,
        site=plant.site,
        architecture=architecture,
        encoder=plant.encoder,
        generator=generator,
        labels=plant.labels,
        own_release=plant.release_id,
        memory_root=memory.root,
        memory_releases=memory.others,
        candidates=tuple(Candidate(name=c.name, source=c.source) for c in candidates),
        tensors_sha256=canonical.sha256_hex(tensors),
        created=now,
        expires=now + int(PACKAGE_LIFE.total_seconds()),
    )
    return weights_package.encode(manifest, tensors, signing.load(home.signing_key))


def _generate(
    home: ServerHome, store: Store, version: Version, plant: Recipient
) -> tuple[Generated, Memory]:
    from wg_server.generator.weights.head_generation import generate  # torch is slow to import

    generator, pools = _opened(home, store, version, plant.encoder)
    memory = pools.memory(plant.labels, plant.site)
    statistics = None if plant.release is None else plant.release.statistics
    return generate(generator, statistics, memory.pools, plant.labels), memory


_OPENED: WeakKeyDictionary[Store, tuple[Generator, Pools]] = WeakKeyDictionary()
"""The generator that made the newest package from a store, and its sums: both stay open."""


def _opened(
    home: ServerHome, store: Store, version: Version, encoder: str
) -> tuple[Generator, Pools]:
    """The generator of a version, and its sums as they are now."""
    from wg_server.generator.weights.head_generation import load_generator

    kept = _OPENED.get(store)
    if kept is None or kept[0].id != version.summary.generator:
        generator = load_generator(version.heads)
        if generator.id != version.summary.generator:
            raise VerificationError(f"{version.heads}: not the package that its model card names")
        secret = hashlib.sha256(atomic.read_bytes(home.signing_key, limit=1 << 16)).digest()
        pools = Pools(store, encoder, generator.id, generator.parts.priors, secret)
        kept = _OPENED[store] = generator, pools
    kept[1].refresh()
    return kept
