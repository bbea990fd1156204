"""How unlike a record is to all that the plant knows, in the encoder's features.

Features are standardised by the plant's own records, whitened within classes (Ledoit and Wolf
2004, half way to one common variance; what no own record shows counts as its rest, by its length),
and held against the plant's records: the mean Euclidean
distance to the two nearest, times the root of one minus the cosine to them. Distance says how far,
the cosine says in which direction from the middle of everything: it is what tells a new class from
a stronger case of a known one. No label is needed: without labels, or with one class, within-class
spread is the spread of all.

*Calibration.* Scores of the plant's own records are taken out of fold, by a fit that has not seen
them. ``likeness`` of a record is the share of these that are at least as unlike, as conformal
p-values are (Vovk et al. 2005): of further records like the plant's own, a share p has a likeness
of p or less, on average.

Not guaranteed: that a new class is unlike. Where the encoder does not tell it from a known one
nothing here can.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.folds import stratify
from wg_client.fitting.linear_head import Ints
from wg_common import streams
from wg_common.inference.discriminants import principal
from wg_common.streams import Stream
from wg_core.errors import DecodeError

FEATURES_LIMIT = 512  # Most features that are looked at; the released ones come first
BANK_LIMIT = 500  # Most records that new ones are held against
RECORDS_LIMIT = 2000  # Most records that anything is fitted on, drawn at random
DIRECTIONS_LIMIT = 128
"""Most directions of features that are kept, those in which the plant's records vary most."""
SCORES_LIMIT = 500
NEW = 0.05
"""Share of records like the plant's own that may be called new; of fewer than 19 one in all."""

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Novelty:
    """Bank and scale by which a record is scored; at most 0.6 MB.

    Attributes:
        mean: Mean of each feature, ``[d]``.
        scale: Factor on each, ``[d]``.
        directions: Those in which standardised own records vary, of unit length, ``[d, r]``.
        weights: Factor on each, and on the length of the rest, ``[r + 1]``.
        bank: Own records in these, ``[m, r + 1]``.
        scores: Scores of own records, out of fold, ascending, ``[s]``; empty if there are too few.
    """

    mean: Singles
    scale: Singles
    directions: Singles
    weights: Singles
    bank: Singles
    scores: Singles

    def coordinates_of(self, features: NDArray[np.floating]) -> Singles:
        """Records of local features ``[n, D]`` as the bank has them, ``[n, r + 1]``."""
        z = (features[:, : len(self.mean)].astype(np.float32) - self.mean) * self.scale
        along = z @ self.directions
        residual = np.sqrt(np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0))
        coordinates = np.concatenate([along, residual[:, None]], axis=1) * self.weights
        return np.asarray(coordinates, dtype=np.float32)

    def score(self, features: NDArray[np.floating]) -> Singles:
        """Score local features ``[n, D]`` by distance from the bank, ``[n]``, on any scale."""
        return _unlike(self.coordinates_of(features), self.bank)

    def likeness(self, features: NDArray[np.floating]) -> Singles:
        """Share of own records at least as unlike, ``[n]``; NaN where that is not known."""
        if not len(self.scores):
            return np.full(len(features), np.nan, np.float32)
        below = np.searchsorted(self.scores, self.score(features), side="left")
        return ((len(self.scores) - below + 1) / (len(self.scores) + 1)).astype(np.float32)

    @property
    def limit(self) -> float:
        """Largest score of a record that is not new; infinite where there is none to tell by."""
        if not len(self.scores):
            return np.inf
        share = max(NEW * (len(self.scores) + 1), 1)
        return float(self.scores[len(self.scores) - int(share)])

    def tensors(self) -> dict[str, Singles]:
        """Return the tensors of the file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def new_records(
    tensors: Mapping[str, NDArray[np.float32]] | None, features: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Tell records of local features ``[n, D]`` that are new; all are where nothing tells."""
    judge = None if tensors is None else from_tensors(tensors, "novelty")
    if judge is None or not len(judge.scores):
        return np.ones(len(features), dtype=bool)
    return np.asarray(judge.score(features) > judge.limit)


def from_tensors(tensors: Mapping[str, NDArray[np.float32]], file_name: str) -> Novelty:
    """Decode the tensors of a file that this program wrote.

    Raises:
        DecodeError: Names, shapes or values are not those of ``Novelty``.
    """
    shapes = {name: value.shape for name, value in tensors.items()}
    d, r = (*shapes.get("directions", ()), 0, 0)[:2]
    m, count = shapes.get("bank", (0,))[0], shapes.get("scores", (0,))[0]
    expected = {
        "mean": (d,),
        "scale": (d,),
        "directions": (d, r),
        "weights": (r + 1,),
        "bank": (m, r + 1),
        "scores": (count,),
    }
    within_limits = (
        d <= FEATURES_LIMIT
        and r <= DIRECTIONS_LIMIT
        and 0 < m <= BANK_LIMIT
        and count <= SCORES_LIMIT
    )
    if shapes != expected or not within_limits:
        raise DecodeError(f"{file_name}: tensors of shapes {shapes}")
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise DecodeError(f"{file_name}: values that are not finite")
    return Novelty(**{name: value.astype(np.float32) for name, value in tensors.items()})


