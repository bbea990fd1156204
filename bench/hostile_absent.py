"""Colluders exchange the classes that a plant lacks: a part of ``python -m bench.hostile``.

Fleets have ten plants as in ``hostile_release``. The evaluated plant has no record of the first two
classes; three of the other nine exchange these two labels, with as many records as the others or a
hundred times as many. The result is the accuracy, on records of the two classes, of the head that
the plant completes: with six honest sites, with nine, and with six and three colluders. The table
also has the share of cases in which at least three sites are reported to support a class
(``wg_server.generator.prior.influence_bound``): under attack these are cases in which the plant
would not be warned, in an honest fleet those in which it would not be asked needlessly.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench import hostile_release, plants
from bench.hostile_release import ENCODER, HONEST, MANY_TIMES, Fleet, Records

from wg_client.selection.checks.few_sites import LEAST_SUPPORTING_SITES
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import SiteEvidence
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_server.generator.prior import blup, influence_bound
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.site_statistics import site_evidence

ABSENT_CLASSES = 2
SHOTS = {"digits": (15,), "mnist10k": (10, 90)}
COLUMNS = (
    "set",
    "records a class",
    "ε",
    "colluders' records",
    "right of 100: 6 honest",
    "9 honest",
    "6 honest, 3 colluders",
    "classes on which three sites agree, %: 6 honest",
    "9 honest",
    "6 honest, 3 colluders",
)
FLEETS = ("6 honest", "9 honest", "attacked")


def measure(datasets: Path, *, fleets: int, epsilons: Sequence[float]) -> Iterator[tuple[str, ...]]:
    """Run every case; yield the cells of ``COLUMNS``."""
    priors = hostile_release.public_priors()
    for name, sizes in SHOTS.items():
        data = plants.load_images(datasets, name)
        if data is None:
            continue
        for shots in sizes:
            for epsilon in epsilons:
                for times in (1, MANY_TIMES):
                    right: dict[str, list[float]] = defaultdict(list)
                    backed: dict[str, list[float]] = defaultdict(list)
                    for number in range(fleets):
                        rng = np.random.default_rng((number, len(data[1])))
                        fleet = Fleet(data, rng, shots)
                        _evaluate_case(priors, fleet, (epsilon, times, number), right, backed)
                    yield (
                        name,
                        str(shots),
                        f"{epsilon:g}",
                        f"{times} times",
                        *(f"{100 * np.mean(right[word]):.1f}" for word in FLEETS),
                        *(f"{100 * np.mean(backed[word]):.0f}" for word in FLEETS),
                    )


def _evaluate_case(
    priors: ModelVariances,
    fleet: Fleet,
    case: tuple[float, int, int],
    accuracies: dict[str, list[float]],
    support_shares: dict[str, list[float]],
) -> None:
    """Evaluate every honest plant without the two classes, in each of ``FLEETS``."""
    epsilon, times, number = case
    rng = np.random.default_rng((5, number, int(10 * epsilon)))

    def release(records: Records) -> NoisyStatistics:
        return plants.simulate_release(ENCODER, *records, fleet.labels, epsilon, rng)

    honest = [release(records) for records in fleet.own]
    colluders = [release(_exchange_labels(records, times)) for records in fleet.own[HONEST:]]
    for plant in range(HONEST):
        x, y = fleet.own[plant]
        own = x[y >= ABSENT_CLASSES], y[y >= ABSENT_CLASSES]
        fellows = [honest[i] for i in range(HONEST) if i != plant]
        others = (fellows, fellows + honest[HONEST:], fellows + colluders)
        tx, ty = fleet.tests[plant]
        for word, releases in zip(FLEETS, others, strict=True):
            sites = [site_evidence(one, fleet.labels) for one in (release(own), *releases)]
            used, behind = _accepted_sites(priors, sites)
            pooled = blup.posterior_from_sites(priors, used, len(fleet.labels))
            weight, bias = posteriors.posterior_head(pooled, *own)
            calls = (tx @ weight.T + bias).argmax(axis=1)
            accuracies[word].append(float((calls == ty)[ty < ABSENT_CLASSES].mean()))
            support_shares[word].append(
                float((behind[:ABSENT_CLASSES] >= LEAST_SUPPORTING_SITES).mean())
            )


def _exchange_labels(records: Records, repeats: int) -> Records:
    x, y = records
    return np.repeat(x, repeats, axis=0), np.repeat(np.where(y < ABSENT_CLASSES, 1 - y, y), repeats)


def _accepted_sites(
    priors: ModelVariances, sites: Sequence[SiteEvidence]
) -> tuple[list[SiteEvidence], np.ndarray]:
    """Return the accepted other sites with added noise, and how many support each class."""
    used, behind = [], np.zeros(len(sites[0].record_counts))
    for number, site in enumerate(sites[1:], 1):
        by = influence_bound.compare_with_peers(
            priors, site, [*sites[:number], *sites[number + 1 :]]
        )
        if not by.is_outlier:
            used.append(replace(site, noise_variances=site.noise_variances + by.extra_variance))
        behind += by.agreed_classes
    return used, behind
