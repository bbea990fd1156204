"""Making a weights package for one site: generate, fill in the manifest, sign.

The only place of the server, beside zoo and training, that needs torch; it is imported when the
first package is made, so that serving starts fast.
"""

from __future__ import annotations

import datetime
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wg_common import catalogue, weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.errors import VerificationError
from wg_core.wire import canonical, signing
from wg_server.campaigns import stated
from wg_server.campaigns.release import Recipient, Release
from wg_server.generator import versions
from wg_server.generator.versions import Recipe, Version
from wg_server.site.home import ServerHome

if TYPE_CHECKING:
    from wg_server.generator.weights.head_generation import Generated

PACKAGE_LIFE = datetime.timedelta(days=30)

log = logging.getLogger(__name__)


MakePackage = Callable[[ServerHome, Recipient, Sequence[Release], str, Recipe], bytes]
"""Makes the signed bytes of a ``.wgw`` for a plant: as ``make_package``."""


def make_package(
    home: ServerHome,
    plant: Recipient,
    other_releases: Sequence[Release],
    request_id: str,
    recipe: Recipe,
) -> bytes:
    """Generate candidates for a plant and pack them, signed.

    Where a plant that released nothing states a machine that the generator knows, they are networks
    for it; else heads on the encoder.

    Args:
        other_releases: Releases of other sites; free post-processing of what they released.
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
        architecture, memory = catalogue.SPECTRUM_LINES, other_releases[:0]
        generator, candidates = networks.generator, networks.candidates
    else:
        generated = _generate(version, plant, other_releases)
        for alarm in generated.report.alarms:
            log.warning("package for %s: %s", plant.site, alarm)
        architecture, memory = version.summary.architecture, other_releases
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
        memory_releases=tuple(release.manifest.release_id for release in memory),
        candidates=tuple(Candidate(name=c.name, source=c.source) for c in candidates),
        tensors_sha256=canonical.sha256_hex(tensors),
        created=now,
        expires=now + int(PACKAGE_LIFE.total_seconds()),
    )
    return weights_package.encode(manifest, tensors, signing.load(home.signing_key))


def _generate(version: Version, plant: Recipient, other_releases: Sequence[Release]) -> Generated:
    from wg_server.generator.weights import head_generation as generation  # torch is slow to import

    heads = generation.load_generator(version.heads)
    if heads.id != version.summary.generator:
        raise VerificationError(f"{version.heads}: not the package that its model card names")
    statistics = None if plant.release is None else plant.release.statistics
    releases = [
        generation.SiteRelease(release.manifest.site, release.statistics)
        for release in other_releases
    ]
    return generation.generate(heads, statistics, releases, plant.labels)
