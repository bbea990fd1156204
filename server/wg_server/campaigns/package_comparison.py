"""Comparison of a new package with the one that a plant has.

A package describes what other sites' releases say about a plant's classes by a posterior, whose
variance falls with the number of sites. A better package is sent only if this variance, summed over
classes and directions, is at least a fifth lower than in the previous package. That needs
about five sites where the previous package had four.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load

from wg_common import weights_package
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_core import atomic
from wg_core.errors import DecodeError
from wg_core.wire import protocol

MIN_VARIANCE_REDUCTION = 0.2
"""Smallest relative reduction of the posterior variance by a better package."""


def is_more_informative(previous_package: Path, package: bytes) -> bool:
    """Return whether a package's posterior variance is a fifth or more below the previous one's.

    True as well if the previous package's file is missing, or if either package has no posterior.
    """
    if not previous_package.is_file():
        return True
    old = _posterior_variance(
        atomic.read_bytes(previous_package, limit=protocol.WEIGHTS_BYTES_LIMIT)
    )
    new = _posterior_variance(package)
    return old is None or new is None or new <= (1 - MIN_VARIANCE_REDUCTION) * old


def _posterior_variance(package: bytes) -> float | None:
    """Return the summed posterior variance of a package's classes; None without a posterior."""
    try:
        tensors = weights_package.read_sections(package)["tensors"]
    except DecodeError:
        return None
    precision = load(tensors).get(f"{POSTERIOR_SOURCE}/precision")
    if precision is None:
        return None
    covariance = np.linalg.inv(precision.astype(np.float64))
    return float(np.diagonal(covariance, axis1=1, axis2=2)[:, 1:].sum())
