"""Named tensors in a safetensors file, read in place and strictly.

Numbers are float32; a weights package may also hold float16, which takes half the bytes. Format: 8
bytes of header length, a JSON header with the position of each tensor, the numbers. This module has
its own reader, because that of the safetensors library requires a file with no other content, and
accepts more in a header: here every byte belongs to one tensor, and metadata are refused.
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

from wg_core import atomic
from wg_core.errors import DecodeError
from wg_core.wire import canonical

HEADER_BYTES_LIMIT = 16 << 20  # Largest header of a safetensors file, in bytes
AXES_LIMIT = 8  # Most axes of a tensor
_HEADER_LENGTH = struct.Struct("<Q")

FLOAT32: np.dtype[np.floating] = np.dtype("<f4")
FLOAT16: np.dtype[np.floating] = np.dtype("<f2")

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TensorLocation:
    """Shape, type and position of a tensor in a stream; ``offset`` is in bytes."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]

    @property
    def entry_count(self) -> int:
        """Number of the tensor's entries."""
        return math.prod(self.shape)

    @property
    def byte_size(self) -> int:
        """Size of the tensor in bytes."""
        return self.dtype.itemsize * self.entry_count


class _TensorEntry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def pack_tensors(tensors: Mapping[str, NDArray[np.floating]]) -> bytes:
    """Return named tensors as a safetensors file; float16 is kept, others become float32."""
    return safetensors.numpy.save(
        {
            name: np.ascontiguousarray(value, np.float16 if value.dtype == FLOAT16 else np.float32)
            for name, value in tensors.items()
        }
    )


def locate_tensors(
    stream: BinaryIO, offset: int, size: int, *, input_name: str, allows_half: bool = False
) -> dict[str, TensorLocation]:
    """Return the position of each tensor in a safetensors file that is a part of a stream.

    Args:
        offset: Position in the stream at which the file begins.
        size: Size of the file in bytes.
        input_name: Name of the file in error messages.
        allows_half: True if float16 is allowed.

    Raises:
        DecodeError: The file is malformed, has other number types, or bytes outside of tensors.
    """
    types = {"F32": FLOAT32, "F16": FLOAT16} if allows_half else {"F32": FLOAT32}
    problem = f"{input_name}: not a safetensors file"
    stream.seek(offset)
    prefix = stream.read(min(_HEADER_LENGTH.size, size))
    if len(prefix) != _HEADER_LENGTH.size:
        raise DecodeError(f"{problem}: {len(prefix)} bytes")
    (length,) = _HEADER_LENGTH.unpack(prefix)
    start = _HEADER_LENGTH.size + length
    if length > HEADER_BYTES_LIMIT or start > size:
        raise DecodeError(f"{problem}: header of {length} bytes")
    entries = canonical.decode_known_fields(
        dict[str, _TensorEntry], stream.read(length), input_name=problem
    )
    places: dict[str, TensorLocation] = {}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in types or any(side < 0 for side in entry.shape):
            raise DecodeError(
                f"{input_name}: tensor {name!r} is not of {' or '.join(types)} numbers"
            )
        if math.prod(max(side, 1) for side in entry.shape) > size or len(entry.shape) > AXES_LIMIT:
            raise DecodeError(f"{input_name}: tensor {name!r} has too many axes, or too long ones")
        begin, end = entry.data_offsets
        place = TensorLocation(offset + start + begin, entry.shape, types[entry.dtype])
        if begin != position or end - begin != place.byte_size:
            raise DecodeError(f"{problem}: tensor {name!r} lies at {begin} to {end}")
        places[name] = place
        position = end
    if start + position != size:
        raise DecodeError(f"{problem}: {size - start - position} bytes belong to no tensor")
    return places


def check_finite(
    stream: BinaryIO, locations: Mapping[str, TensorLocation], *, input_name: str
) -> None:
    """Check that all numbers of some tensors are finite, reading them chunk by chunk.

    Raises:
        DecodeError: A tensor has a NaN or infinite number.
    """
    for name, place in locations.items():
        stream.seek(place.offset)
        bytes_left = place.byte_size
        while bytes_left > 0:
            piece = stream.read(min(atomic.CHUNK_BYTES, bytes_left))
            if not np.isfinite(np.frombuffer(piece, place.dtype)).all():
                raise DecodeError(f"{input_name}: tensor {name!r} is not finite")
            bytes_left -= len(piece)


def read_tensor(stream: BinaryIO, location: TensorLocation, *, input_name: str) -> Float32Array:
    """Read one tensor of a safetensors file as float32.

    Raises:
        DecodeError: The file is shorter than when the tensors were located.
    """
    stream.seek(location.offset)
    data = stream.read(location.byte_size)
    if len(data) != location.byte_size:
        raise DecodeError(f"{input_name}: cut short while it was used")
    return np.frombuffer(data, location.dtype).astype(np.float32).reshape(location.shape)
