"""What other sites' releases are expected to be worth to a plant, said when a campaign is queued.

The mixed model says how much of a class's deviation some sites with known noise would tell: its
posterior variance needs no record. What that is worth in right answers depends on how far apart the
classes are, which nobody knows before; ``CEILING`` and ``POWER`` are those of six development sets
(``python -m bench.more_plants --home HOME``), on which single sets lie some ten points away.

A plant's own release adds nothing to its own weights, and where it has twenty labels of each
class those of others add less than two points at 97 of 100.
"""

import numpy as np

from wg_core.privacy import mechanism
from wg_core.privacy.schema import CLIP_RADIUS, default_schema
from wg_core.privacy.simulate import simulate_statistics
from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.site_statistics import site_evidence

CEILING = 0.53
"""Share of right answers where all deviations are known."""
POWER = 0.35
"""Exponent of the share that is known."""


def known_share(
    priors: Priors, sites: int, epsilon: float, delta: float, *, classes: int, records: int
) -> float:
    """Share of the variance of class deviations that the releases of some sites tell, 0 to 1.

    Args:
        priors: Variances of the model.
        sites: That release.
        epsilon: Epsilon of each release.
        delta: Delta of each release.
        classes: K.
        records: Records of each class at each site.
    """
    d, labels = len(priors.between), tuple(f"class-{number}" for number in range(classes))
    schema = default_schema(encoder="00" * 32, dimension=d, labels=labels, clip_radius=CLIP_RADIUS)
    release = simulate_statistics(
        schema,
        np.zeros((classes * records, d)),
        np.repeat(np.arange(classes), records),
        mechanism.sigma_for(schema, epsilon, delta),
        np.random.default_rng(0),
    )
    matrices, right = blup.contribution(priors, site_evidence(release, labels))
    precision = blup.equations(priors, sites * matrices, right).precision[:, 1:, 1:]
    centring = np.eye(classes) - 1 / classes
    variance = np.einsum("ij,djk,ki->d", centring, np.linalg.inv(precision), centring)
    return float(np.clip(1 - (variance / (classes - 1) / priors.between).mean(), 0, 1))


def expected_points(
    priors: Priors, sites: int, epsilon: float, delta: float, *, classes: int = 8, records: int = 20
) -> float:
    """Points of right answers above chance at a plant that has no label of these classes.

    Arguments as of ``known_share``.
    """
    share = known_share(priors, sites, epsilon, delta, classes=classes, records=records)
    return 100 * (CEILING - 1 / classes) * float(share**POWER)
