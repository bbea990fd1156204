"""Effect of colluding releases on honest plants: a part of ``python -m bench.hostile``.

Fleets of ten are real pictures of digits (scikit-learn's, and MNIST if available), each plant with
a different camera and ten records of each class. Features are block means of pixels: without an
encoder a run takes minutes on one core. Public priors come from rendered families of digits and
boards. Seven plants are honest; of the other three, one or all are not:

* ``largest``: class sums of ± 2^62;
* ``at the bound``: shifted labels, with sums of the largest plausible length;
* ``exchanged``: an honest release of records whose labels are shifted by one;
* ``exchanged, many``: the same, from a hundred times as many records, for the highest confidence;
* ``two classes, many``: as before, but only the first two classes are exchanged;
* ``odd mean, many``: records that are all shifted in one direction, the same for all colluders.

T-BLUP is evaluated with three heads: the server's, the head that the plant completes with its own
exact records, and the plant's choice between this and the head without other sites, by
cross-validation on its own records. Each is evaluated without checks, and as built: implausible
releases are quarantined, and influence is bounded as in ``generator.generate``. All differences are
paired by plant, in percentage points, against the same seven plants without the others; errors are
over fleets.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench import plants
from bench.plants import Floats, Images, Ints

from wg_common.inference import posterior as posteriors
from wg_common.inference.discriminants import centre_over_classes
from wg_common.modalities import cameras
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_server.campaigns import plausibility
from wg_server.generator.evaluation.method_scores import cluster_mean_and_error
from wg_server.generator.prior import blup, influence_bound
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.zoo.procedural import families

HONEST = 7
COLLUDERS = (1, 3)
SHOTS = 10
TESTS = 200
SIDE = 8
MANY_TIMES = 100
ENCODER = "00" * 32
HEADS = ("server", "finished", "kept")
UNCHECKED, AS_BUILT = "nothing checked", "as built"
DEFENCES = (UNCHECKED, AS_BUILT)
ATTACKS = (
    "largest",
    "at the bound",
    "exchanged",
    "exchanged, many",
    "two classes, many",
    "odd mean, many",
)
COLUMNS = (
    "ε",
    "attack",
    "hostile",
    "in quarantine",
    *(f"{head}, {defence}" for head in HEADS for defence in DEFENCES),
)
FAMILIES = 12
SITES = 3
_STRENGTH = 0.5
_SCALE = 6.0  # Longest block means of a picture, about: what features are divided by

Records = tuple[Floats, Ints]
Key = tuple[str, int, float, str, str]  # Attack, colluders, epsilon, head, defence


def measure(datasets: Path, *, fleets: int, epsilons: Sequence[float]) -> Iterator[tuple[str, ...]]:
    """Run every attack; yield the cells of ``COLUMNS``.

    Args:
        datasets: Folder of ``mnist10k``, if available.
        fleets: Number of random draws of each fleet.
        epsilons: Epsilons of the releases.
    """
    priors = public_priors()
    gains: dict[Key, list[float]] = defaultdict(list)
    draws: dict[Key, list[str]] = defaultdict(list)
    stopped: dict[tuple[str, int, float], list[bool]] = defaultdict(list)
    for name in ("digits", "mnist10k"):
        data = plants.load_images(datasets, name)
        if data is None:
            continue
        for number in range(fleets):
            fleet = Fleet(data, np.random.default_rng((number, len(data[1]))))
            for epsilon in epsilons:
                for key, value in accuracy_gains(priors, fleet, epsilon, number, stopped):
                    gains[key].append(value)
                    draws[key].append(f"{name} {number}")
    for (attack, count, epsilon), alarms in sorted(stopped.items(), key=lambda x: x[0][2]):
        cells = []
        for head, defence in itertools.product(HEADS, DEFENCES):
            key = attack, count, epsilon, head, defence
            mean, error = cluster_mean_and_error(np.array(gains[key]), draws[key])
            cells.append(f"{100 * mean:+.2f} ± {100 * error:.2f}")
        yield f"{epsilon:g}", attack, str(count), f"{sum(alarms)} of {len(alarms)}", *cells


def features(pictures: Images) -> Floats:
    """Compute means of 8 by 8 blocks, scaled and clipped to length 1."""
    rows = []
    for picture in pictures:
        grey = picture.mean(axis=2) if picture.ndim == 3 else picture.astype(np.float64)
        edges = np.linspace(0, len(grey), SIDE + 1).astype(int)[:-1]
        sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=0), edges, axis=1)
        sizes = np.diff([*edges, len(grey)])
        rows.append((sums / np.outer(sizes, sizes)).ravel() / 255)
    found = np.array(rows) / _SCALE
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1))


def public_priors() -> ModelVariances:
    """Estimate variances from rendered families."""
    x, y = [], []
    for number in range(FAMILIES):
        family = families.draw_family((77, number), "digits" if number % 2 else "boards")
        labels = np.repeat(np.arange(len(family.classes)), 15)
        for site in range(SITES):
            rng = np.random.default_rng((77, number, site))
            drawn = families.draw_site(family, site, strength=_STRENGTH)
            x.append(features(list(families.render_records(family, drawn, labels, rng))))
            y.append(labels)
    return blup.fit_variances(x, y)


class Fleet:
    """Records of seven honest plants and three others, and test records of each honest one."""

    def __init__(
        self, data: tuple[Images, Ints, Ints], rng: np.random.Generator, shots: int = SHOTS
    ) -> None:
        images, labels, _ = data
        self.labels = tuple(f"class-{c}" for c in np.unique(labels))
        order = rng.permutation(len(labels))
        tests, rest = order[:TESTS], order[TESTS:]
        self.own: list[Records] = []
        self.tests: list[Records] = []
        per_class = [rest[labels[rest] == c] for c in range(len(self.labels))]
        for plant in range(HONEST + 3):
            camera = cameras.draw_camera(rng, strength=_STRENGTH, may_turn=False)
            take = slice(plant * shots, (plant + 1) * shots)
            rows = np.concatenate([found[take] for found in per_class])
            self.own.append((self._camera_features(images, rows, camera, rng), labels[rows]))
            if plant < HONEST:
                self.tests.append(
                    (self._camera_features(images, tests, camera, rng), labels[tests])
                )

    @staticmethod
    def _camera_features(
        images: Images, rows: Ints, camera: cameras.Camera, rng: np.random.Generator
    ) -> Floats:
        return features([plants.photograph(images[row], camera, rng) for row in rows])


def accuracy_gains(
    priors: ModelVariances,
    fleet: Fleet,
    epsilon: float,
    number: int,
    alarms_by_attack: dict[tuple[str, int, float], list[bool]],
) -> list[tuple[Key, float]]:
    """Return for each plant, attack, head and defence the change of accuracy by the attack."""
    rng = np.random.default_rng((3, number, int(10 * epsilon)))
    honest = [_release(fleet, *own, epsilon, rng) for own in fleet.own[:HONEST]]
    direction: Floats = rng.normal(size=(fleet.own[0][0].shape[1],))
    hostile = {
        name: [
            _hostile_release(fleet, name, number, epsilon, direction, rng) for number in range(3)
        ]
        for name in ATTACKS
    }
    for name, releases in hostile.items():
        alarms = [bool(plausibility.implausibility_reasons(each)) for each in releases]
        for count in COLLUDERS:
            alarms_by_attack[name, count, epsilon] += alarms[:count]
    gains = []
    for plant in range(HONEST):
        alone = blup.posterior_from_sites(priors, [], len(fleet.labels))
        fellows = [release for i, release in enumerate(honest) if i != plant]
        quiet = _accuracies(priors, fleet, plant, honest[plant], fellows, alone)
        for name in ATTACKS:
            for count in COLLUDERS:
                bad = hostile[name][:count]
                attacked = _accuracies(priors, fleet, plant, honest[plant], bad + fellows, alone)
                for cell, right in attacked.items():
                    gains.append(((name, count, epsilon, *cell), right - quiet[cell[0], UNCHECKED]))
    return gains


def _accuracies(
    priors: ModelVariances,
    fleet: Fleet,
    plant: int,
    own: NoisyStatistics,
    others: Sequence[NoisyStatistics],
    alone: posteriors.Posterior,
) -> dict[tuple[str, str], float]:
    """Accuracy at one plant, by head and defence."""
    found: dict[tuple[str, str], float] = {}
    for defence in DEFENCES:
        used = [
            x for x in others if defence == UNCHECKED or not plausibility.implausibility_reasons(x)
        ]
        sites = [site_evidence(x, fleet.labels) for x in (own, *used)]
        if defence == AS_BUILT:
            sites[1:] = _accepted_sites(priors, sites)
        with np.errstate(all="ignore"):
            right = _accuracy(priors, sites, fleet, plant, alone)
        found |= {(head, defence): right[head] for head in HEADS}
    return found


def _accepted_sites(
    priors: ModelVariances, sites: Sequence[posteriors.SiteEvidence]
) -> list[posteriors.SiteEvidence]:
    """Compare each site with all others; return the accepted other sites with their added noise."""
    judged = [
        (
            site,
            influence_bound.compare_with_peers(
                priors, site, [*sites[:number], *sites[number + 1 :]]
            ),
        )
        for number, site in enumerate(sites)
    ]
    return [
        replace(x, noise_variances=x.noise_variances + by.extra_variance)
        for x, by in judged[1:]
        if not by.is_outlier
    ]


def _accuracy(
    priors: ModelVariances,
    sites: Sequence[posteriors.SiteEvidence],
    fleet: Fleet,
    plant: int,
    alone: posteriors.Posterior,
) -> dict[str, float]:
    tx, ty = fleet.tests[plant]
    x, y = fleet.own[plant]
    estimate = blup.predict_class_means(priors, sites)
    others = blup.posterior_from_sites(priors, sites[1:], len(fleet.labels))
    weight, bias = centre_over_classes(
        *posteriors.equal_length_discriminants(estimate.deviations, priors.whitener)
    )
    found = {"server": (weight, bias - weight @ estimate.centre)}
    found["finished"] = posteriors.posterior_head(others, x, y)
    better = _cross_validation_error(others, x, y) <= _cross_validation_error(alone, x, y)
    found["kept"] = found["finished"] if better else posteriors.posterior_head(alone, x, y)
    return {
        name: float(((tx @ weight.T + bias).argmax(axis=1) == ty).mean())
        for name, (weight, bias) in found.items()
    }


def _cross_validation_error(posterior: posteriors.Posterior, x: Floats, y: Ints) -> float:
    """Error rate of heads completed with the plant's own records, by five-fold cross-validation."""
    wrong = 0
    for part in range(5):
        out = np.arange(len(y)) % 5 == part
        weight, bias = posteriors.posterior_head(posterior, x[~out], y[~out])
        wrong += int(((x[out] @ weight.T + bias).argmax(axis=1) != y[out]).sum())
    return wrong / len(y)


