"""Checks on named tensors of an untrusted file: names, shapes and finite values."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import DecodeError

Tensors = Mapping[str, NDArray[np.float32]]
"""Named tensors of a network or a head, float32."""


def split_prefix(
    tensors: Tensors, prefix: str
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Split named tensors into those without a prefix and those with it, prefix removed."""
    plain = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    prefixed_tensors = {
        n.removeprefix(prefix): value for n, value in tensors.items() if n not in plain
    }
    return plain, prefixed_tensors


def check_tensors(
    source_name: str,
    tensors: Mapping[str, NDArray[np.floating]],
    required_shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, NDArray[np.float64]]:
    """Check that named tensors are exactly the required ones; return them as float64.

    Args:
        required_shapes: Shape of each required tensor.

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite.
    """
    actual = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(required_shapes.keys() | actual):
        if required_shapes.get(name) != actual.get(name):
            raise DecodeError(
                f"{source_name}: tensor {name!r}: {actual.get(name)}, expected"
                f" {required_shapes.get(name)}"
            )
    values = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise DecodeError(f"{source_name}: tensor {name!r} is not finite")
    return values
