"""Generation: from releases to candidates.

The server holds no data, so nothing here measures accuracy. Candidates come in the order in which
the server would try them; the plant finishes them and chooses among them on its own records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_common.inference.posterior import Means, SiteEvidence, no_evidence
from wg_common.nets import family_network
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import canonical
from wg_server.generator.families import heads as operator_heads
from wg_server.generator.prior import blup, influence
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, Parts, unpack
from wg_server.generator.weights.makers import GeneratedCandidate, Tensors, candidates

OTHER_SITES_LIMIT = 8
"""Other sites that condition one generation; those with most labels in common come first."""

POSTERIOR_CLASSES = 256
"""Most classes of a posterior that is sent: its tensors grow with their square (17 MB here)."""


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A loaded generator.

    Attributes:
        id: SHA-256 of its package, hex.
        parts: What it consists of.
    """

    id: str
    parts: Parts


@dataclass(frozen=True, slots=True, eq=False)
class SiteRelease:
    """Another site's release, kept by the server. Using it again is post-processing, and free.

    Attributes:
        site: Name of the site.
        statistics: What it released.
    """

    site: str
    statistics: NoisyStatistics


@dataclass(frozen=True, slots=True)
class Report:
    """What the server can say of a generation without data.

    Attributes:
        other_sites: Sites whose releases were used.
        unseen_labels: Labels of which neither the site nor the others know anything.
        alarms: Sentences on what looks wrong; empty when nothing does.
    """

    other_sites: tuple[str, ...]
    unseen_labels: tuple[str, ...]
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Candidates, and what is known of them."""

    candidates: tuple[GeneratedCandidate, ...]
    report: Report


@dataclass(frozen=True, slots=True, eq=False)
class HeadMaking:
    """A ``Making`` of what plants finish to heads.

    Attributes:
        parts: Of the generator.
        labels: The site's label domain.
        estimate: T-BLUP's prediction of its means, without what class names foretell.
        others: Evidence of the other sites that are used.
    """

    parts: Parts
    labels: tuple[str, ...]
    estimate: Means
    others: tuple[SiteEvidence, ...]

    def of_family(self) -> Tensors | None:
        """See ``Making``."""
        operator = self.parts.operator_families
        if operator is None:
            return None
        match = operator_heads.head_for(operator, self.parts.priors, self.estimate, self.labels)
        if match is None:
            return None
        head, networks = match
        return head.tensors() | family_network.in_half(networks)

    def of_others(self) -> Tensors | None:
        """See ``Making``; none where it would be too large."""
        if len(self.labels) > POSTERIOR_CLASSES:
            return None
        named = self.parts.fitted_priors.named(self.labels)
        prior = blup.posterior(self.parts.priors, self.others, len(self.labels), named)
        return prior.tensors()


def load_generator(path: Path) -> Generator:
    """Read a generator package.

    Raises:
        ConfigError: The file is missing; run ``wg-server train``.
        DecodeError: It is no generator package.
    """
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    return Generator(canonical.sha256_hex(data), unpack(data))


def generate(
    generator: Generator,
    plant_release: NoisyStatistics | None,
    other_releases: Sequence[SiteRelease],
    labels: tuple[str, ...],
) -> Generated:
    """Make candidates for one site.

    Args:
        generator: From ``load_generator``.
        plant_release: The site's release, if it made one.
        other_releases: Other sites' releases; classes are matched by label name.
        labels: The site's label domain, in the order of class rows.

    Raises:
        DataError: No labels or too many, or statistics of another encoder.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    parts = generator.parts
    for release in ([plant_release] if plant_release is not None else []) + [
        m.statistics for m in other_releases
    ]:
        if release.schema.encoder != parts.encoder:
            raise DataError(
                f"statistics: of encoder {release.schema.encoder[:16]}, the generator's is"
                f" {parts.encoder[:16]}"
            )
    d = len(parts.priors.between)
    chosen = _choose([m for m in other_releases if m.statistics.schema.dimension == d], labels)
    plant = (
        no_evidence(len(labels), d)
        if plant_release is None
        else site_evidence(plant_release, labels)
    )
    read = [site_evidence(m.statistics, labels) for m in chosen]
    weighed = influence.weighed(parts.priors, plant, read)
    estimate = blup.predict(parts.priors, [plant, *weighed.others])
    making = HeadMaking(parts, labels, estimate, weighed.others)
    present = np.max([site.present for site in (plant, *weighed.others)], axis=0) > 1e-3
    unseen = tuple(name for name, there in zip(labels, present, strict=True) if not there)
    alarms = [f"{len(unseen)} classes are known to no site: their rows are guesses"] * bool(unseen)
    alarms += [
        f"site {chosen[odd].site}: its classes are other ones than those of these names at other"
        " sites; its release is left out"
        for odd in weighed.odd
    ]
    used = tuple(chosen[number].site for number in weighed.used)
    made = candidates(making)
    if not made:
        raise DataError(f"labels: {len(labels)} names, expected at most {POSTERIOR_CLASSES}")
    return Generated(made, Report(used, unseen, tuple(alarms)))


def _choose(other_releases: Sequence[SiteRelease], labels: tuple[str, ...]) -> list[SiteRelease]:
    common = [(len(set(m.statistics.schema.labels) & set(labels)), m) for m in other_releases]
    useful = [pair for pair in common if pair[0] > 0]
    useful.sort(key=lambda pair: (-pair[0], pair[1].statistics.sigma, pair[1].site))
    return [m for _, m in useful[:OTHER_SITES_LIMIT]]
