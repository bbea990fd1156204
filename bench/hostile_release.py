"""What one hostile release does to honest plants. Run with ``python -m bench.hostile_release``.

Fleets are real pictures of digits (scikit-learn's, and MNIST where it is there), each plant with a
camera of its own, ten records of each class. Features are block means of pixels: no encoder, so
that a run takes minutes on one core. Public priors come from rendered families of digits and
glyphs. Nine plants are honest; a tenth, or three, are not, and take the place of honest ones among
the eight releases that condition one generation:

* ``largest``: class sums of ± 2^62;
* ``at the bound``: classes exchanged, sums as long as is still plausible;
* ``exchanged``: an honest release of records whose labels are each moved on by one;
* ``exchanged, many``: the same, of a hundred times as many records: as sure as a site can be;
* ``copied``: another honest plant's release, under another name;
* ``three sybils``: three that are ``exchanged, many``;
* ``odd mean``: an honest release of records that all lie elsewhere;
* ``large friend``: no attack, but an honest plant with up to 300 other records of each class, to
  see what bounds cost.

Judged is T-BLUP: the head that the server makes, the head that the plant finishes with its own
exact records, and what it keeps after it held that against what it would have had without others,
on its own records by cross-validation. Columns: as if nothing were checked; with plausibility; and
with influence bounded, too, as in ``generator.generate``. All differences are paired by plant, in
points, against the same fleet without a hostile one and without any bound; errors are over fleets.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from bench import measure, plants, tables
from bench.plants import Floats, Images, Ints

from wg_common.inference import posterior as posteriors
from wg_common.modalities import cameras
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.campaigns import plausibility
from wg_server.generator.heads.generate import OTHER_SITES_LIMIT
from wg_server.generator.prior import blup, influence
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.statistics import clustered
from wg_server.zoo.procedural import families

HONEST = 9
SHOTS = 10
TESTS = 200
SIDE = 8
MANY = 100
LARGE = 300
ENCODER = "00" * 32
HEADS = ("server", "finished", "kept")
DEFENCES = ("none", "plausible", "bounded")
ATTACKS = (
    "nobody",
    "largest",
    "at the bound",
    "exchanged",
    "exchanged, many",
    "copied",
    "three sybils",
    "odd mean",
    "large friend",
)
FAMILIES = 12
SITES = 3
_STRENGTH = 0.5
_SCALE = 6.0  # Longest block means of a picture, about: what features are divided by

Records = tuple[Floats, Ints]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--fleets", type=int, default=4, help="draws of each fleet")
    parser.add_argument("--epsilons", default="1,4")
    options = parser.parse_args()
    priors = public_priors()
    gains: dict[str, list[float]] = defaultdict(list)
    fleets: dict[str, list[str]] = defaultdict(list)
    held: dict[str, list[bool]] = defaultdict(list)
    for name in ("digits", "mnist10k"):
        data = plants.load_images(options.datasets, name)
        if data is None:
            print(f"{name}: not here, left out")
            continue
        for number in range(options.fleets):
            fleet = Fleet(data, np.random.default_rng((number, len(data[1]))))
            for epsilon in (float(text) for text in options.epsilons.split(",")):
                for key, value in judge(priors, fleet, epsilon, number, held):
                    gains[key].append(value)
                    fleets[key].append(f"{name} {number}")
    document: dict[str, object] = {"machine": measure.machine(), "fleets": options.fleets}
    rows: dict[str, str] = {}
    for key in gains:
        mean, error = clustered(np.array(gains[key]), fleets[key])
        rows[key] = f"{100 * mean:+.2f} ± {100 * error:.2f}"
    document["points"] = rows
    document["quarantined"] = {
        name: f"{sum(held[name])} of {len(held[name])}" for name in ATTACKS[1:]
    }
    measure.save("hostile_release", document)
    print("\n".join(table(rows, options.epsilons.split(","))))


def table(rows: dict[str, str], epsilons: Sequence[str]) -> Iterator[str]:
    """Markdown."""
    pairs = [(head, defence) for head in HEADS for defence in DEFENCES]
    yield from tables.markdown(
        ("ε", "attack", *(f"{head}, {defence}" for head, defence in pairs)),
        (
            (epsilon, attack, *(rows[" | ".join((epsilon, attack, *pair))] for pair in pairs))
            for epsilon in epsilons
            for attack in ATTACKS
        ),
    )


def features(pictures: Images) -> Floats:
    """Means of 8 by 8 blocks, of length at most 1."""
    rows = []
    for picture in pictures:
        grey = picture.mean(axis=2) if picture.ndim == 3 else picture.astype(np.float64)
        edges = np.linspace(0, len(grey), SIDE + 1).astype(int)[:-1]
        sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=0), edges, axis=1)
        sizes = np.diff([*edges, len(grey)])
        rows.append((sums / np.outer(sizes, sizes)).ravel() / 255)
    found = np.array(rows) / _SCALE
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1))


def public_priors() -> Priors:
    """Second moments of rendered families."""
    x, y = [], []
    for number in range(FAMILIES):
        family = families.draw_family((77, number), "digits" if number % 2 else "glyphs")
        labels = np.repeat(np.arange(len(family.classes)), 15)
        for site in range(SITES):
            rng = np.random.default_rng((77, number, site))
            drawn = families.draw_site(family, site, strength=_STRENGTH)
            x.append(features(list(families.render(family, drawn, labels, rng))))
            y.append(labels)
    return blup.fit_priors(x, y)


class Fleet:
    """Records of nine honest plants, of three others, and test records of each honest one."""

    def __init__(self, data: tuple[Images, Ints, Ints], rng: np.random.Generator) -> None:
        images, labels, _ = data
        self.labels = tuple(f"class-{c}" for c in np.unique(labels))
        order = rng.permutation(len(labels))
        tests, rest = order[:TESTS], order[TESTS:]
        self.own: list[Records] = []
        self.tests: list[Records] = []
        per_class = [rest[labels[rest] == c] for c in range(len(self.labels))]
        for plant in range(HONEST + 3):
            camera = cameras.draw_camera(rng, strength=_STRENGTH, mounted=False)
            take = slice(plant * SHOTS, (plant + 1) * SHOTS)
            rows = np.concatenate([found[take] for found in per_class])
            self.own.append((self._seen(images, rows, camera, rng), labels[rows]))
            if plant < HONEST:
                self.tests.append((self._seen(images, tests, camera, rng), labels[tests]))
        rows = np.concatenate([each[(HONEST + 3) * SHOTS :][:LARGE] for each in per_class])
        camera = cameras.draw_camera(rng, strength=_STRENGTH, mounted=False)
        self.rest = self._seen(images, rows, camera, rng), labels[rows]

    @staticmethod
    def _seen(
        images: Images, rows: Ints, camera: cameras.Camera, rng: np.random.Generator
    ) -> Floats:
        return features([plants.see(images[row], camera, rng) for row in rows])


def judge(
    priors: Priors, fleet: Fleet, epsilon: float, number: int, held: dict[str, list[bool]]
) -> list[tuple[str, float]]:
    """Gains of accuracy of every plant, attack, head and defence over the quiet fleet."""
    rng = np.random.default_rng((3, number, int(10 * epsilon)))
    honest = [_release(fleet, *own, epsilon, rng) for own in fleet.own[:HONEST]]
    hostile = {name: _hostile(fleet, name, honest, epsilon, rng) for name in ATTACKS}
    for name, releases in hostile.items():
        held[name] += [bool(plausibility.reasons(each)) for each in releases]
    found = []
    for plant in range(HONEST):
        alone = blup.posterior(priors, [], len(fleet.labels))
        fellow = [each for i, each in enumerate(honest) if i != plant]
        before: dict[str, float] = {}
        for attack in ATTACKS:
            for defence in DEFENCES:
                bad = hostile[attack]
                if defence != "none":
                    bad = [each for each in bad if not plausibility.reasons(each)]
                others = (bad + fellow)[:OTHER_SITES_LIMIT]
                sites = [site_evidence(each, fleet.labels) for each in (honest[plant], *others)]
                if defence == "bounded":
                    sites[1:] = influence.weighed(priors, sites[0], sites[1:]).others
                with np.errstate(all="ignore"):
                    right = _accuracy(priors, sites, fleet, plant, alone)
                before = before or right
                cell = [f"{epsilon:g} | {attack} | {head} | {defence}" for head in HEADS]
                found += [(c, right[h] - before[h]) for c, h in zip(cell, HEADS, strict=True)]
    return found


def _accuracy(
    priors: Priors,
    sites: Sequence[posteriors.SiteEvidence],
    fleet: Fleet,
    plant: int,
    alone: posteriors.Posterior,
) -> dict[str, float]:
    tx, ty = fleet.tests[plant]
    x, y = fleet.own[plant]
    estimate = blup.predict(priors, sites)
    others = blup.posterior(priors, sites[1:], len(fleet.labels))
    found = {"server": (estimate.weight, estimate.bias - estimate.weight @ estimate.centre)}
    found["finished"] = posteriors.posterior_head(others, x, y)
    better = _loss(others, x, y) <= _loss(alone, x, y)
    found["kept"] = found["finished"] if better else posteriors.posterior_head(alone, x, y)
    return {
        name: float(((tx @ weight.T + bias).argmax(axis=1) == ty).mean())
        for name, (weight, bias) in found.items()
    }


def _loss(posterior: posteriors.Posterior, x: Floats, y: Ints) -> float:
    """Share of own records that a head finished without them gets wrong, over five parts."""
    wrong = 0
    for part in range(5):
        out = np.arange(len(y)) % 5 == part
        weight, bias = posteriors.posterior_head(posterior, x[~out], y[~out])
        wrong += int(((x[out] @ weight.T + bias).argmax(axis=1) != y[out]).sum())
    return wrong / len(y)


def _release(
    fleet: Fleet, x: Floats, y: Ints, epsilon: float, rng: np.random.Generator
) -> NoisyStatistics:
    return plants.release(ENCODER, x, y, fleet.labels, epsilon, rng)


def _hostile(
    fleet: Fleet,
    attack: str,
    honest: Sequence[NoisyStatistics],
    epsilon: float,
    rng: np.random.Generator,
) -> list[NoisyStatistics]:
    classes = len(fleet.labels)
    x, y = fleet.own[HONEST]
    moved = (y + 1) % classes
    if attack == "nobody":
        return []
    if attack == "largest":
        signs = np.where(rng.random(honest[0].schema.blocks[1].size) < 0.5, -1, 1)
        return [_with_sums(honest[0], signs * (1 << 62))]
    if attack == "copied":
        return [honest[0]]
    if attack == "large friend":
        return [_release(fleet, *fleet.rest, epsilon, rng)]
    if attack in ("at the bound", "exchanged"):
        made = _release(fleet, x, moved, epsilon, rng)
        return [made if attack == "exchanged" else _longest(made)]
    if attack == "odd mean":
        away = x - x.mean(axis=0)
        other = rng.normal(size=x.shape[1])
        return [_release(fleet, away + 0.7 * other / np.linalg.norm(other), y, epsilon, rng)]
    found = []
    for plant in range(1 if attack == "exchanged, many" else 3):
        x, y = fleet.own[HONEST + plant]
        many = np.repeat(x, MANY, axis=0), np.repeat((y + 1) % classes, MANY)
        found.append(_release(fleet, *many, epsilon, rng))
    return found


def _with_sums(release: NoisyStatistics, sums: Ints) -> NoisyStatistics:
    _, where, moments = release.schema.blocks
    integers = release.integers.copy()
    integers[where.offset : moments.offset] = sums
    return NoisyStatistics(release.schema, integers, release.sigma)


def _longest(release: NoisyStatistics) -> NoisyStatistics:
    """The release with its sums as long as is still plausible."""
    _, where, moments = release.schema.blocks
    sums = release.integers[where.offset : moments.offset].astype(np.float64)
    low, high = 1.0, 1e6
    for _ in range(40):
        middle = np.sqrt(low * high)
        longer = _with_sums(release, np.rint(sums * middle).astype(np.int64))
        low, high = (low, middle) if plausibility.reasons(longer) else (middle, high)
    return _with_sums(release, np.rint(sums * low).astype(np.int64))


if __name__ == "__main__":
    main()
