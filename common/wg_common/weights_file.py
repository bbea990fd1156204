"""Reading a weights package: verified in one pass, its tensors then read one by one.

What is checked, in pieces of a few MiB: the hash of each section, the signature of the manifest,
the manifest's hash of the tensors, and that every number is finite. So a package may be larger than
the memory.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from wg_common import weights_package
from wg_common.weights_package import Tensors, WeightsManifest
from wg_core.errors import ConfigError, DecodeError, VerificationError, raised_as
from wg_core.wire import canonical, container, signing, tensors
from wg_core.wire.container import Span
from wg_core.wire.protocol import NOTE_LIMIT, WEIGHTS_KIND
from wg_core.wire.signing import PublicKey
from wg_core.wire.tensors import Place

_WHAT = "weights package"


class FileTensors(Mapping[str, NDArray[np.float32]]):
    """Tensors of one candidate; each is read from the file when it is asked for."""

    def __init__(self, path: Path, places: Mapping[str, Place]) -> None:
        self._path = path
        self._places = places

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Read one tensor, float32 of its own shape."""
        with _opened(self._path) as stream:
            return tensors.read(stream, self._places[name], subject=str(self._path))

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


def read(path: Path, key: PublicKey) -> tuple[WeightsManifest, dict[str, Tensors]]:
    """Verify a package file: manifest, and tensors by candidate and name, still on disk.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: It is not a weights package.
        VerificationError: The signature or a hash does not hold.
    """
    with _opened(path) as stream:
        manifest, places = _verified(stream, key)
    return manifest, {name: FileTensors(path, part) for name, part in places.items()}


def decode(
    data: bytes, key: PublicKey
) -> tuple[WeightsManifest, dict[str, dict[str, NDArray[np.float32]]]]:
    """Verify a package that is in memory: manifest, and tensors by candidate and name.

    Raises:
        DecodeError: The bytes are not a weights package.
        VerificationError: The signature or a hash does not hold.
    """
    stream = io.BytesIO(data)
    manifest, places = _verified(stream, key)
    return manifest, {
        candidate: {
            name: tensors.read(stream, place, subject=_WHAT) for name, place in part.items()
        }
        for candidate, part in places.items()
    }


def _verified(
    stream: BinaryIO, key: PublicKey
) -> tuple[WeightsManifest, dict[str, dict[str, Place]]]:
    text, signature, body, checkpoint = weights_package.layout(stream)
    manifest = _manifest(stream, text, signature, key)
    container.section(stream, checkpoint, kind=WEIGHTS_KIND, limit=NOTE_LIMIT)
    digest = _digest(stream, body)
    if digest != body.sha256 or digest != manifest.tensors_sha256:
        raise VerificationError(
            f"{_WHAT}: tensors hash to {digest}, the manifest says {manifest.tensors_sha256}"
        )
    places = tensors.places(stream, body.offset, body.size, subject=_WHAT, half=True)
    tensors.check_finite(stream, places, subject=_WHAT)
    return manifest, weights_package.by_candidate(manifest, places)


def _manifest(stream: BinaryIO, text: Span, signature: Span, key: PublicKey) -> WeightsManifest:
    data, signed = (
        container.section(stream, span, kind=WEIGHTS_KIND, limit=weights_package.MANIFEST_LIMIT)
        for span in (text, signature)
    )
    signing.verify(key, signing.WEIGHTS, data, signed)
    return canonical.decode(
        WeightsManifest, data, subject="weights manifest", limit=weights_package.MANIFEST_LIMIT
    )


def _digest(stream: BinaryIO, span: Span) -> str:
    digest = hashlib.sha256()
    stream.seek(span.offset)
    remaining = span.size
    while remaining > 0:
        piece = stream.read(min(tensors.PIECE, remaining))
        if not piece:
            raise DecodeError(f"wgw file: section {span.name!r} is cut short")
        digest.update(piece)
        remaining -= len(piece)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    with raised_as(ConfigError, f"{path}: cannot be read"), path.open("rb") as stream:
        yield stream
