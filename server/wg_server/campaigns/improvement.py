"""Whether a package would tell a plant something else than the one that it has.

A package says what other sites know of a plant's classes as a posterior. Its variance, summed over
classes and directions, is what more sites reduce. A better package is sent only where that is less
by a fifth at least than in the package before: as with five sites for every four.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load

from wg_common import weights_package
from wg_common.catalogue import POSTERIOR
from wg_core import atomic
from wg_core.errors import DecodeError
from wg_core.wire import protocol

GAIN = 0.2  # Least share of the posterior variance that a better package takes away


def says_more(before: Path, package: bytes) -> bool:
    """Return whether a package says more than the one that the plant has.

    True where that cannot be told: the one before is not there any more, or has no posterior.
    """
    if not before.is_file():
        return True
    old = _variance(atomic.read_bytes(before, limit=protocol.WEIGHTS_LIMIT))
    new = _variance(package)
    return old is None or new is None or new <= (1 - GAIN) * old


def _variance(package: bytes) -> float | None:
    """Posterior variance of the classes in a package of this server's own; None: it has none."""
    try:
        tensors = weights_package.sections(package)["tensors"]
    except DecodeError:
        return None
    precision = load(tensors).get(f"{POSTERIOR}/precision")
    if precision is None:
        return None
    covariance = np.linalg.inv(precision.astype(np.float64))
    return float(np.diagonal(covariance, axis1=1, axis2=2)[:, 1:].sum())
