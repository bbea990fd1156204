"""Episodes: simulated plants, made from zoo tasks with the code of real releases.

For an episode, a family, one of its sites and some of the site's classes are drawn. The site has a
few labels per class or none, and possibly no records of some classes. Up to four other sites
release statistics, too: up to three of the same family, and one of another family under the same
class names. Noise is drawn anew for each episode.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy import mechanism
from wg_core.privacy.schema import DEFAULT_DELTA, StatisticsSchema, default_schema
from wg_core.privacy.statistics import NoisyStatistics
from wg_server.generator.evaluation.simulated_release import simulate_statistics
from wg_server.generator.prior.zoo_tasks import ZooTask

DELTA = float(DEFAULT_DELTA)
CLASS_LIMIT = 12
HELD_OUT_RECORDS = 48
MAX_SAME_FAMILY_SITES = 3  # Largest number of other sites of the family that release


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSettings:
    """Settings of simulated plants: labels, epsilon, and releases of other sites.

    Attributes:
        epsilon: Epsilon of every release; infinite: releases without noise.
        shots: Approximate number of records per class at the plant.
        missing: Probability that the plant has no records of some classes.
        unlabelled: Probability that the plant has no labels.
        same_family_shots: Approximate number of records per class at other sites of the family.
        out_of_family: Probability that a site of another family releases under the plant's class
            names.
    """

    epsilon: float = 4.0
    shots: int = 20
    missing: float = 0.0
    unlabelled: float = 0.0
    same_family_shots: int = 60
    out_of_family: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One simulated plant, with its release and those of other sites.

    Attributes:
        own: Features ``[n, d]`` and class indices ``[n]`` (-1: no label) of the plant's records.
        queries: Features of held-out records of the plant, ``[q, d]``.
        answers: Class indices of the held-out records, ``[q]``.
        release: Noisy statistics of the plant's records.
        others: Noisy statistics that the other sites released.
        labels: Class names of the plant.
        family: Family of the plant.
    """

    own: tuple[NDArray[np.float64], NDArray[np.int64]]
    queries: NDArray[np.float32]
    answers: NDArray[np.int64]
    release: NoisyStatistics
    others: tuple[NoisyStatistics, ...]
    labels: tuple[str, ...]
    family: str

    def accuracy(self, head: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
        """Return the accuracy of a head (weights ``[K, d]``, bias ``[K]``) on held-out records."""
        weight, bias = head
        logits = self.queries @ weight.T + bias
        return float((logits.argmax(axis=1) == self.answers).mean())


class EpisodeSampler:
    """Sampler of simulated plants from zoo tasks."""

    def __init__(self, tasks: Sequence[ZooTask], encoder: str, radius: float) -> None:
        self._families: dict[str, list[ZooTask]] = {}
        for task in tasks:
            self._families.setdefault(task.family, []).append(task)
        self._names = sorted(self._families)
        self._encoder = encoder
        self._radius = radius

    def draw_episode(self, rng: np.random.Generator, scenario: EpisodeSettings) -> Episode:
        """Draw one simulated plant with its records, its release, and those of other sites."""
        family = self._names[int(rng.integers(len(self._names)))]
        sites = self._families[family]
        order = rng.permutation(len(sites))
        target = sites[order[0]]
        class_choice = _choose_classes(len(target.labels), rng)
        labels = tuple(target.labels[c] for c in class_choice)
        support, query = _split_records(target, class_choice, rng)
        features, answers = _target_records(target, class_choice, support, rng, scenario)
        release = self._simulate_release(features, answers, labels, rng, scenario.epsilon)
        other_releases = []
        count = int(rng.integers(0, MAX_SAME_FAMILY_SITES + 1))
        for index in order[1 : 1 + count]:
            classes = (
                class_choice if rng.random() < 0.7 else _drop_random_classes(class_choice, rng)
            )
            other_releases.append(self._simulate_site_release(sites[index], classes, rng, scenario))
        if rng.random() < scenario.out_of_family:
            other_releases.append(self._simulate_foreign_release(family, labels, rng, scenario))
        rows = query[rng.permutation(len(query))[:HELD_OUT_RECORDS]]
        return Episode(
            own=(features.astype(np.float64), answers),
            queries=target.features[rows],
            answers=np.searchsorted(class_choice, target.y[rows]),
            release=release,
            others=tuple(other_releases),
            labels=labels,
            family=family,
        )

    def _simulate_site_release(
        self,
        task: ZooTask,
        classes: NDArray[np.int64],
        rng: np.random.Generator,
        scenario: EpisodeSettings,
        names: Sequence[str] | None = None,
    ) -> NoisyStatistics:
        rows = np.flatnonzero(np.isin(task.y, classes))
        rows = _draw_shots(task.y, rows, scenario.same_family_shots, rng)
        y = np.searchsorted(classes, task.y[rows])
        labels = tuple(task.labels[c] for c in classes) if names is None else tuple(names)
        return self._simulate_release(task.features[rows], y, labels, rng, scenario.epsilon)

    def _simulate_foreign_release(
        self,
        family: str,
        labels: tuple[str, ...],
        rng: np.random.Generator,
        scenario: EpisodeSettings,
    ) -> NoisyStatistics:
        other_families = [name for name in self._names if name != family] or [family]
        sites = self._families[other_families[int(rng.integers(len(other_families)))]]
        task = sites[int(rng.integers(len(sites)))]
        classes = np.sort(rng.permutation(len(task.labels))[: len(labels)])
        return self._simulate_site_release(task, classes, rng, scenario, labels[: len(classes)])

    def _simulate_release(
        self,
        features: NDArray[np.float32],
        y: NDArray[np.int64],
        labels: tuple[str, ...],
        rng: np.random.Generator,
        epsilon: float,
    ) -> NoisyStatistics:
        schema = default_schema(
            encoder=self._encoder,
            dimension=features.shape[1],
            labels=labels,
            clip_radius=self._radius,
        )
        sigma = 0.0
        if np.isfinite(epsilon):
            sigma = _noise_scale(self._encoder, features.shape[1], self._radius, epsilon)
        return simulate_statistics(schema, features, y, sigma, rng)


@functools.lru_cache(maxsize=256)
def _noise_scale(encoder: str, dimension: int, radius: float, epsilon: float) -> float:
    """Return sigma of a release's noise in grid units; it does not depend on the class names."""
    schema: StatisticsSchema = default_schema(
        encoder=encoder, dimension=dimension, labels=("any",), clip_radius=radius
    )
    return mechanism.noise_scale(schema, epsilon, DELTA)


def _choose_classes(total: int, rng: np.random.Generator) -> NDArray[np.int64]:
    size = total if rng.random() < 0.6 else int(rng.integers(2, total + 1))
    return np.sort(rng.permutation(total)[: min(size, CLASS_LIMIT)])


def _drop_random_classes(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(classes) < 3:
        return classes
    dropped_count = int(rng.integers(1, max(2, len(classes) // 2)))
    return np.sort(rng.permutation(classes)[dropped_count:])


def _split_records(
    task: ZooTask, classes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the plant's and of the held-out records, half of each class."""
    support, query = [], []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(task.y == label))
        support.append(rows[: len(rows) // 2])
        query.append(rows[len(rows) // 2 :])
    return np.concatenate(support), np.concatenate(query)


def _draw_shots(
    y: NDArray[np.int64], rows: NDArray[np.int64], shots: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows of about ``shots`` records of each class; numbers vary between classes.

    A class with fewer records is drawn with replacement: this simulates a plant whose release has
    the noise of many records, but the sampling error of few.
    """
    drawn_rows = [np.zeros(0, dtype=np.int64)]
    for label in np.unique(y[rows]):
        mine = rows[y[rows] == label]
        count = max(1, round(shots * rng.uniform(0.5, 1.5)))
        drawn_rows.append(rng.choice(mine, count, replace=count > len(mine)))
    return np.concatenate(drawn_rows)


def _target_records(
    target: ZooTask,
    indices: NDArray[np.int64],
    support: NDArray[np.int64],
    rng: np.random.Generator,
    scenario: EpisodeSettings,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Draw the plant's records: features ``[n, d]`` and class indices ``[n]``; -1: no label."""
    blind = rng.random() < scenario.unlabelled
    classes = indices
    if not blind and len(indices) > 2 and rng.random() < scenario.missing:
        classes = _drop_random_classes(indices, rng)
    rows = support[np.isin(target.y[support], classes)]
    rows = _draw_shots(target.y, rows, scenario.shots, rng)
    y = np.full(len(rows), -1) if blind else np.searchsorted(indices, target.y[rows])
    return target.features[rows], y
