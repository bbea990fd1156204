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
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import DEFAULT_DELTA, StatisticsSchema, default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior.zoo_tasks import ZooTask

RELEASE_DELTA = float(DEFAULT_DELTA)
PLANT_CLASS_LIMIT = 12
HELD_OUT_RECORD_COUNT = 48
MAX_SAME_FAMILY_SITES = 3  # Largest number of other sites of the family that release


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSettings:
    """Settings of simulated plants: labels, epsilon, and releases of other sites.

    Attributes:
        epsilon: Epsilon of every release; infinite: releases without noise.
        labels_per_class: Approximate number of records per class at the plant.
        missing_classes_probability: Probability that the plant has no records of some classes.
        unlabelled_probability: Probability that the plant has no labels.
        same_family_labels_per_class: Approximate number of records per class at other sites of the
            family.
        foreign_release_probability: Probability that a site of another family releases under the
            plant's class names.
    """

    epsilon: float = 4.0
    labels_per_class: int = 20
    missing_classes_probability: float = 0.0
    unlabelled_probability: float = 0.0
    same_family_labels_per_class: int = 60
    foreign_release_probability: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One simulated plant, with its own release and the releases of other sites.

    Attributes:
        own_records: Features ``[n, d]`` and class indices ``[n]`` (-1: no label) of the plant's
            records.
        held_out_features: Features of held-out records of the plant, ``[q, d]``.
        held_out_classes: Class indices of the held-out records, ``[q]``.
        release: Noisy statistics of the plant's records.
        other_releases: Noisy statistics that the other sites released.
        labels: Class names of the plant.
        family: Family of the plant.
    """

    own_records: tuple[NDArray[np.float64], NDArray[np.int64]]
    held_out_features: NDArray[np.float32]
    held_out_classes: NDArray[np.int64]
    release: NoisyStatistics
    other_releases: tuple[NoisyStatistics, ...]
    labels: tuple[str, ...]
    family: str

    def accuracy(self, head: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
        """Return the accuracy of a head (weights ``[K, d]``, bias ``[K]``) on held-out records."""
        weight, bias = head
        logits = self.held_out_features @ weight.T + bias
        return float((logits.argmax(axis=1) == self.held_out_classes).mean())


class EpisodeSampler:
    """Sampler of simulated plants from zoo tasks.

    Args:
        tasks: Tasks of the zoo; those of one family are its sites.
        encoder_sha256: Id of the encoder that computed the tasks' features, hex.
        clip_radius: Length to which releases clip features.
    """

    def __init__(self, tasks: Sequence[ZooTask], encoder_sha256: str, clip_radius: float) -> None:
        self._families: dict[str, list[ZooTask]] = {}
        for task in tasks:
            self._families.setdefault(task.family, []).append(task)
        self._names = sorted(self._families)
        self._encoder = encoder_sha256
        self._radius = clip_radius

    def draw_episode(self, rng: np.random.Generator, scenario: EpisodeSettings) -> Episode:
        """Draw one simulated plant with its records, its release, and those of other sites."""
        family = self._names[int(rng.integers(len(self._names)))]
        sites = self._families[family]
        order = rng.permutation(len(sites))
        target = sites[order[0]]
        class_choice = _choose_classes(len(target.labels), rng)
        labels = tuple(target.labels[c] for c in class_choice)
        support, query = _split_records(target, class_choice, rng)
        features, answers = _draw_plant_records(target, class_choice, support, rng, scenario)
        release = self._simulate_release(features, answers, labels, rng, scenario.epsilon)
        other_releases = []
        count = int(rng.integers(0, MAX_SAME_FAMILY_SITES + 1))
        for index in order[1 : 1 + count]:
            classes = (
                class_choice if rng.random() < 0.7 else _drop_random_classes(class_choice, rng)
            )
            other_releases.append(self._simulate_site_release(sites[index], classes, rng, scenario))
        if rng.random() < scenario.foreign_release_probability:
            other_releases.append(self._simulate_foreign_release(family, labels, rng, scenario))
        rows = query[rng.permutation(len(query))[:HELD_OUT_RECORD_COUNT]]
        return Episode(
            own_records=(features.astype(np.float64), answers),
            held_out_features=target.features[rows],
            held_out_classes=np.searchsorted(class_choice, target.y[rows]),
            release=release,
            other_releases=tuple(other_releases),
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
        rows = _draw_rows_per_class(task.y, rows, scenario.same_family_labels_per_class, rng)
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
        return simulate_noisy_statistics(schema, features, y, sigma, rng)


@functools.lru_cache(maxsize=256)
def _noise_scale(encoder_sha256: str, dimension: int, clip_radius: float, epsilon: float) -> float:
    """Return sigma of a release's noise in grid units; it does not depend on the class names."""
    schema: StatisticsSchema = default_schema(
        encoder=encoder_sha256, dimension=dimension, labels=("any",), clip_radius=clip_radius
    )
    return mechanism.noise_scale(schema, epsilon, RELEASE_DELTA)


def _choose_classes(class_count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    size = class_count if rng.random() < 0.6 else int(rng.integers(2, class_count + 1))
    return np.sort(rng.permutation(class_count)[: min(size, PLANT_CLASS_LIMIT)])


def _drop_random_classes(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(classes) < 3:
        return classes
    dropped_count = int(rng.integers(1, max(2, len(classes) // 2)))
    return np.sort(rng.permutation(classes)[dropped_count:])


def _split_records(
    task: ZooTask, classes: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split each class's records in half; return the plant's rows, and the held-out rows."""
    support, query = [], []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(task.y == label))
        support.append(rows[: len(rows) // 2])
        query.append(rows[len(rows) // 2 :])
    return np.concatenate(support), np.concatenate(query)


def _draw_rows_per_class(
    y: NDArray[np.int64], rows: NDArray[np.int64], rows_per_class: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw rows of about ``rows_per_class`` records of each class, out of ``rows``.

    A class with fewer records is drawn with replacement: this simulates a plant whose release has
    the noise of many records, but the sampling error of few.
    """
    drawn_rows = [np.zeros(0, dtype=np.int64)]
    for label in np.unique(y[rows]):
        mine = rows[y[rows] == label]
        count = max(1, round(rows_per_class * rng.uniform(0.5, 1.5)))
        drawn_rows.append(rng.choice(mine, count, replace=count > len(mine)))
    return np.concatenate(drawn_rows)


def _draw_plant_records(
    target: ZooTask,
    class_indices: NDArray[np.int64],
    support_rows: NDArray[np.int64],
    rng: np.random.Generator,
    scenario: EpisodeSettings,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Draw the plant's records: features ``[n, d]`` and class indices ``[n]``; -1: no label."""
    blind = rng.random() < scenario.unlabelled_probability
    classes = class_indices
    if not blind and len(class_indices) > 2 and rng.random() < scenario.missing_classes_probability:
        classes = _drop_random_classes(class_indices, rng)
    rows = support_rows[np.isin(target.y[support_rows], classes)]
    rows = _draw_rows_per_class(target.y, rows, scenario.labels_per_class, rng)
    y = np.full(len(rows), -1) if blind else np.searchsorted(class_indices, target.y[rows])
    return target.features[rows], y