def _release(
    fleet: Fleet, x: Floats, y: Ints, epsilon: float, rng: np.random.Generator
) -> NoisyStatistics:
    return plants.simulate_release(ENCODER, x, y, fleet.labels, epsilon, rng)


def _hostile_release(
    fleet: Fleet,
    attack: str,
    number: int,
    epsilon: float,
    direction: Floats,
    rng: np.random.Generator,
) -> NoisyStatistics:
    """Release of one of the three hostile plants."""
    classes = len(fleet.labels)
    x, y = fleet.own[HONEST + number]
    if attack == "two classes, many":
        wrong = np.where(y < 2, 1 - y, y)
    elif attack == "odd mean, many":
        wrong = y
        x = x - x.mean(axis=0) + 0.7 * direction / np.linalg.norm(direction)
    else:
        wrong = (y + 1) % classes
    if attack.endswith("many"):
        x, wrong = np.repeat(x, MANY_TIMES, axis=0), np.repeat(wrong, MANY_TIMES)
    release = _release(fleet, x, wrong, epsilon, rng)
    if attack == "largest":
        signs = np.where(rng.random(release.schema.blocks[1].size) < 0.5, -1, 1)
        return _replace_sums(release, signs * (1 << 62))
    return _longest_plausible(release) if attack == "at the bound" else release


def _replace_sums(release: NoisyStatistics, sums: Ints) -> NoisyStatistics:
    _, where, moments = release.schema.blocks
    integers = release.integers.copy()
    integers[where.offset : moments.offset] = sums
    return NoisyStatistics(release.schema, integers, release.sigma)


def _longest_plausible(release: NoisyStatistics) -> NoisyStatistics:
    """Scale a release's sums to the largest plausible length."""
    _, where, moments = release.schema.blocks
    sums = release.integers[where.offset : moments.offset].astype(np.float64)
    low, high = 1.0, 1e6
    for _ in range(40):
        middle = np.sqrt(low * high)
        longer = _replace_sums(release, np.rint(sums * middle).astype(np.int64))
        low, high = (low, middle) if plausibility.implausibility_reasons(longer) else (middle, high)
    return _replace_sums(release, np.rint(sums * low).astype(np.int64))
