"""The zoo on disk: entries by name, objects by content.

::

    zoo/encoder.safetensors       the public encoder
    zoo/entries/KEY.json          one record for each task: what it is, and its object's hash
    zoo/objects/SHA256.safetensors  features and labels

An object is written before the record that names it, and both atomically; so a record always has
its object, and a build that was killed loses at most the entry in work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import canonical
from wg_server.zoo.task_spec import TaskSpec

OBJECT_LIMIT = 1 << 30
ENTRY_LIMIT = 256 << 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Description of a zoo entry, and its origin.

    Attributes:
        key: Name of the entry: hash of its task and the encoder.
        encoder: Id of the encoder, hex.
        task: The task, from which the entry can be built again.
        family: Name of its family; entries of one family are sites of one kind.
        labels: Class names, in the order of rows.
        records: Number of records.
        licence: Terms of the source.
        sha256: SHA-256 of the object, hex.
    """

    version: int = 1
    key: str
    encoder: str
    task: TaskSpec
    family: str
    labels: tuple[str, ...]
    records: int
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An entry's object: its records as the encoder sees them.

    Attributes:
        features: float32 ``[n, d]``.
        labels: int64 ``[n]``.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


class Zoo:
    """The folder of a zoo."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, key: str) -> bool:
        """Return whether an entry is finished."""
        return self._entry(key).is_file()

    def write(self, data: bytes, entry: Entry) -> None:
        """Store an object and its entry."""
        atomic.write_bytes(self._object(entry.sha256), data)
        atomic.write_bytes(self._entry(entry.key), canonical.encode(entry))

    def entries(self, encoder: str | None = None) -> Iterator[Entry]:
        """All finished entries (of one encoder), by name.

        Raises:
            DecodeError: A record is damaged; the message names the file.
        """
        for path in sorted((self.root / "entries").glob("*.json")):
            data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
            entry = canonical.decode(Entry, data, subject=str(path))
            if encoder is None or entry.encoder == encoder:
                yield entry

    def read(self, entry: Entry) -> Encoded:
        """An entry's object.

        Raises:
            VerificationError: The object does not match its hash.
            DecodeError: It is not an object of the zoo.
        """
        tensors = self.tensors(entry.sha256)
        try:
            return Encoded(
                tensors["features"].astype(np.float32), tensors["labels"].astype(np.int64)
            )
        except (KeyError, ValueError) as error:
            raise DecodeError(f"{self._object(entry.sha256)}: not of an entry: {error}") from error

    def tensors(self, sha256: str) -> dict[str, NDArray[Any]]:
        """The arrays of an object.

        Raises:
            VerificationError: The object does not match its hash.
            DecodeError: It is not a safetensors file.
        """
        path = self._object(sha256)
        data = atomic.read_bytes(path, limit=OBJECT_LIMIT)
        digest = canonical.sha256_hex(data)
        if digest != sha256:
            raise VerificationError(f"{path}: SHA-256 {digest}, expected {sha256}")
        try:
            return dict(safetensors.numpy.load(data))
        except (safetensors.SafetensorError, ValueError) as error:
            raise DecodeError(f"{path}: not a safetensors file: {error}") from error

    def put(self, data: bytes) -> str:
        """Store an object; returns its SHA-256, hex."""
        sha256 = canonical.sha256_hex(data)
        atomic.write_bytes(self._object(sha256), data)
        return sha256

    def _entry(self, key: str) -> Path:
        return self.root / "entries" / f"{key}.json"

    def _object(self, sha256: str) -> Path:
        return self.root / "objects" / f"{sha256}.safetensors"


def pack(encoding: Encoded) -> bytes:
    """An object's bytes. Features are kept in half precision."""
    tensors: dict[str, NDArray[Any]] = {
        "features": encoding.features.astype(np.float16),
        "labels": encoding.labels.astype(np.int32),
    }
    return safetensors.numpy.save(tensors)


def record(path: Path, kind: type[T], version: int) -> T | None:
    """A record of what can be made again; None if it is of another version, and made anew.

    Raises:
        DecodeError: It is damaged; the message names the file.
    """
    data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
    if canonical.version_of(data, subject=str(path)) != version:
        return None
    return canonical.decode(kind, data, subject=str(path))
