"""What baselines of a family's head work with, for scenario S6k (``bench.camera``).

All of them add to the family's head, on the leading directions of its features: what adds nothing
is that head. A condition is what one knows of a site: the moments of its features, exactly,
or what it could release. Noise is taken out of it as well as a linear map can (Wiener filter).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bench import plants
from bench.camera_sets import CameraSet
from numpy.typing import NDArray
from scipy.optimize import minimize

from wg_common.inference.block_scale import block_scale
from wg_common.inference.discriminants import principal
from wg_common.inference.family_head import FamilyHead, Layout, moments
from wg_common.nets.encoder.module import Encoder
from wg_server.generator.prior.site_statistics import site_evidence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXACT = "exact"
EPSILONS = 4.0, 1.0, 0.5
_DIRECTIONS, _PRINCIPAL = 128, 2000
_STATISTICS_NOISE = 0.7
"""Noise on picture statistics, in that on features: they have a share of the release."""
_WIDTH = 32  # Directions of a condition, at most


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What is added to the family's head.

    Attributes:
        weight: ``[K, q]``.
        bias: ``[K]``.
    """

    weight: Floats
    bias: Floats

    def flat(self) -> Floats:
        """As one row ``[K (q + 1)]``, class after class."""
        return np.hstack([self.weight, self.bias[:, None]]).ravel()


