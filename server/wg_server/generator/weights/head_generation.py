"""Generation: from releases to candidates.

The server holds no data, so nothing here measures accuracy. Candidates come in the order in which
the server would try them; the plant finishes them and chooses among them on its own records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_common.catalogue import CandidateSource
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior, no_evidence
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import canonical
from wg_server.generator.families import heads as families
from wg_server.generator.prior import pooling
from wg_server.generator.prior.pooling import Pool
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, Parts, unpack
from wg_server.generator.weights.makers import GeneratedCandidate, Tensors, candidates

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


@dataclass(frozen=True, slots=True)
class Report:
    """What the server can say of a generation without data.

    Attributes:
        other_sites: How many sites are in the sums that were used.
        unseen_labels: Labels of which neither the site nor the others know anything.
        alarms: Sentences on what looks wrong; empty when nothing does.
    """

    other_sites: int
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
        pooled: What the other sites know, with what class names foretell.
    """

    parts: Parts
    labels: tuple[str, ...]
    pooled: Posterior

    def of_families(self) -> Iterable[tuple[CandidateSource, Tensors]]:
        """See ``Making``."""
        operator = self.parts.operator_families
        return () if operator is None else families.offered(operator, self.labels)

    def of_others(self) -> Tensors | None:
        """See ``Making``; none where it would be too large."""
        if len(self.labels) > POSTERIOR_CLASSES:
            return None
        return self.pooled.tensors()


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
    pools: Sequence[Pool],
    labels: tuple[str, ...],
) -> Generated:
    """Make candidates for one site.

    Args:
        generator: From ``load_generator``.
        plant_release: The site's release, if it made one.
        pools: What other sites know, by kind, without the plant's own release.
        labels: The site's label domain, in the order of class rows.

    Raises:
        DataError: No labels or too many, or statistics of another encoder.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    parts = generator.parts
    if plant_release is not None and plant_release.schema.encoder != parts.encoder:
        raise DataError(
            f"statistics: of encoder {plant_release.schema.encoder[:16]}, the generator's is"
            f" {parts.encoder[:16]}"
        )
    priors, named = parts.priors, parts.fitted_priors.named(labels)
    if plant_release is None:
        plant = no_evidence(len(labels), len(priors.between))
    else:
        plant = site_evidence(plant_release, labels)
    plain = pooling.posterior(priors, pools, labels)
    making = HeadMaking(
        parts,
        labels,
        plain if named is None else pooling.posterior(priors, pools, labels, named),
    )
    informed = np.diagonal(plain.precision, axis1=1, axis2=2)[:, 1:] > 1 / plain.between[:, None]
    present = (plant.present > posteriors.PRESENT) | informed.any(axis=0)
    unseen = tuple(name for name, is_known in zip(labels, present, strict=True) if not is_known)
    alarms = [f"{len(unseen)} classes are known to no site: their rows are guesses"] * bool(unseen)
    offered = candidates(making)
    if not offered:
        raise DataError(f"labels: {len(labels)} names, expected at most {POSTERIOR_CLASSES}")
    sites = sum(pool.sites for pool in pools)
    return Generated(offered, Report(sites, unseen, tuple(alarms)))
