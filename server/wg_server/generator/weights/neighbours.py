"""Retrieval: the zoo's networks of the most similar tasks, and what they would give a plant.

Tasks are compared by their classes. Each class of the plant is matched to the class of the entry
whose deviation points most alike in the metric of T-BLUP; an entry's likeness is the mean over the
plant's classes. Classes of the same name match before any other. The baseline ``retrieval-5nn`` is
exactly this: the mean of the five most similar networks, row by matched row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common.inference.discriminants import unit_rows
from wg_server.generator.families.match import Entries
from wg_server.generator.prior.blup import Prediction, Priors
from wg_server.generator.weights.codec import LayerCodec
from wg_server.generator.weights.zoo_network import ZooNetwork

Floats = NDArray[np.float64]
NEIGHBOURS = 5
_NAME_BONUS = 0.25
_DOMAIN = 0.15
_STEPS = 127
"""Steps of what codecs lose, to each side: eight bits change a trunk's answers by nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalIndex(Entries):
    """What retrieval keeps of one architecture's networks. E entries, R classes of all of them.

    Attributes:
        rows: Head rows with bias on centred features, ``[R, F + 1]``.
        origins: Means of the base's features on the tasks, ``[E, F]``; rows act on what is beyond.
        latents: Latents of the networks' deltas, ``[E, P, l]``.
        keys: Task key of each entry.
        residuals: What the codec loses of the networks' deltas, parts in a row, int8 ``[E, S]``.
        units: What one of them stands for, by part, ``[E, P]``.
        sizes: Size of each part, ``[P]``.
    """

    rows: Floats
    origins: Floats
    latents: Floats
    keys: tuple[str, ...]
    residuals: NDArray[np.int8]
    units: Floats
    sizes: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Number of each entry's first class, ``[E]``."""
        return self.bounds[:-1]

    def classes(self) -> dict[str, tuple[str, ...]]:
        """Names of each entry's classes, by its task's key."""
        parts = zip(self.keys, self.starts, self.bounds[1:], strict=True)
        return {key: self.names[start:end] for key, start, end in parts}

    def residual_of(self, entry: int) -> Floats:
        """What the codec loses of an entry's delta, ``[S]``."""
        return np.asarray(self.residuals[entry] * np.repeat(self.units[entry], self.sizes))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Neighbours of a plant, most similar first. M of them.

    Attributes:
        entries: Their numbers, ``[M]``.
        likeness: ``[M]``, -1 to 1.
        matched: Likeness of the class that each of the plant's was matched to, ``[M, K]``.
        rows: Rows of those classes, ``[M, K, F + 1]``.
        latents: ``[M, P, l]``.
    """

    entries: NDArray[np.int64]
    likeness: Floats
    matched: Floats
    rows: Floats
    latents: Floats

    def mean(self, count: int = NEIGHBOURS) -> tuple[Floats, Floats]:
        """Mean rows ``[K, F + 1]`` and mean latents ``[P, l]`` of the first ``count``."""
        return self.rows[:count].mean(axis=0), self.latents[:count].mean(axis=0)


def build_index(networks: Sequence[ZooNetwork], codec: LayerCodec) -> RetrievalIndex:
    """Collect networks, their latents and what these lose."""
    deviations, centres, residuals, units = [], [], [], []
    latents = np.stack([codec.encode(network.tokens) for network in networks])
    for network, latent in zip(networks, latents, strict=True):
        decoded = codec.decode(torch.from_numpy(latent))
        errors = [network.tokens[name] - decoded[name].numpy() for name in codec.parts]
        units.append([float(np.abs(part).max(initial=0.0)) / _STEPS or 1.0 for part in errors])
        scaled = [np.rint(part / unit) for part, unit in zip(errors, units[-1], strict=True)]
        residuals.append(np.concatenate([np.zeros(0), *scaled]).astype(np.int8))
        centre, task_deviations = network.task.moments()
        centres.append(centre)
        deviations.append(task_deviations)
    sizes = [len(part) for part in deviations]
    return RetrievalIndex(
        deviations=np.concatenate(deviations),
        rows=np.concatenate([network.rows for network in networks]).astype(np.float64),
        entry=np.repeat(np.arange(len(networks)), sizes),
        names=tuple(name for network in networks for name in network.task.labels),
        centres=np.array(centres),
        origins=np.array([network.centre for network in networks], dtype=np.float64),
        latents=np.asarray(latents, dtype=np.float64),
        families=tuple(network.task.family for network in networks),
        keys=tuple(network.task.key for network in networks),
        residuals=np.stack(residuals),
        units=np.array(units),
        sizes=np.array([networks[0].tokens[name].size for name in codec.parts], dtype=np.int64),
    )


def find(
    index: RetrievalIndex,
    priors: Priors,
    estimate: Prediction,
    labels: Sequence[str],
    *,
    count: int,
    without: Collection[int] = (),
) -> Found:
    """The most similar entries.

    Args:
        index: Where to look.
        priors: For the metric.
        estimate: T-BLUP's prediction for the plant.
        labels: The plant's class names, K.
        count: Number M wanted.
        without: Numbers of entries that may not be found, for training and tests.
    """
    values, vectors = np.linalg.eigh(priors.whitener)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    likeness = (
        unit_rows(estimate.deviations @ root) @ unit_rows(index.deviations @ root).T
    )  # [K, R]
    same_names = np.array([[label == name for name in index.names] for label in labels])
    likeness = likeness + _NAME_BONUS * same_names
    entries = len(index.centres)
    best = np.maximum.reduceat(likeness, index.starts, axis=1)  # [K, E]
    domain_likeness = unit_rows((estimate.centre @ root)[None]) @ unit_rows(index.centres @ root).T
    total = best.mean(axis=0) + _DOMAIN * domain_likeness[0]
    total[list(without)] = -np.inf
    order = np.argsort(-total, kind="stable")[: min(count, entries - len(without))]
    rows, matched = [], []
    for number in order:
        mine = np.flatnonzero(index.entry == number)
        chosen = likeness[:, mine].argmax(axis=1)
        rows.append(index.rows[mine[chosen]])
        matched.append(likeness[np.arange(len(labels)), mine[chosen]])
    return Found(order, total[order], np.array(matched), np.array(rows), index.latents[order])
