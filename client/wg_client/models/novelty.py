"""Novelty test: distance of a record from all of the plant's records, in the encoder's features.

Features are standardised by the plant's records and whitened within classes (Ledoit and Wolf 2004,
half way to a common variance; the component outside the records' span enters by its length). The
score is the mean Euclidean distance to the two nearest records of the plant, times the root of one
minus the cosine to them. The cosine is taken about the overall mean: it separates a new class from
a stronger case of a known one. No label is needed: without labels, or with one class, the
within-class spread is the total spread.

*Calibration.* The plant's own records are scored out of fold. The ``likeness`` of a record is the
share of these scores that are at least as high, a conformal p-value (Vovk et al. 2005): of further
records like the plant's own, a share p has a likeness of at most p, on average.

Not guaranteed: that a new class gets a high score. If the encoder does not distinguish it from a
known class, this test cannot.
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

FEATURES_LIMIT = 512  # Most features that are used; the released ones come first
BANK_LIMIT = 500  # Most records in the bank
RECORDS_LIMIT = 2000  # Most records for fitting, drawn at random
DIRECTIONS_LIMIT = 128
"""Most principal directions of the plant's records."""
SCORES_LIMIT = 500
NEW = 0.05
"""Expected share of records like the plant's own that are called new; with fewer than 19 scores, a
record is new only above all of them."""

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Novelty:
    """Fitted novelty test: bank of records and calibration scores; at most 0.6 MB.

    Attributes:
        mean: Mean of each feature, ``[d]``.
        scale: Factor on each feature, ``[d]``.
        directions: Unit directions of variation of the standardised records, ``[d, r]``.
        weights: Factor on each direction, and on the length of the residual, ``[r + 1]``.
        bank: The plant's records in these coordinates, ``[m, r + 1]``.
        scores: Out-of-fold scores of the plant's records, ascending, ``[s]``; empty if there are
            too few records.
    """

    mean: Singles
    scale: Singles
    directions: Singles
    weights: Singles
    bank: Singles
    scores: Singles

    def coordinates_of(self, features: NDArray[np.floating]) -> Singles:
        """Map local features ``[n, D]`` to the coordinates of the bank, ``[n, r + 1]``."""
        z = (features[:, : len(self.mean)].astype(np.float32) - self.mean) * self.scale
        along = z @ self.directions
        residual = np.sqrt(np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0))
        coordinates = np.concatenate([along, residual[:, None]], axis=1) * self.weights
        return np.asarray(coordinates, dtype=np.float32)

    def score(self, features: NDArray[np.floating]) -> Singles:
        """Return the novelty scores of local features ``[n, D]``, ``[n]``, in arbitrary units."""
        return _unlike(self.coordinates_of(features), self.bank)

    def likeness(self, features: NDArray[np.floating]) -> Singles:
        """Return the share of the plant's records at least as unlike, ``[n]``; NaN: unknown."""
        if not len(self.scores):
            return np.full(len(features), np.nan, np.float32)
        below = np.searchsorted(self.scores, self.score(features), side="left")
        return ((len(self.scores) - below + 1) / (len(self.scores) + 1)).astype(np.float32)

    @property
    def limit(self) -> float:
        """Largest score of a record that is not new; infinite without calibration scores."""
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
    """Flag new records by local features ``[n, D]``; all are new if there is no test."""
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
    """Fit the test on a plant's records.

    Args:
        features: Local features ``[n, D]``; the first ``FEATURES_LIMIT`` are used.
        labels: Labels ``[n]``, -1 = unlabelled; unlabelled records form a class of their own.

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
    """Sort the rows of a plant's records by decreasing novelty; arguments as of ``fit``."""
    rows, scores = _held_out_scores(features, labels, streams.rng(Stream.NOVELTY))
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")]] if len(scores) else []


def _first_features(features: NDArray[np.floating]) -> Singles:
    return np.asarray(features[:, :FEATURES_LIMIT], dtype=np.float32)


def _held_out_scores(
    features: NDArray[np.floating], labels: Ints, rng: np.random.Generator
) -> tuple[NDArray[np.intp], Singles]:
    """Return the rows used for fitting, and their out-of-fold scores; empty: too few."""
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
    """Return the Ledoit-Wolf shrinkage towards a multiple of identity for deviations ``[n, d]``.

    Ledoit and Wolf 2004, *Journal of Multivariate Analysis* 88(2). Same as in scikit-learn, which
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
    """Return the mean of each record's class; the overall mean for a class of one record."""
    means = np.empty_like(z)
    for label in np.unique(labels):
        in_class = labels == label
        means[in_class] = z[in_class].mean(axis=0) if in_class.sum() > 1 else 0.0
    return means


def _unlike(x: Singles, bank: Singles) -> Singles:
    """Return mean distance to the nearest of a bank, times the root of one minus the cosine."""
    nearest = 2
    norms, record_norms = np.linalg.norm(bank, axis=1), np.linalg.norm(x, axis=1)[:, None]
    products = x[:, :-1] @ bank[:, :-1].T  # residuals are orthogonal to each other
    squares = np.maximum(record_norms**2 + norms**2 - 2 * products, 0)
    cosines = products / (record_norms * norms + np.float32(1e-9))
    near = min(nearest, len(bank))
    distance = np.sqrt(np.partition(squares, near - 1, axis=1)[:, :near]).mean(axis=1)
    distances = np.partition(1 - cosines, near - 1, axis=1)[:, :near].mean(axis=1)
    return np.asarray(distance * np.sqrt(np.maximum(distances, 0)), dtype=np.float32)
