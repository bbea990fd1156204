"""Test for the likeness of a plant's records to one of the operator's families.

A camera or a sensor shifts and scales released features, but changes their correlations far less.
So a site is described by mean and log spread of each feature and by their correlations, over all of
its records, labelled or not. A linear function of this description measures the unlikeness: about 0
at a typical site of the family, above ``UNLIKENESS_THRESHOLD`` at a share ``REFUSED_SHARE`` of its
simulated sites. The operator fits it (``wg_server.generator.families.likeness_fit``) to separate
the family under hundreds of simulated cameras from all other records.

*Not guaranteed:* that records of another kind are refused; the model card has the measured share.
Sites with fewer than ``FEWEST_TESTED_RECORDS`` records are never refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_core.errors import DecodeError

Floats = NDArray[np.float64]

UNLIKENESS_THRESHOLD = 1.0
"""Unlikeness above which a family is refused."""
REFUSED_SHARE = 0.03
"""Share of the family's own simulated sites that the test refuses."""
FEWEST_TESTED_RECORDS = 10
"""Number of records below which a site is never refused."""
FULL_SCORE_RECORDS = 30
"""Number of records below which unlikeness is reduced by the factor ``LikenessTest.width``."""
TENSOR_PREFIX = "likeness."  # Prefix of the tensors' names in a package
_DESCRIBED_FEATURES = 64  # Largest number of released features in the description
_SPREAD_FLOOR = 1e-3  # Term added to a spread


@dataclass(frozen=True, slots=True, eq=False)
class LikenessTest:
    """Linear test of a site's likeness to a family, on a description of the site by F numbers.

    Attributes:
        weight: Weights on the description, ``[F]``.
        bias: Bias, ``[1]``.
        width: Factor from 0 to 1, ``[1]``: the unlikeness of a site with fewer than
            ``FULL_SCORE_RECORDS`` records is multiplied by it, since few records describe a site
            inaccurately.
    """

    weight: Floats
    bias: Floats
    width: Floats

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the test's arrays as float32 tensors, named with ``TENSOR_PREFIX``."""
        return {
            f"{TENSOR_PREFIX}{f.name}": getattr(self, f.name).astype(np.float32)
            for f in fields(self)
        }

    def unlikeness(self, features: NDArray[np.floating]) -> float:
        """Return the unlikeness of a site's records: about 0 in the family, 1 at the threshold.

        Args:
            features: Features of the site's records, ``[n, d]``, the released features first.
        """
        if len(features) < FEWEST_TESTED_RECORDS:
            return 0.0
        value = float(self.weight @ site_description(features)) + float(self.bias[0])
        return value if len(features) >= FULL_SCORE_RECORDS else value * float(self.width[0])


def site_description(features: NDArray[np.floating]) -> Floats:
    """Return a site's description ``[F]``: mean, log spread and correlations of its features."""
    x = features[:, :_DESCRIBED_FEATURES].astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0) + _SPREAD_FLOOR
    z = (x - mean) / spread
    correlations = (z.T @ z / len(z))[np.triu_indices(x.shape[1], 1)]
    return np.concatenate([mean, np.log(spread), correlations])


def description_size(dimension: int) -> int:
    """Return the length F of a site's description for a number of released features."""
    columns = min(dimension, _DESCRIBED_FEATURES)
    return 2 * columns + columns * (columns - 1) // 2


def likeness_test_from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], dimension: int
) -> LikenessTest:
    """Rebuild a likeness test from ``LikenessTest.tensors``, named without ``TENSOR_PREFIX``.

    ``dimension`` is the number of released features.

    Raises:
        DecodeError: A name or shape is wrong, a number is not finite, or the width is not 0 to 1.
    """
    shapes = {"weight": (description_size(dimension),), "bias": (1,), "width": (1,)}
    values = hostile_tensors.check_tensors("likeness", tensors, shapes)
    if not 0 <= float(values["width"][0]) <= 1:
        raise DecodeError(f"likeness: width {values['width'][0]:g}; expected 0 to 1")
    return LikenessTest(**values)
