"""Named tensors of a file that a stranger wrote: of the expected shapes, and finite."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import DecodeError

Tensors = Mapping[str, NDArray[np.float32]]


def split_prefix(
    tensors: Tensors, prefix: str
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Tensors whose names do not begin with a prefix, and the others, without it."""
    plain = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    prefixed_tensors = {
        n.removeprefix(prefix): value for n, value in tensors.items() if n not in plain
    }
    return plain, prefixed_tensors


def check_tensors(
    source: str, tensors: Mapping[str, NDArray[np.floating]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float64]]:
    """Exactly the named tensors, in double precision.

    Args:
        shapes: Shape of each required tensor.

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite.
    """
    actual = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(shapes.keys() | actual):
        if shapes.get(name) != actual.get(name):
            raise DecodeError(
                f"{source}: tensor {name!r}: {actual.get(name)}, expected {shapes.get(name)}"
            )
    values = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise DecodeError(f"{source}: tensor {name!r} is not finite")
    return values