def fit(features: NDArray[np.floating], labels: Ints) -> Novelty | None:
    """From a plant's records.

    Args:
        features: Local features ``[n, D]``; the first ``FEATURES_LIMIT`` are used.
        labels: ``[n]``, -1 = unlabelled; those are a class of their own.

    Returns:
        None without any record.
    """
    if not len(features):
        return None
    rng = streams.rng(Stream.NOVELTY)
    rows, scores = _held_out_scores(features, labels, rng)
    scores, n = np.sort(scores), len(scores)
    if n:
        scores = scores[np.linspace(0, n - 1, min(n, SCORES_LIMIT)).round().astype(np.int64)]
    return replace(_fit_novelty(_first_features(features)[rows], labels[rows], rng), scores=scores)


def strangest_rows(features: NDArray[np.floating], labels: Ints) -> list[int]:
    """List the rows of a plant's records, the most unlike all others first; arguments as of fit."""
    rows, scores = _held_out_scores(features, labels, streams.rng(Stream.NOVELTY))
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")]] if len(scores) else []


def _first_features(features: NDArray[np.floating]) -> Singles:
    return np.asarray(features[:, :FEATURES_LIMIT], dtype=np.float32)


def _held_out_scores(
    features: NDArray[np.floating], labels: Ints, rng: np.random.Generator
) -> tuple[NDArray[np.intp], Singles]:
    """Rows that anything is fitted on, and their scores by fits without them; none: too few."""
    rows = np.arange(len(features))
    if len(rows) > RECORDS_LIMIT:
        rows = np.sort(rng.permutation(len(rows))[:RECORDS_LIMIT])
    x, labels = _first_features(features)[rows], labels[rows]
    folds = stratify(labels, rng)
    if not folds.usable:
        return rows, np.zeros(0, np.float32)
    scores = np.zeros(len(x), np.float32)
    for fold in np.unique(folds.assignment[0]):
        in_fold = folds.assignment[0] == fold
        scores[in_fold] = _fit_novelty(x[~in_fold], labels[~in_fold], rng).score(x[in_fold])
    return rows, scores


def _fit_novelty(x: Singles, labels: Ints, rng: np.random.Generator) -> Novelty:
    n, d = x.shape
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = (1 / (spread + 0.1 * spread.mean() + 1e-9)).astype(np.float32)
    z = (x - mean) * scale
    within = z - _class_means(z, labels)
    common = float(np.mean(within**2)) + 1e-9
    shrinkage = _shrinkage(within) if n > 1 else 1.0
    vectors = np.zeros((d, 0))
    if n > 1 and z.any():
        values, vectors = principal(z.astype(np.float64), min(n - 1, d, DIRECTIONS_LIMIT))
        vectors = vectors[:, values > 1e-6 * values[0]]
    along = within @ vectors
    values, turn = np.linalg.eigh(along.T @ along / n)
    vectors, variances = vectors @ turn, np.append(values, 0.0)
    shrunk = (1 - shrinkage) * variances + shrinkage * common
    novelty = Novelty(
        mean=mean,
        scale=scale,
        directions=vectors.astype(np.float32),
        weights=(((shrunk + common) / 2) ** -0.5).astype(np.float32),
        bank=np.zeros((0, 0), np.float32),
        scores=np.zeros(0, np.float32),
    )
    rows = np.sort(rng.permutation(n)[:BANK_LIMIT])
    return replace(novelty, bank=novelty.coordinates_of(x[rows]))


def _shrinkage(within: Singles) -> float:
    """Share of a multiple of identity in the covariance of deviations ``[n, d]``.

    Ledoit and Wolf 2004, *Journal of Multivariate Analysis* 88(2). As scikit-learn has it, which
    takes a second to import.
    """
    n, d = within.shape
    squares = within.astype(np.float64) ** 2
    variances = squares.mean(axis=0)
    gram = within @ within.T if n < d else within.T @ within
    size = float(np.sum(gram.astype(np.float64) ** 2)) / n**2  # of the covariance
    far = (size - float(variances.sum()) ** 2 / d) / d
    uncertain = (float(np.sum(squares.sum(axis=1) ** 2)) / n - size) / (n * d)
    return 0.0 if uncertain <= 0 else min(uncertain / far, 1.0) if far > 0 else 1.0


def _class_means(z: Singles, labels: Ints) -> Singles:
    """Mean of each record's class; of a class of one record, that of all."""
    means = np.empty_like(z)
    for label in np.unique(labels):
        in_class = labels == label
        means[in_class] = z[in_class].mean(axis=0) if in_class.sum() > 1 else 0.0
    return means


def _unlike(x: Singles, bank: Singles) -> Singles:
    """Mean distance to the nearest of a bank, times the root of one minus the cosine to them."""
    nearest = 2
    norms, record_norms = np.linalg.norm(bank, axis=1), np.linalg.norm(x, axis=1)[:, None]
    products = x[:, :-1] @ bank[:, :-1].T  # residuals are orthogonal to each other
    squares = np.maximum(record_norms**2 + norms**2 - 2 * products, 0)
    cosines = products / (record_norms * norms + np.float32(1e-9))
    near = min(nearest, len(bank))
    distance = np.sqrt(np.partition(squares, near - 1, axis=1)[:, :near]).mean(axis=1)
    distances = np.partition(1 - cosines, near - 1, axis=1)[:, :near].mean(axis=1)
    return np.asarray(distance * np.sqrt(np.maximum(distances, 0)), dtype=np.float32)
