"""Fit of an encoder's projection on public data, by linear algebra.

Raw features are mapped by ``TrunkKind.pre_projection``, standardised by their variation *within*
public data sets, and weighted by block. Among the leading principal directions, the fit selects the
directions in which public *classes* differ most, shrinks those in which whole data sets differ, and
scales the result. Signs are fixed, so that the same input gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from wg_common.inference.discriminants import principal_components
from wg_common.modalities.images import Images
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.package import PACKAGE_VERSION
from wg_common.nets.encoder.trunk import TrunkKind, find_trunk
from wg_core.errors import DataError
from wg_core.privacy.schema import CLIP_RADIUS, RELEASED_DIMENSION

_SITE_SHRINKAGE_FACTOR = 4.0  # Weight of the variance between data sets against that within them
_CLIPPED_NORM_QUANTILE = 0.25  # Quantile of public norms that equals the clip radius
_RIDGE_FACTOR = 1.0  # Ridge added to the within-class scatter, in units of its mean variance
_WITHIN_SCATTER_SHARE = (
    0.05  # Share of the within-class scatter that counts as between-class scatter
)

Floats = NDArray[np.float64]
GroupNumbers = NDArray[np.intp]


def fit_encoder(
    raw_features: NDArray[np.float32],
    dataset_numbers: NDArray[np.int64],
    labels: NDArray[np.int64] | None = None,
    *,
    modality: str = Images.name,
    dimension: int = RELEASED_DIMENSION,
    trunk_settings: Mapping[str, str] | None = None,
    source_names: Sequence[str] = (),
    trunks: Sequence[TrunkKind] = (),
) -> bytes:
    """Fit an encoder's projection on public records, and return the encoder package.

    Args:
        raw_features: Raw features ``[n, W]`` from ``compute_raw_features``.
        dataset_numbers: Number of the public data set that each record belongs to, ``[n]``;
            directions are computed from the variation within data sets.
        labels: Class of each record, numbered within its data set, ``[n]``; None treats each data
            set as one class, which selects the leading principal directions.
        dimension: Number d of released features.
        trunk_settings: Trunk settings with which ``raw_features`` was computed; None for the
            defaults.
        source_names: Names of the public sources, for the package's metadata.
        trunks: Trunks of the encoder; ``raw_features`` is from the first. Empty for the default
            trunk.

    Raises:
        DataError: There are fewer than 2 d records, or fewer than d raw features.
        DecodeError: The modality is unknown.
    """
    if len(raw_features) < 2 * dimension:
        raise DataError(
            f"encoder: {len(raw_features)} public {modality}, expected at least {2 * dimension}"
        )
    kinds = tuple(trunks) or (find_trunk(modality),)
    trunk = kinds[0]
    if trunk.width < dimension:
        raise DataError(f"trunk {trunk.label}: {trunk.width} features, {dimension} are released")
    x = raw_features.astype(np.float64)
    mean = x.mean(axis=0)
    _, index = np.unique(dataset_numbers, return_inverse=True)
    pairs = np.stack(
        [dataset_numbers, np.zeros_like(dataset_numbers) if labels is None else labels], axis=1
    )
    _, classes = np.unique(pairs, axis=0, return_inverse=True)
    inner = subtract_group_means(x, index)
    size = max(dimension, min(trunk.direction_count, len(x) // 4))
    local, values = _principal_directions(inner, trunk.local_fit_weights(), size)
    local = local * values**-trunk.whitening_exponent
    projection = _discriminant_projection(inner, classes.ravel(), trunk, size, dimension)
    projection = projection @ site_shrinkage_matrix(x @ projection, index)
    projection = scale_projection(x, mean, projection, CLIP_RADIUS, _CLIPPED_NORM_QUANTILE)
    local = scale_projection(x, mean, local, trunk.median_local_norm, 0.5)
    about = encoder_metadata(modality, trunk, trunk_settings, source_names)
    return packages.pack_encoder(mean, projection, local, about, kinds)


def _discriminant_projection(
    centred_features: Floats,
    classes: GroupNumbers,
    trunk: TrunkKind,
    candidate_direction_count: int,
    dimension: int,
) -> Floats:
    """Compute the projection ``[W, d]`` on the directions in which public classes differ most.

    Args:
        centred_features: Raw features minus the means of their data sets, ``[n, W]``.
        candidate_direction_count: Number of leading principal directions in whose span the d
            directions lie.
    """
    reading = trunk.pre_projection()
    read = centred_features if reading is None else centred_features @ reading
    vectors, _ = _principal_directions(
        read, trunk.released_fit_weights(), candidate_direction_count
    )
    axes = discriminant_directions(
        read @ vectors,
        classes,
        dimension,
        ridge_factor=_RIDGE_FACTOR,
        within_share=_WITHIN_SCATTER_SHARE,
    )
    projection = vectors @ axes
    return projection if reading is None else reading @ projection


def _principal_directions(
    centred_rows: Floats, column_weights: Floats, direction_count: int
) -> tuple[Floats, Floats]:
    """Compute the leading principal directions of standardised, weighted feature columns.

    Args:
        centred_rows: Rows minus the means of their data sets, ``[n, m]``.
        column_weights: Weights of the columns, ``[m]``; columns of weight 0 are ignored.

    Returns:
        Directions ``[m, count]`` to multiply ``centred_rows`` with, without standardising it again,
        and the variances of the products, ``[count]``, largest first.
    """
    std = centred_rows.std(axis=0)
    scale = column_weights / (std + 1e-2 * float(std.mean()))
    values, vectors = principal_components(centred_rows * scale, direction_count)
    return scale[:, None] * vectors, np.maximum(values, values[0] * 1e-9)


def encoder_metadata(
    modality: str,
    trunk: TrunkKind,
    trunk_settings: Mapping[str, str] | None,
    source_names: Sequence[str],
) -> dict[str, str]:
    """Return metadata of an encoder package: modality, first trunk and its settings, sources.

    ``trunk_settings`` None stands for the trunk's defaults.
    """
    return {
        "format": "weightgate-encoder",
        "version": str(PACKAGE_VERSION),
        "modality": modality,
        "trunk": trunk.label,
        "trunk_sha256": trunk.digest(),
        **(trunk.settings() if trunk_settings is None else trunk_settings),
        "clip_radius": repr(CLIP_RADIUS),
        "sources": json.dumps(list(source_names)),
    }


def subtract_group_means(x: Floats, group_numbers: GroupNumbers) -> Floats:
    """Subtract each group's mean from its rows of ``x`` ``[n, D]``; groups are numbered ``[n]``."""
    return x - group_means(x, group_numbers)[group_numbers]


