"""Named float32 tensors in a safetensors file, read in place and strictly.

The format: 8 bytes of header length, a JSON header that says where each tensor lies, the numbers.
It is read here, because that project's own reader wants a file that holds nothing else, and lets a
header say more than this one: every byte belongs to one tensor, and there are no notes.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from wg_common.errors import DecodeError
from wg_common.wire import canonical

PIECE = 4 << 20
HEADER_LIMIT = 16 << 20  # Largest header of a safetensors file, in bytes
_LENGTH = struct.Struct("<Q")

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a file."""

    offset: int
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of its entries."""
        return math.prod(self.shape)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def pack(tensors: Mapping[str, Array]) -> bytes:
    """A safetensors file of these tensors."""
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    )


def places(stream: BinaryIO, offset: int, size: int, *, what: str) -> dict[str, Place]:
    """Where each tensor lies in a safetensors file that is a part of a stream.

    Args:
        offset: Where in it the file begins.
        size: Its bytes.

    Raises:
        DecodeError: It is none, of other numbers than float32, or has bytes that are no tensor's.
    """
    problem = f"{what}: not a safetensors file"
    stream.seek(offset)
    prefix = stream.read(min(_LENGTH.size, size))
    if len(prefix) != _LENGTH.size:
        raise DecodeError(f"{problem}: {len(prefix)} bytes")
    (length,) = _LENGTH.unpack(prefix)
    start = _LENGTH.size + length
    if length > HEADER_LIMIT or start > size:
        raise DecodeError(f"{problem}: header of {length} bytes")
    entries = canonical.decode_part(dict[str, _Entry], stream.read(length), what=problem)
    found: dict[str, Place] = {}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype != "F32" or any(side < 0 for side in entry.shape):
            raise DecodeError(f"{what}: tensor {name!r} is not finite float32")
        begin, end = entry.data_offsets
        if begin != position or end - begin != 4 * math.prod(entry.shape):
            raise DecodeError(f"{problem}: tensor {name!r} lies at {begin} to {end}")
        found[name] = Place(offset + start + begin, entry.shape)
        position = end
    if start + position != size:
        raise DecodeError(f"{problem}: {size - start - position} bytes belong to no tensor")
    return found


def check_finite(stream: BinaryIO, found: Mapping[str, Place], *, what: str) -> None:
    """Refuse tensors with a number that is none, or infinite; in constant memory.

    Raises:
        DecodeError: There is one.
    """
    for name, place in found.items():
        stream.seek(place.offset)
        left = 4 * place.count
        while left > 0:
            piece = stream.read(min(PIECE, left))
            if not np.isfinite(np.frombuffer(piece, np.dtype("<f4"))).all():
                raise DecodeError(f"{what}: tensor {name!r} is not finite float32")
            left -= len(piece)


def read(stream: BinaryIO, place: Place, *, what: str) -> Array:
    """One tensor, float32 of its own shape.

    Raises:
        DecodeError: The file became shorter.
    """
    stream.seek(place.offset)
    data = stream.read(4 * place.count)
    if len(data) != 4 * place.count:
        raise DecodeError(f"{what}: cut short while it was used")
    return np.frombuffer(data, np.dtype("<f4")).astype(np.float32).reshape(place.shape)
