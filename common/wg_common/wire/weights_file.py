"""A weights package too large to hold in memory: verified in one pass, tensors read one by one.

The same checks as ``weights_package.decode``, in pieces of a few MiB: the hash of each section,
the signature of the manifest, the manifest's hash of the tensors, and that every number is
finite. The layout of safetensors (8 bytes of header length, a JSON header, then the data) is read
here, because that project's own reader wants a file that holds nothing else.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray

from wg_common import typed
from wg_common.errors import ConfigError, DecodeError, VerificationError
from wg_common.wire import canonical, container, signing, weights_package
from wg_common.wire.container import Span
from wg_common.wire.protocol import WEIGHTS_KIND, WEIGHTS_LIMIT
from wg_common.wire.weights_package import Tensors, WeightsManifest

PIECE = 4 << 20
_HEADER_LIMIT = 16 << 20
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one float32 tensor lies in the file."""

    offset: int
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class FileTensors(Mapping[str, NDArray[np.float32]]):
    """Tensors of one candidate; each is read from the file when it is asked for."""

    def __init__(self, path: Path, places: Mapping[str, _Place]) -> None:
        self._path = path
        self._places = places

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Read one tensor, float32 of its own shape."""
        place = self._places[name]
        with _opened(self._path) as stream:
            stream.seek(place.offset)
            data = stream.read(4 * place.count)
        if len(data) != 4 * place.count:
            raise DecodeError(f"{self._path}: cut short while it was used")
        return np.frombuffer(data, np.dtype("<f4")).astype(np.float32).reshape(place.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex, in constant memory.

    Raises:
        ConfigError: It cannot be read.
    """
    with _opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(
    path: Path, key: Ed25519PublicKey, *, limit: int = WEIGHTS_LIMIT
) -> tuple[WeightsManifest, dict[str, Tensors]]:
    """Verify a package file: manifest, and tensors by candidate and name, still on disk.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: It is not a weights package.
        VerificationError: The signature or a hash does not hold.
    """
    with _opened(path) as stream:
        version, names = weights_package.layout_of(stream)
        spans = container.layout(
            stream, kind=WEIGHTS_KIND, version=version, names=names, limit=limit
        )
        manifest = _manifest(stream, spans[0], spans[1], key)
        tensors = spans[2]
        found = _digest(stream, tensors)
        if found != tensors.sha256 or found != manifest.tensors_sha256:
            raise VerificationError(
                f"weights package: tensors hash to {found}, the manifest says"
                f" {manifest.tensors_sha256}"
            )
        places = _places(stream, tensors)
        for name, place in places.items():
            _check_finite(stream, name, place)
    by_candidate = weights_package.by_candidate(manifest, places)
    return manifest, {name: FileTensors(path, each) for name, each in by_candidate.items()}


def _manifest(
    stream: BinaryIO, text: Span, signature: Span, key: Ed25519PublicKey
) -> WeightsManifest:
    for span in (text, signature):
        if span.size > weights_package.MANIFEST_LIMIT:
            raise DecodeError(f"weights package: section {span.name!r} of {span.size} bytes")
        if _digest(stream, span) != span.sha256:
            raise DecodeError(f"wgw file: section {span.name!r} does not match its hash")
    data = _bytes(stream, text)
    signing.verify(key, signing.WEIGHTS, data, _bytes(stream, signature))
    return canonical.decode(
        WeightsManifest, data, what="weights manifest", limit=weights_package.MANIFEST_LIMIT
    )


def _bytes(stream: BinaryIO, span: Span) -> bytes:
    stream.seek(span.offset)
    return stream.read(span.size)


def _digest(stream: BinaryIO, span: Span) -> str:
    digest = hashlib.sha256()
    stream.seek(span.offset)
    left = span.size
    while left > 0:
        piece = stream.read(min(PIECE, left))
        if not piece:
            raise DecodeError(f"wgw file: section {span.name!r} is cut short")
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _places(stream: BinaryIO, span: Span) -> dict[str, _Place]:
    what = "weights package: not a safetensors file"
    stream.seek(span.offset)
    prefix = stream.read(min(_LENGTH.size, span.size))
    if len(prefix) != _LENGTH.size:
        raise DecodeError(f"{what}: {len(prefix)} bytes")
    (length,) = _LENGTH.unpack(prefix)
    start = _LENGTH.size + length
    if length > _HEADER_LIMIT or start > span.size:
        raise DecodeError(f"{what}: header of {length} bytes")
    try:
        rows = typed.decode_json(stream.read(length), dict[str, msgspec.Raw])
        rows.pop("__metadata__", None)
        entries = {name: typed.decode_json(bytes(row), _Entry) for name, row in rows.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"{what}: {error}") from error
    places: dict[str, _Place] = {}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype != "F32" or any(side < 0 for side in entry.shape):
            raise DecodeError(f"weights package: tensor {name!r} is not finite float32")
        begin, end = entry.data_offsets
        if begin != position or end - begin != 4 * math.prod(entry.shape):
            raise DecodeError(f"{what}: tensor {name!r} lies at {begin} to {end}")
        places[name] = _Place(span.offset + start + begin, entry.shape)
        position = end
    if start + position != span.size:
        raise DecodeError(f"{what}: {span.size - start - position} bytes belong to no tensor")
    return places


def _check_finite(stream: BinaryIO, name: str, place: _Place) -> None:
    stream.seek(place.offset)
    left = 4 * place.count
    while left > 0:
        piece = stream.read(min(PIECE, left))
        if not np.isfinite(np.frombuffer(piece, np.dtype("<f4"))).all():
            raise DecodeError(f"weights package: tensor {name!r} is not finite float32")
        left -= len(piece)


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