def group_means(x: Floats, group_numbers: GroupNumbers) -> Floats:
    """Return means ``[G, D]`` of G groups of rows of ``x``; ``group_numbers`` ``[n]`` is by row."""
    sums = np.zeros((group_numbers.max() + 1, x.shape[1]))
    np.add.at(sums, group_numbers, x)
    return np.asarray(sums / np.bincount(group_numbers)[:, None])


def discriminant_directions(
    z: Floats,
    classes: GroupNumbers,
    direction_count: int,
    *,
    ridge_factor: float,
    within_share: float,
) -> Floats:
    """Return the directions with the largest ratio of between-class to within-class scatter.

    This is Fisher's criterion, with a share of the within-class scatter added to the between-class
    scatter. Directions that vary only within public classes, but may separate a plant's classes,
    then count a little, and fill the places that few public classes would leave open.

    Args:
        z: Rows minus the means of their data sets, ``[n, D]``.
        classes: Class of each row, numbered over all data sets, ``[n]``.
        direction_count: Number of directions.
        ridge_factor: Ridge added to the within-class scatter, in units of its mean variance.
        within_share: Share of the within-class scatter that counts as between-class scatter.

    Returns:
        Generalised eigenvectors ``[D, direction_count]``, the largest eigenvalue first.
    """
    inner = subtract_group_means(z, classes)
    scatter = inner.T @ inner / len(z)
    between = z.T @ z / len(z) - scatter
    size = len(scatter)
    floor = scatter + ridge_factor * np.trace(scatter) / size * np.eye(size)
    numerator = between + within_share * scatter
    _, vectors = scipy.linalg.eigh(
        numerator, floor, subset_by_index=(size - direction_count, size - 1)
    )
    return np.asarray(vectors[:, ::-1])


def site_shrinkage_matrix(features: Floats, dataset_numbers: GroupNumbers) -> Floats:
    """Return a symmetric matrix ``[d, d]`` that shrinks directions in which whole data sets differ.

    It is computed from features ``[n, d]``, and the number of each record's data set, ``[n]``.

    Light and camera, or unit and gain, shift all records of a site alike. The shift does not
    separate classes, but takes up part of the clip radius, to which the noise is proportional.
    """
    centres = group_means(features, dataset_numbers)
    spread = float(np.mean((features - centres[dataset_numbers]) ** 2))
    offsets = centres - centres.mean(axis=0)
    values, vectors = np.linalg.eigh(offsets.T @ offsets / len(offsets))
    gain = (1 + _SITE_SHRINKAGE_FACTOR * np.maximum(values, 0) / spread) ** -0.5
    return np.asarray((vectors * gain) @ vectors.T)


def scale_projection(
    x: Floats, mean: Floats, projection: Floats, target_norm: float, quantile: float
) -> Floats:
    """Fix the signs of a projection, and scale it to the norms of projected public records.

    Args:
        x: Raw features of the records, ``[n, W]``.
        mean: Mean that is subtracted before the projection, ``[W]``.
        projection: Projection, ``[W, d]``; each column's largest entry becomes positive.
        target_norm: Norm that a share ``quantile`` of the projected records does not exceed.
    """
    largest = np.abs(projection).argmax(axis=0)
    signed = projection * np.sign(projection[largest, np.arange(projection.shape[1])])
    norms = np.linalg.norm((x - mean) @ signed, axis=1)
    return np.asarray(signed * (target_norm / float(np.quantile(norms, quantile))))