def head_of(flat: Floats, classes: int) -> Head:
    """The head that ``flat`` made a row of."""
    both = flat.reshape(classes, -1)
    return Head(both[:, :-1], both[:, -1])


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Records of a site, or of each of C sites.

    Attributes:
        z: Features on q directions, ``[n, q]`` or ``[C, n, q]``, standardised by the site.
        given: Logits of the family's head, ``[n, K]`` or ``[C, n, K]``.
        y: Labels ``[n]`` or ``[C, n]``.
    """

    z: Floats
    given: Floats
    y: Ints

    def logits(self, head: Head) -> Floats:
        """Of the family's head with another one added, ``[n, K]``."""
        return np.asarray(self.given + self.z @ head.weight.T + head.bias)

    def right(self, head: Head) -> float:
        """Share of right answers."""
        return float((self.logits(head).argmax(axis=1) == self.y).mean())

    def loss(self, head: Head) -> float:
        """Mean loss of a record in nats."""
        logits = self.logits(head)
        own = np.take_along_axis(logits, self.y[:, None], axis=1)[:, 0]
        return float((np.logaddexp.reduce(logits, axis=1) - own).mean())

    def few(self, shots: int) -> Seen:
        """The first records of each class."""
        rows = np.concatenate([np.flatnonzero(self.y == c)[:shots] for c in np.unique(self.y)])
        return self.only(rows)

    def only(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Seen:
        """Some of the records; of those of several sites, all records of some sites."""
        return Seen(self.z[which], self.given[which], self.y[which])

    def together(self) -> Seen:
        """Records of all sites as if of one."""
        k, q = self.given.shape[-1], self.z.shape[-1]
        return Seen(self.z.reshape(-1, q), self.given.reshape(-1, k), self.y.ravel())


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The space that heads are added in. B features, q directions.

    Attributes:
        family: The family's head.
        layout: Of local features.
        basis: ``[B, q]``.
    """

    family: FamilyHead
    layout: Layout
    basis: NDArray[np.float32]

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.family.bias)

    def seen(
        self,
        local: NDArray[np.floating],
        y: NDArray[np.generic],
        plant: NDArray[np.floating] | None = None,
    ) -> Seen:
        """Records as their site sees them.

        Args:
            local: Their local features ``[n, D]``.
            y: Labels ``[n]``.
            plant: Records of the plant whose they are ``[m, D]``, shrunk as the product does it;
                if not given, the operator's: they are standardised by themselves.
        """
        own = moments(local.astype(np.float32), self.layout)
        if plant is not None:
            share = len(plant) / (len(plant) + self.family.records[0])
            own = self.family.reference
            own = own + share * (moments(plant.astype(np.float32), self.layout) - own)
        x = _standard(local, own, self.layout)
        given = x @ self.family.weight.T + self.family.bias
        return Seen((x @ self.basis).astype(np.float32), given, y.astype(np.int64))

    def zoo(self, cut: CameraSet) -> Seen:
        """The operator's records at all made-up sites."""
        all_ = [self.seen(x, y) for x, y in zip(cut.zoo, cut.zoo_y, strict=True)]
        return Seen(*(np.stack([getattr(s, part) for s in all_]) for part in ("z", "given", "y")))


def space_of(family: FamilyHead, cut: CameraSet, layout: Layout) -> Space:
    """The leading directions of the zoo's standardised features."""
    x = np.concatenate(
        [_standard(site, moments(site.astype(np.float32), layout), layout) for site in cut.zoo]
    )
    rows = np.linspace(0, len(x) - 1, min(len(x), _PRINCIPAL)).astype(np.int64)
    values, vectors = principal(x[rows].astype(np.float64), min(_DIRECTIONS, len(rows)))
    return Space(family, layout, (vectors / np.sqrt(values.mean())).astype(np.float32))


def _standard(local: NDArray[np.floating], site: Floats, layout: Layout) -> Floats:
    """Features ``[n, B]`` standardised by a site's moments."""
    scale = block_scale(np.exp(site[1]), layout.sizes)
    return np.asarray((local[:, layout.start :] - site[0]) * scale)


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """What is known of sites. C sites of the zoo, P plants, j numbers.

    Attributes:
        name: What it is.
        clean: Of the zoo's sites without noise, ``[C, j]``, of unit variance.
        noise: Standard deviation of the noise on each number ``[j]``.
        turn: Wiener filter and rotation ``[j, J]``.
        plants: Of the plants, filtered, ``[P, J]``.
    """

    name: str
    clean: Floats
    noise: Floats
    turn: Floats
    plants: Floats

    def draw(self, rng: np.random.Generator, times: int = 1) -> Floats:
        """Filtered conditions of the zoo's sites with new noise, ``[times C, J]``."""
        clean = np.tile(self.clean, (times, 1))
        return (clean + self.noise * rng.standard_normal(clean.shape)) @ self.turn


def conditions(cut: CameraSet, encoder: Encoder) -> Iterator[Condition]:
    """The exact one, and at each epsilon what is released today, and with picture statistics."""
    scaled = encoder.scaled_dimension
    public = Layout(scaled, ())
    zoo, own = (
        np.stack([moments(x[:, :scaled].astype(np.float32), public).ravel() for x in sites])
        for sites in (cut.zoo, cut.own)
    )
    yield _condition(EXACT, zoo, own, np.zeros(zoo.shape[1]))
    means = cut.zoo[..., : encoder.dimension].astype(np.float64).mean(axis=1)
    pictures = cut.zoo_s.astype(np.float64).mean(axis=1)
    for epsilon in EPSILONS:
        rng = np.random.default_rng(5)
        released, deviations = _released(cut, encoder, epsilon, rng)
        noise = np.full(means.shape[1], float(np.median(deviations)))
        few = _STATISTICS_NOISE * np.full(pictures.shape[1], noise[0])
        shown = cut.own_s.mean(axis=1) + few * rng.standard_normal((len(cut.own), len(few)))
        yield _condition(f"ε={epsilon:g}", means, released, noise)
        yield _condition(
            f"ε={epsilon:g} @pictures",
            np.hstack([means, pictures]),
            np.hstack([released, shown]),
            np.concatenate([noise, few]),
        )


def _released(
    cut: CameraSet, encoder: Encoder, epsilon: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Means of plants as they are read from releases ``[P, d]``, and their noise ``[P]``."""
    names = tuple(str(name) for name in cut.names)
    means, noise = [], []
    for own in cut.own:
        x = own[:, : encoder.dimension].astype(np.float64)
        y = cut.own_y.astype(np.int64)
        site = site_evidence(plants.release(encoder.id, x, y, names, epsilon, rng), names)
        means.append(site.domain)
        noise.append(np.sqrt(site.domain_noise))
    return np.array(means), np.array(noise)


def _condition(name: str, zoo: Floats, asked: Floats, noise: Floats) -> Condition:
    mean, spread = zoo.mean(axis=0), zoo.std(axis=0) + 1e-9
    clean, deviation = (zoo - mean) / spread, noise / spread
    covariance = clean.T @ clean / len(clean)
    gain = np.linalg.pinv(covariance + np.diag(deviation**2 + 1e-6)) @ covariance
    _, _, turn = np.linalg.svd(clean @ gain, full_matrices=False)
    turn = gain @ turn[: min(_WIDTH, len(zoo) - 2)].T
    turn /= (clean @ turn)[:, 0].std()
    return Condition(name, clean, deviation, turn, (asked - mean) / spread @ turn)


def around(seen: Seen, penalty: float, start: Head | None = None) -> Head:
    """Logistic regression around a head: what is added to it is penalised.

    Args:
        seen: Records of one site.
        penalty: Of squared weights, in units of the mean loss of a record.
        start: Around the family's head if not given.
    """
    n, q = seen.z.shape
    k = seen.given.shape[1]
    x, hot = seen.z.astype(np.float64), np.eye(k)[seen.y]
    given = seen.given if start is None else seen.logits(start)

    def objective(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(k, q + 1)
        logits = given + x @ theta[:, :q].T + theta[:, q]
        total = np.logaddexp.reduce(logits, axis=1, keepdims=True)
        slope = (np.exp(logits - total) - hot) / n
        loss = float((total[:, 0] - (logits * hot).sum(axis=1)).mean())
        gradient = np.hstack([slope.T @ x + 2 * penalty * theta[:, :q], slope.sum(axis=0)[:, None]])
        return loss + penalty * float((theta[:, :q] ** 2).sum()), gradient.ravel()

    found = minimize(objective, np.zeros(k * (q + 1)), jac=True, method="L-BFGS-B").x
    added = head_of(found, k)
    return added if start is None else Head(added.weight + start.weight, added.bias + start.bias)


def ridge(given: Floats, wanted: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Regression from conditions ``[m, J]`` to rows ``[m, T]``: slope ``[J, T]``, constant ``[T]``.

    Args:
        penalty: Of squared slopes, in units of the mean squared error.
    """
    middle, mean = given.mean(axis=0), wanted.mean(axis=0)
    c = given - middle
    gram = c.T @ c / len(c) + penalty * np.eye(c.shape[1])
    slope = np.linalg.solve(gram, c.T @ (wanted - mean) / len(c))
    return slope, mean - middle @ slope


def linear_in(zoo: Seen, given: Floats, penalty: float, heads_for: Floats) -> list[Head]:
    """Heads whose weights are linear in a condition, fitted on the task's loss.

    Args:
        zoo: Records of C sites.
        given: Their conditions ``[C, J]``.
        penalty: Of squared weights.
        heads_for: Conditions that heads are wanted for, ``[P, J]``.
    """
    sites, n, q = zoo.z.shape
    j, k = given.shape[1], zoo.given.shape[2]
    few, hot = given.astype(np.float32), np.eye(k, dtype=np.float32)[zoo.y]
    weighs = np.full((j, 1, q + 1), penalty)
    weighs[..., q] = 0.0
    x = np.concatenate([zoo.z, np.ones((sites, n, 1))], axis=2).astype(np.float32)
    start = zoo.given.astype(np.float32)

    def objective(flat: Floats) -> tuple[float, Floats]:
        theta = flat.reshape(j, k, q + 1)
        heads = np.tensordot(few, theta.astype(np.float32), axes=1)  # [C, K, q + 1]
        logits = start + np.matmul(x, heads.transpose(0, 2, 1))  # [C, n, K]
        total = np.logaddexp.reduce(logits, axis=2, keepdims=True)
        loss = float((total[..., 0] - (logits * hot).sum(axis=2)).mean())
        slope = np.matmul((np.exp(logits - total) - hot).transpose(0, 2, 1), x) / (sites * n)
        gradient = np.tensordot(few.T, slope, axes=1) + 2 * weighs * theta
        return loss + float((weighs * theta**2).sum()), gradient.ravel()

    zero = np.zeros(j * k * (q + 1))
    theta = minimize(objective, zero, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    theta = theta.reshape(j, k * (q + 1))
    return [head_of(row @ theta, k) for row in heads_for]
