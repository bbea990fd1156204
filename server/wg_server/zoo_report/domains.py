"""Entries of a zoo as points that can be compared: what a generator conditions on, without noise.

An entry is described by its class means. Its *deviations* ``D`` are the means minus their centre,
and two entries are as alike as their between-class covariances ``C = D'D``: the cosine
``<C1, C2> / (|C1| |C2|)``, which is linear CKA of the deviations (Kornblith et al., ICML 2019). It
depends neither on the order nor on the number of classes, is 1 for the same directions of classes
and 0 for orthogonal ones. ``distance`` is one minus that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import class_means
from wg_core.errors import ConfigError
from wg_server.zoo.store import Entry, Zoo

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """One entry as a point.

    Attributes:
        entry: What it is.
        kind: Kind of procedural family, or of the source.
        deviations: Class means minus their centre, ``[K, d]``.
        centre: Mean of the class means, ``[d]``.
        counts: Records of each class, ``[K]``.
    """

    entry: Entry
    kind: str
    deviations: Floats
    centre: Floats
    counts: NDArray[np.int64]


def load(zoo: Zoo, encoder: str) -> list[Domain]:
    """All entries of one encoder.

    Raises:
        ConfigError: There are fewer than two.
        VerificationError: An object does not match its hash.
        DecodeError: A record or an object is damaged.
    """
    found = []
    for entry in zoo.entries(encoder):
        weights = zoo.read(entry)
        classes = len(entry.labels)
        counts = np.bincount(weights.labels, minlength=classes)
        means = class_means(weights.features, weights.labels, classes)
        centre = means.mean(axis=0)
        found.append(Domain(entry, kind(entry), means - centre, centre, counts))
    if len(found) < 2:
        raise ConfigError(f"zoo: {len(found)} entries of this encoder; run zoo build")
    return found


def kind(entry: Entry) -> str:
    """Kind of a procedural family, which its name begins with, or of another source."""
    rendered = entry.task.kind.startswith("procedural")
    return entry.family.split("-")[0] if rendered else entry.task.kind


def signature(deviations: Floats, noise: float = 0.0) -> Floats:
    """Between-class covariance of length 1 as a vector, ``[d * d]``.

    Args:
        deviations: ``[K, d]``.
        noise: Summed variance of the noise on a coordinate over the rows, taken off again.
    """
    matrix = deviations.T @ deviations
    matrix = matrix - noise * np.eye(len(matrix))
    return np.asarray(matrix.ravel() / (np.linalg.norm(matrix) + 1e-30))


def kernel(domains: Sequence[Domain]) -> Floats:
    """Likeness of all pairs, ``[n, n]``, with ones on the diagonal."""
    found = np.stack([signature(domain.deviations) for domain in domains])
    return np.asarray(found @ found.T)


def by_family(domains: Sequence[Domain], likeness: Floats) -> tuple[list[str], Floats]:
    """Likeness of families: the mean over their pairs of sites, with ones on the diagonal."""
    names = sorted({domain.entry.family for domain in domains})
    number = {name: row for row, name in enumerate(names)}
    hot = np.zeros((len(names), len(domains)))
    for column, domain in enumerate(domains):
        hot[number[domain.entry.family], column] = 1
    hot /= hot.sum(axis=1, keepdims=True)
    mean = hot @ likeness @ hot.T
    scale = np.sqrt(np.diag(mean))
    return names, np.asarray(mean / scale[:, None] / scale[None, :])


def effective_number(likeness: Floats) -> float:
    """How many different things a kernel sees: exp of the entropy of its spectrum.

    The Vendi score (Friedman and Dieng, TMLR 2023): 1 when all are alike, n when none are.
    """
    if not len(likeness):
        return 0.0
    values = np.linalg.eigvalsh(likeness / len(likeness))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def added(likeness: Floats) -> Floats:
    """What each adds: the effective number minus that without it, ``[n]``."""
    whole = effective_number(likeness)
    rows = np.arange(len(likeness))
    left = [
        effective_number(likeness[np.ix_(rest, rest)]) for rest in (rows[rows != n] for n in rows)
    ]
    return np.asarray(whole - np.array(left))


def nearest(domains: Sequence[Domain], likeness: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Distance of each entry to the nearest one of another family, and which that is."""
    families = np.array([domain.entry.family for domain in domains])
    distance = np.where(families[:, None] == families[None, :], np.inf, 1 - likeness)
    found = distance.argmin(axis=1)
    return np.asarray(distance[np.arange(len(found)), found]), found


def same_family(domains: Sequence[Domain], likeness: Floats) -> Floats:
    """Distance of each entry to the nearest other one of its family, ``[n]``; nan without any."""
    families = np.array([domain.entry.family for domain in domains])
    same = families[:, None] == families[None, :]
    np.fill_diagonal(same, False)
    distance = np.where(same, 1 - likeness, np.inf).min(axis=1)
    return np.asarray(np.where(np.isinf(distance), np.nan, distance))


def plane(rows: Floats) -> tuple[Floats, Floats]:
    """Centre ``[d]`` and the two leading directions ``[2, d]`` of rows."""
    centre = rows.mean(axis=0)
    directions = np.linalg.svd(rows - centre, full_matrices=False)[2][:2]
    return centre, np.asarray(directions)
