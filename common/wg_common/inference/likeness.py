"""Whether a plant's records look like those of one of the operator's families: a test with a limit.

A camera or a sensor moves and scales released features more than most other things do, and changes
far less how they vary together. So a site is described by the mean and the logarithm of the spread
of each, and by their correlations, over all of its records, labelled or not. One linear function of
these, fitted at the operator (``wg_server.generator.families.likeness``) between its family under
hundreds of made-up cameras and all else that it has, says how unlike the family a site is: about 0
at a typical site of it, more than ``LIMIT`` at a share of ``RATE`` of its made-up sites.

Not guaranteed: that records of another kind are refused; the model card has how many were. Fewer
than ``FEWEST`` records are never refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_core.errors import DecodeError

Floats = NDArray[np.float64]

LIMIT = 1.0
"""Unlikeness beyond which a family is refused."""
RATE = 0.03
"""Share of the family's own made-up sites that are refused all the same."""
FEWEST = 10
USUAL = 30
"""Records from which on the limit is that of a usual site; with fewer it is wider."""
PREFIX = "likeness."  # Of its tensors in a package
_COLUMNS = 64  # Most released features that are looked at, the first ones
_LEAST = 1e-3  # Added to a spread


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """A fitted test. F numbers describe a site.

    Attributes:
        weight: On these, ``[F]``.
        bias: ``[1]``.
        width: Factor on the unlikeness of sites with fewer than ``USUAL`` records, ``[1]``.
    """

    weight: Floats
    bias: Floats
    width: Floats

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the attributes as float32 tensors, with ``PREFIX``."""
        return {f"{PREFIX}{f.name}": getattr(self, f.name).astype(np.float32) for f in fields(self)}

    def unlikeness(self, statistics: NDArray[np.floating]) -> float:
        """Measure how unlike the family a site is.

        Args:
            statistics: Features of its records that may be released, or more, ``[n, d]``; they come
                first.
        """
        if len(statistics) < FEWEST:
            return 0.0
        value = float(self.weight @ site_description(statistics)) + float(self.bias[0])
        return value if len(statistics) >= USUAL else value * float(self.width[0])


def site_description(statistics: NDArray[np.floating]) -> Floats:
    """Mean, log spread and correlations of at most 64 features over records ``[n, d]``, ``[F]``."""
    x = statistics[:, :_COLUMNS].astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0) + _LEAST
    z = (x - mean) / spread
    correlations = (z.T @ z / len(z))[np.triu_indices(x.shape[1], 1)]
    return np.concatenate([mean, np.log(spread), correlations])


def numbers(dimension: int) -> int:
    """F, for so many released features."""
    columns = min(dimension, _COLUMNS)
    return 2 * columns + columns * (columns - 1) // 2


def from_tensors(tensors: Mapping[str, NDArray[np.floating]], dimension: int) -> Likeness:
    """Read what ``Likeness.tensors`` wrote, without ``PREFIX``.

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite.
    """
    shapes = {"weight": (numbers(dimension),), "bias": (1,), "width": (1,)}
    values = hostile_tensors.check_tensors("likeness", tensors, shapes)
    if not 0 <= float(values["width"][0]) <= 1:
        raise DecodeError(f"likeness: width {values['width'][0]:g}; expected 0 to 1")
    return Likeness(**values)
