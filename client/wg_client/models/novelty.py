"""Novelty test: distance of a record from all of the plant's records, in the encoder's features.

Each block of trunk features is scaled to unit length. In each block the root mean squared distance
to the two records of the plant that are nearest in this block is measured; the score is the
geometric mean over blocks, so that a block with small distances counts as much as one with large
distances. Features without an encoder (soft sensors) are one block, standardised by the plant's
records. Long rows are folded by sums with fixed signs, which preserves distances to about 3 %
(Weinberger et al. 2009, *Feature hashing for large scale multitask learning*, ICML). No label is
needed.

*Calibration.* The plant's own records are scored against those of other privacy units. The
``likeness`` of a record is the share of these scores that are at least as high, a conformal p-value
(Vovk et al. 2005): of further records like the plant's own, a share p has a likeness of at most p,
on average.

Not guaranteed: that a new class gets a high score. If the encoder does not distinguish it from a
known class, this test cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.family_head import FeatureLayout
from wg_common.streams import Stream
from wg_core.errors import DecodeError

FEATURES_LIMIT = 1 << 16  # Most features that are used
COORDINATES_LIMIT = 4096  # Most coordinates of a record in the bank, of all blocks together
SMALLEST_DISTANCE = 0.01  # Floor of a block's distance, above what rounding makes of 0
BANK_RECORDS_LIMIT = 500  # Most records in the bank
CALIBRATION_RECORDS_LIMIT = 2000  # Most records for calibration, drawn at random
BLOCKS_LIMIT = 64  # Most blocks of features
CALIBRATION_SCORES_LIMIT = 500
LARGEST_NEW_LIKENESS = 0.05
"""Expected share of records like the plant's own that are called new; with fewer than 19 scores, a
record is new only above all of them."""
LEAST_PASS_LIKENESS = 0.1
"""Expected share of records like the plant's own that are too unusual to pass."""
_FEWEST_UNITS = 3  # Fewest units: two others remain for each

Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NoveltyTest:
    """Fitted novelty test: bank of the plant's records, and calibration scores; at most 8.4 MB.

    Attributes:
        blocks: Index of the first feature that is used, then the sizes of k blocks of features from
            there, ``[1 + k]``; if k is 0, features are standardised instead.
        mean: Mean of each standardised feature, ``[d]``; empty if there are blocks.
        scale: Factor on each standardised feature, ``[d]``; empty if there are blocks.
        bank: Folded features of m records of the plant, from ``bank_coordinates``, ``[m, c]``.
        scores: Scores of the plant's records against other units, ascending, ``[s]``; empty if
            there are too few records.
    """

    blocks: Floats32
    mean: Floats32
    scale: Floats32
    bank: Floats32
    scores: Floats32

    @property
    def first_feature(self) -> int:
        """Index of the first local feature that the test uses."""
        return int(self.blocks[0])

    @property
    def block_sizes(self) -> list[int]:
        """Number of local features in each block."""
        sizes: list[int] = self.blocks[1:].astype(int).tolist()
        return sizes

    @property
    def coordinate_sizes(self) -> list[int]:
        """Number of coordinates of each block in the bank."""
        return folded_block_sizes(self.block_sizes or [len(self.mean)])

    def bank_coordinates(self, features: NDArray[np.floating]) -> Floats32:
        """Scale and fold local features ``[n, D]`` to the bank's coordinates, ``[n, c]``."""
        x = features[:, self.first_feature :].astype(np.float32)
        if not self.block_sizes:
            parts = [(x[:, : len(self.mean)] - self.mean) * self.scale]
        else:
            parts = _split_blocks(x[:, : sum(self.block_sizes)], self.block_sizes)
            parts = [part / np.maximum(_row_norms(part), np.float32(1e-9)) for part in parts]
        return np.concatenate(list(map(_fold_columns, parts, self.coordinate_sizes)), axis=1)

    def score(self, features: NDArray[np.floating]) -> Floats32:
        """Return the novelty score of each record, ``[n]``, from local features ``[n, D]``."""
        return _distance_scores(self.bank_coordinates(features), self.bank, self.coordinate_sizes)

    def likeness(self, features: NDArray[np.floating]) -> Floats32:
        """Return by record the share of the plant's records at least as unusual; NaN: unknown."""
        if not len(self.scores):
            return np.full(len(features), np.nan, np.float32)
        below = np.searchsorted(self.scores, self.score(features), side="left")
        return ((len(self.scores) - below + 1) / (len(self.scores) + 1)).astype(np.float32)

    def score_limit(self, share: float) -> float:
        """Return the score that a share of the plant's records exceeds; infinite without scores."""
        if not len(self.scores):
            return np.inf
        count = max(share * (len(self.scores) + 1), 1)
        return float(self.scores[len(self.scores) - int(count)])

    def tensors(self) -> dict[str, Floats32]:
        """Return the tensors by which the test is stored in a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def flag_unlike_records(
    tensors: Mapping[str, NDArray[np.float32]] | None, features: NDArray[np.floating], share: float
) -> NDArray[np.bool_]:
    """Return a mask ``[n]`` of records more unusual than all but a share of the plant's records.

    Args:
        tensors: Tensors of the novelty test; None: there is no test, and all records are flagged.
        features: Local features of the records, ``[n, D]``.
        share: Share of the plant's own records that would be flagged.
    """
    judge = None if tensors is None else novelty_test_from_tensors(tensors, "novelty")
    if judge is None or not len(judge.scores):
        return np.ones(len(features), dtype=bool)
    return np.asarray(judge.score(features) > judge.score_limit(share))


def novelty_test_from_tensors(
    tensors: Mapping[str, NDArray[np.float32]], file_name: str
) -> NoveltyTest:
    """Decode a novelty test from tensors that this program wrote.

    Raises:
        DecodeError: Names, shapes or values are not those of ``NoveltyTest``.
    """
    shapes = {name: value.shape for name, value in tensors.items()}
    d, m, s, k = ((*shapes.get(name, ()), 0)[0] for name in ("mean", "bank", "scores", "blocks"))
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise DecodeError(f"{file_name}: values that are not finite")
    blocks = np.ravel(tensors.get("blocks", np.zeros(0, np.float32)))
    are_sizes = (blocks == np.clip(np.round(blocks), 0, FEATURES_LIMIT)).all() and blocks[1:].all()
    width = (int(blocks[1:].sum()) if are_sizes else 0) or d
    sizes = blocks[1:].astype(int).tolist() if are_sizes and k > 1 else [d]
    expected = {
        "blocks": (k,),
        "mean": (d,),
        "scale": (d,),
        "bank": (m, sum(folded_block_sizes(sizes))),
        "scores": (s,),
    }
    within_limits = (
        0 < width <= FEATURES_LIMIT
        and 0 < k <= 1 + BLOCKS_LIMIT
        and 0 < m <= BANK_RECORDS_LIMIT
        and s <= CALIBRATION_SCORES_LIMIT
    )
    if shapes != expected or not (within_limits and are_sizes) or (k > 1 and d):
        raise DecodeError(f"{file_name}: tensors of shapes {shapes}, blocks {blocks[:9].tolist()}")
    return NoveltyTest(**{name: value.astype(np.float32) for name, value in tensors.items()})


def fit_novelty_test(
    features: NDArray[np.floating],
    layout: FeatureLayout | None,
    privacy_units: Sequence[str] | None,
) -> NoveltyTest | None:
    """Fit the novelty test on a plant's records.

    Args:
        features: Local features ``[n, D]``.
        layout: Layout of the features; None: no encoder made them, and they are standardised.
        privacy_units: Privacy unit of each record; None: each is its own.

    Returns:
        None without any record.
    """
    if not len(features):
        return None
    judge, rows = _unfitted_test(features, layout), _sample_rows(len(features))
    scores = np.sort(_calibration_scores(judge, features[rows], _unit_groups(privacy_units, rows)))
    scores = scores[np.isfinite(scores)]
    if n := len(scores):
        scores = scores[
            np.linspace(0, n - 1, min(n, CALIBRATION_SCORES_LIMIT)).round().astype(np.int64)
        ]
    return replace(
        judge, bank=judge.bank_coordinates(features[rows[:BANK_RECORDS_LIMIT]]), scores=scores
    )


def most_unlike_rows(
    features: NDArray[np.floating],
    layout: FeatureLayout | None,
    privacy_units: Sequence[str] | None,
) -> list[int]:
    """Return row indices of a sample of ``features``, from the most to the least unusual row."""
    rows = _sample_rows(len(features))
    scores = _calibration_scores(
        _unfitted_test(features, layout), features[rows], _unit_groups(privacy_units, rows)
    )
    known = np.flatnonzero(np.isfinite(scores))
    return [int(row) for row in rows[known[np.argsort(-scores[known], kind="stable")]]]


def hash_signs(width: int) -> Floats32:
    """Return a sign, 1 or -1, for each of ``width`` features: a hash of the feature's index."""
    places = np.arange(width, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.where(places >> np.uint64(40) & np.uint64(1), 1.0, -1.0).astype(np.float32)


def folded_block_sizes(block_sizes: Sequence[int]) -> list[int]:
    """Return the number of coordinates of each block in the bank, given its number of features."""
    return [min(size, COORDINATES_LIMIT // len(block_sizes)) for size in block_sizes]


def _fold_columns(x: Floats32, folded_width: int) -> Floats32:
    """Fold features ``[n, w]`` into signed sums of every ``folded_width``-th column."""
    n, width = x.shape
    if width <= folded_width:
        return x
    padded = np.pad(x * hash_signs(width), ((0, 0), (0, -width % folded_width)))
    return np.asarray(padded.reshape(n, -1, folded_width).sum(axis=1), dtype=np.float32)


def _unfitted_test(features: NDArray[np.floating], layout: FeatureLayout | None) -> NoveltyTest:
    """Return a novelty test that maps features to coordinates, but has no records yet."""
    none = np.zeros(0, np.float32)
    blocks, mean, scale = np.zeros(1, np.float32), none, none
    if layout is not None:
        blocks = np.array([layout.first_head_feature, *layout.head_block_sizes], dtype=np.float32)
    elif len(features):
        x = features[:, :FEATURES_LIMIT].astype(np.float32)
        mean, spread = x.mean(axis=0), x.std(axis=0)
        scale = 1 / (spread + np.float32(0.1) * spread.mean() + np.float32(1e-9))
    return NoveltyTest(blocks=blocks, mean=mean, scale=scale, bank=none.reshape(0, 0), scores=none)


def _sample_rows(count: int) -> NDArray[np.intp]:
    """Return the rows of the records for calibration, in random order."""
    return streams.stream_generator(Stream.NOVELTY).permutation(count)[:CALIBRATION_RECORDS_LIMIT]


def _unit_groups(privacy_units: Sequence[str] | None, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the index of each record's privacy unit; the record's own index for too few units."""
    if privacy_units is None or len(set(privacy_units)) < _FEWEST_UNITS:
        return rows
    return np.unique(np.asarray(privacy_units)[rows], return_inverse=True)[1]


def _calibration_scores(
    novelty_test: NoveltyTest, features: NDArray[np.floating], groups: NDArray[np.intp]
) -> Floats32:
    """Return each record's score against the bank's records of other units; infinite if unknown."""
    if len(np.unique(groups)) < _FEWEST_UNITS:
        return np.full(len(features), np.inf, np.float32)
    x = novelty_test.bank_coordinates(features)
    is_same_unit = groups[:, None] == groups[:BANK_RECORDS_LIMIT]
    return _distance_scores(x, x[:BANK_RECORDS_LIMIT], novelty_test.coordinate_sizes, is_same_unit)


def _distance_scores(
    x: Floats32,
    bank: Floats32,
    block_sizes: Sequence[int],
    excluded_pairs: NDArray[np.bool_] | None = None,
) -> Floats32:
    """Return novelty scores ``[n]``: geometric means over blocks of distances to nearest records.

    Args:
        x: Coordinates of the records, ``[n, c]``.
        bank: Coordinates of the plant's records, ``[m, c]``.
        block_sizes: Numbers of coordinates of the blocks.
        excluded_pairs: Mask of the pairs of records that are not compared, ``[n, m]``.
    """
    logs = np.zeros(len(x), np.float32)
    for part, bank_part in zip(
        _split_blocks(x, block_sizes), _split_blocks(bank, block_sizes), strict=True
    ):
        squares = _squared_distances(part, bank_part)
        if excluded_pairs is not None:
            squares[excluded_pairs] = np.inf
        logs += np.log(np.maximum(_nearest_rms_distances(squares), np.float32(SMALLEST_DISTANCE)))
    scores: Floats32 = np.exp(logs / np.float32(len(block_sizes)))
    return scores


def _split_blocks(x: Floats32, block_sizes: Sequence[int]) -> list[Floats32]:
    """Split the columns of features into the blocks of their trunks."""
    return np.split(x, np.cumsum(block_sizes)[:-1], axis=1)


def _row_norms(x: Floats32) -> Floats32:
    return np.asarray(np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def _squared_distances(x: Floats32, bank: Floats32) -> Floats32:
    """Return squared distances ``[n, m]`` between n records and the m records of the bank."""
    squares = _row_norms(x) ** 2 + _row_norms(bank).T ** 2 - 2 * (x @ bank.T)
    return np.asarray(np.maximum(squares, 0), dtype=np.float32)


def _nearest_rms_distances(squares: Floats32) -> Floats32:
    """Return the root of the mean of the two smallest squared distances in each row, ``[n]``."""
    near = min(2, squares.shape[1])
    smallest = np.partition(squares, near - 1, axis=1)[:, :near]
    return np.asarray(np.sqrt(smallest.mean(axis=1)), dtype=np.float32)
