"""Episodes: simulated plants, made from zoo tasks with the very code of a real release.

An episode draws a family, a site of it, some of its classes, few labels (or none), perhaps classes
that the site has never seen, up to four other sites' releases (of the same family, and of another
that happens to use the same label names), and an epsilon for each release. Noise is drawn anew each
time.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.discriminants import scaled
from wg_common.inference.posterior import no_evidence
from wg_common.streams import Stream
from wg_core.privacy import mechanism
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_core.privacy.simulate import simulate_statistics
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.generator.prior.blup import Head, Prediction
from wg_server.generator.prior.conditioning import Condition, condition
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask

DELTA = 1e-5
EPSILONS = tuple(float(e) for e in np.geomspace(0.1, 16, 23))
NO_NOISE = float("inf")
CLASS_LIMIT = 12
QUERIES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is varied between episodes. Fixed values make a benchmark's scenario.

    Attributes:
        epsilon: Epsilon of every release; None draws one for each.
        shots: Labels of a class at the site; None draws a number.
        missing: Share of episodes in which the site lacks some classes.
        unlabelled: Share of episodes in which it has no labels at all.
        silent: Share of episodes in which it has released nothing.
        same_family: Largest number of same-family sites with releases.
        same_family_shots: Labels of a class at a same-family site; None draws a number.
        out_of_family: Probability of a release of another family under the same label names.
    """

    epsilon: float | None = None
    shots: int | None = None
    missing: float = 0.3
    unlabelled: float = 0.1
    silent: float = 0.1
    same_family: int = 3
    same_family_shots: int | None = None
    out_of_family: float = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One simulated plant.

    Attributes:
        condition: Tokens of the evidence.
        estimate: T-BLUP's prediction.
        target_weight: Rows of the zoo's trained head, centred, mean length 1, ``[K, d]``.
        target_bias: Its bias of ``features - centre``, ``[K]``.
        queries: Features of held-out records, ``[q, d]``.
        answers: Their classes, ``[q]``.
        releases: Own release (or None), then the others'.
        labels: Class names.
        task: Key of the zoo entry that it simulates.
        family: Its family.
        classes: The entry's classes that the plant has, ascending, ``[K]``.
        rows: The entry's records behind ``queries``, ``[q]``.
    """

    condition: Condition
    estimate: Prediction
    target_weight: NDArray[np.float32]
    target_bias: NDArray[np.float32]
    queries: NDArray[np.float32]
    answers: NDArray[np.int64]
    releases: tuple[NoisyStatistics | None, ...]
    labels: tuple[str, ...]
    task: str
    family: str
    classes: NDArray[np.int64]
    rows: NDArray[np.int64]

    def logits(self, head: Head) -> NDArray[np.float64]:
        """Logits ``[q, K]`` of a head on ``features - centre``, on the held-out records."""
        weight, bias = head
        return np.asarray((self.queries - self.estimate.centre) @ weight.T + bias)

    def accuracy(self, head: Head) -> float:
        """Share of the held-out records that a head gets right."""
        return float((self.logits(head).argmax(axis=1) == self.answers).mean())


class Plants:
    """Draws episodes from zoo tasks."""

    def __init__(
        self,
        tasks: Sequence[ZooTask],
        fitted_priors: Mapping[str, FittedPriors],
        encoder: str,
        radius: float,
    ) -> None:
        """Keep the tasks of the families named, each with priors that were fitted without it."""
        self._fitted_priors = fitted_priors
        self._families: dict[str, list[ZooTask]] = {}
        for task in tasks:
            if task.family in fitted_priors:
                self._families.setdefault(task.family, []).append(task)
        self._names = sorted(self._families)
        self._encoder = encoder
        self._radius = radius

    def draw_step(self, seed: int, numbers: range, step: int) -> list[Episode]:
        """Episodes of a training step, each from a stream of its own.

        Args:
            numbers: Which of the step's episodes are wanted.
        """
        rngs = (streams.rng(Stream.EPISODE, seed, then=(step, number)) for number in numbers)
        return [self.draw(rng, Scenario()) for rng in rngs]

    def draw_many(self, rng: np.random.Generator, count: int) -> list[Episode]:
        """Episodes of the usual scenario, one after another."""
        return [self.draw(rng, Scenario()) for _ in range(count)]

    def draw(
        self,
        rng: np.random.Generator,
        scenario: Scenario,
        *,
        target: ZooTask | None = None,
        query_rows: NDArray[np.int64] | None = None,
    ) -> Episode:
        """Draw one episode.

        Args:
            target: The site to simulate, one of the tasks kept; None draws a family and a site.
            query_rows: Its records that are queries alone; None draws half of each class.
        """
        target, sites, order = self._site(rng, target)
        family = target.family
        chosen = _choose_classes(len(target.labels), rng)
        labels = tuple(target.labels[c] for c in chosen)
        support, query = _split(target, chosen, rng, query_rows)
        releases = [self._own(target, chosen, support, labels, rng, scenario)]
        count = int(rng.integers(0, scenario.same_family + 1))
        for index in order[1 : 1 + count]:
            classes = chosen if rng.random() < 0.7 else _drop_some(chosen, rng)
            releases.append(self._release(sites[index], classes, rng, scenario))
        if rng.random() < scenario.out_of_family:
            releases.append(self._out_of_family(family, labels, rng, scenario))
        evidence = [
            no_evidence(len(labels), target.features.shape[1])
            if r is None
            else site_evidence(r, labels)
            for r in releases
        ]
        tokens, estimate = condition(self._fitted_priors[family], evidence, labels)
        rows = query[rng.permutation(len(query))[:QUERIES]]
        weight, bias = normalise(target.weight[chosen], target.bias[chosen], estimate.centre)
        lookup = {old: new for new, old in enumerate(chosen)}
        return Episode(
            condition=tokens,
            estimate=estimate,
            target_weight=weight,
            target_bias=bias,
            queries=target.features[rows],
            answers=np.array([lookup[y] for y in target.y[rows]], dtype=np.int64),
            releases=tuple(releases),
            labels=labels,
            task=target.key,
            family=family,
            classes=chosen,
            rows=rows,
        )

    def _site(
        self, rng: np.random.Generator, target: ZooTask | None
    ) -> tuple[ZooTask, list[ZooTask], NDArray[np.int64]]:
        """The site to simulate, those of its family, and an order of these that begins with it."""
        if target is None:
            sites = self._families[self._names[int(rng.integers(len(self._names)))]]
            order = rng.permutation(len(sites))
            return sites[order[0]], sites, order
        sites = self._families[target.family]
        target_number = next(i for i, site in enumerate(sites) if site.key == target.key)
        order = rng.permutation(np.delete(np.arange(len(sites)), target_number))
        return target, sites, np.concatenate([[target_number], order])

    def _own(
        self,
        target: ZooTask,
        chosen: NDArray[np.int64],
        support: NDArray[np.int64],
        labels: tuple[str, ...],
        rng: np.random.Generator,
        scenario: Scenario,
    ) -> NoisyStatistics | None:
        mode = rng.random()
        if mode < scenario.silent:
            return None
        blind = mode < scenario.silent + scenario.unlabelled
        classes = chosen
        if not blind and len(chosen) > 2 and rng.random() < scenario.missing:
            classes = _drop_some(chosen, rng)
        rows = support[np.isin(target.y[support], classes)]
        rows = _subset(target.y, rows, _shots(rng, scenario.shots, 2, 40), rng)
        y = np.full(len(rows), -1) if blind else np.searchsorted(chosen, target.y[rows])
        return self._make(target.features[rows], y, labels, rng, scenario.epsilon)

    def _release(
        self,
        task: ZooTask,
        classes: NDArray[np.int64],
        rng: np.random.Generator,
        scenario: Scenario,
        names: Sequence[str] | None = None,
    ) -> NoisyStatistics:
        rows = np.flatnonzero(np.isin(task.y, classes))
        rows = _subset(task.y, rows, _shots(rng, scenario.same_family_shots, 5, 200), rng)
        y = np.searchsorted(classes, task.y[rows])
        labels = tuple(task.labels[c] for c in classes) if names is None else tuple(names)
        return self._make(task.features[rows], y, labels, rng, scenario.epsilon)

    def _out_of_family(
        self, family: str, labels: tuple[str, ...], rng: np.random.Generator, scenario: Scenario
    ) -> NoisyStatistics:
        other_families = [name for name in self._names if name != family] or [family]
        sites = self._families[other_families[int(rng.integers(len(other_families)))]]
        task = sites[int(rng.integers(len(sites)))]
        classes = np.sort(rng.permutation(len(task.labels))[: len(labels)])
        return self._release(task, classes, rng, scenario, labels[: len(classes)])

    def _make(
        self,
        features: NDArray[np.float32],
        y: NDArray[np.int64],
        labels: tuple[str, ...],
        rng: np.random.Generator,
        epsilon: float | None,
    ) -> NoisyStatistics:
        if epsilon is None:
            epsilon = NO_NOISE if rng.random() < 0.1 else EPSILONS[int(rng.integers(len(EPSILONS)))]
        schema = default_schema(
            encoder=self._encoder,
            dimension=features.shape[1],
            labels=labels,
            clip_radius=self._radius,
        )
        sigma = 0.0
        if epsilon != NO_NOISE:
            sigma = _sigma(self._encoder, features.shape[1], self._radius, epsilon)
        return simulate_statistics(schema, features, y, sigma, rng)


def normalise(
    weight: NDArray[np.floating], bias: NDArray[np.floating], centre: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A head on ``features - centre``, centred over classes and with rows of mean length 1."""
    w = np.asarray(weight, dtype=np.float64)
    w = w - w.mean(axis=0)
    b = np.asarray(bias, dtype=np.float64) + w @ centre
    w, b = scaled(w, b - b.mean())
    return w.astype(np.float32), b.astype(np.float32)


