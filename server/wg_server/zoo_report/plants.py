"""How far a plant lies from the zoo, by what it released. Post-processing: it costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_core import atomic
from wg_core.errors import VerificationError
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import protocol, signing, statistics_file
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store
from wg_server.zoo_report.domains import Domain, Floats, signature

_TRIALS = 40
_PRESENT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One release against the zoo.

    Attributes:
        name: Site and release.
        epsilon: Of the release.
        classes: Classes that are there, as inferred.
        distance: To the nearest entry, 0 to 1.
        nearest: That entry's family.
        noise_distance: Distance that the same noise puts between an entry and itself, median.
        percentile: Share of entries that are nearer to their own nearest other family.
        centre: Mean of the plant's classes, or of its records, ``[d]``.
        deviations: Of its classes, ``[K, d]``; noisy.
    """

    name: str
    epsilon: str
    classes: int
    distance: float
    nearest: str
    noise_distance: float
    percentile: float
    centre: Floats
    deviations: Floats

    @property
    def verdict(self) -> str:
        """In words."""
        if self.classes < 2:
            return "cannot say: fewer than two classes are known"
        if self.noise_distance > 0.5:
            return "cannot say: the noise is larger than the distances"
        return "far from the zoo" if self.percentile > 0.95 else "as near as entries are"


def read(home: ServerHome, path: Path) -> tuple[str, str, NoisyStatistics]:
    """Name, epsilon and statistics of a file, its signature verified by the enrolled site's key.

    Raises:
        ConfigError: The file is missing, or its site is not known.
        DecodeError: It is not a statistics file.
        VerificationError: Its signature does not hold, or it is of another encoder.
    """
    covered = statistics_file.decode_covered(
        atomic.read_bytes(path, limit=protocol.STATISTICS_LIMIT)
    )
    with Store.open(home) as store:
        site = store.site(statistics_file.FILE.read_manifest(covered.release).site)
    key = signing.public_from_bytes(bytes.fromhex(site.signing_key))
    manifest, statistics = statistics_file.decode_release(covered.release, key)
    if statistics.schema.encoder != home.encoder_id():
        raise VerificationError(f"{path}: of encoder {statistics.schema.encoder[:16]}…, not ours")
    return f"{manifest.site} {manifest.release_id[:8]}", manifest.epsilon, statistics


def place(
    name: str,
    epsilon: str,
    statistics: NoisyStatistics,
    domains: Sequence[Domain],
    own: Floats,
) -> Plant:
    """Where a release lies.

    Args:
        own: Distance of each entry to its nearest other family, ``[n]``.
    """
    evidence = site_evidence(statistics, statistics.schema.labels)
    there = evidence.present > _PRESENT
    means, noise = evidence.means[there], evidence.noise[there]
    centre = means.mean(axis=0) if len(means) else evidence.domain
    deviations = means - centre
    # Of K rows about their own centre, the noise keeps K - 1 parts in K.
    spread = float(noise.sum() * (1 - 1 / max(len(means), 1)))
    distance, nearest = 1.0, "none"
    if len(means) > 1:
        known = np.stack([signature(domain.deviations) for domain in domains])
        away = 1 - known @ signature(deviations, spread)
        distance, nearest = float(away.min()), domains[int(away.argmin())].entry.family
    return Plant(
        name=name,
        epsilon=epsilon,
        classes=int(there.sum()),
        distance=distance,
        nearest=nearest,
        noise_distance=_noise_distance(domains, noise),
        percentile=float((own < distance).mean()),
        centre=centre,
        deviations=deviations,
    )


def _noise_distance(domains: Sequence[Domain], noise: Floats) -> float:
    if len(noise) < 2:
        return 1.0
    rng = np.random.default_rng(0)
    found = []
    for index in np.linspace(0, len(domains) - 1, _TRIALS).astype(int):
        true = domains[index].deviations
        drawn = rng.choice(noise, len(true))
        seen = true + rng.standard_normal(true.shape) * np.sqrt(drawn)[:, None]
        seen = seen - seen.mean(axis=0)
        spread = float(drawn.sum() * (1 - 1 / len(true)))
        found.append(1 - float(signature(true) @ signature(seen, spread)))
    return float(np.median(found))