@functools.lru_cache(maxsize=256)
def _sigma(encoder: str, dimension: int, radius: float, epsilon: float) -> float:
    """Noise of a release; it does not depend on the labels, as long as there are some."""
    schema: StatisticsSchema = default_schema(
        encoder=encoder, dimension=dimension, labels=("any",), clip_radius=radius
    )
    return mechanism.sigma_for(schema, epsilon, DELTA)


def _choose_classes(total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    size = total if rng.random() < 0.6 else int(rng.integers(2, total + 1))
    return np.sort(rng.permutation(total)[: min(size, CLASS_LIMIT)])


def _drop_some(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(classes) < 3:
        return classes
    gone = int(rng.integers(1, max(2, len(classes) // 2)))
    return np.sort(rng.permutation(classes)[gone:])


def _split(
    task: ZooTask,
    classes: NDArray[np.int64],
    rng: np.random.Generator,
    query_rows: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Records to draw labels from, and for queries: ``query_rows``, or half of each class."""
    if query_rows is not None:
        in_classes = np.isin(task.y, classes)
        in_query = np.isin(np.arange(len(task.y)), query_rows)
        return np.flatnonzero(in_classes & ~in_query), np.flatnonzero(in_classes & in_query)
    support, query = [], []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(task.y == label))
        support.append(rows[: len(rows) // 2])
        query.append(rows[len(rows) // 2 :])
    return np.concatenate(support), np.concatenate(query)


def _subset(
    y: NDArray[np.int64], rows: NDArray[np.int64], shots: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """About ``shots`` records of each class; numbers vary between classes.

    Where a class has fewer records they are drawn with replacement: a plant of many records is
    simulated with the noise of many, and the sampling error of few.
    """
    drawn_rows = [np.zeros(0, dtype=np.int64)]
    for label in np.unique(y[rows]):
        mine = rows[y[rows] == label]
        count = max(1, round(shots * rng.uniform(0.5, 1.5)))
        drawn_rows.append(rng.choice(mine, count, replace=count > len(mine)))
    return np.concatenate(drawn_rows)


def _shots(rng: np.random.Generator, fixed: int | None, low: int, high: int) -> int:
    return (
        fixed if fixed is not None else round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    )
