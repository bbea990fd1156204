"""Storage of the zoo: entries by name, objects by content.

::

    zoo/encoder.safetensors       the public encoder
    zoo/entries/KEY.json          one record per task: its description, and its object's hash
    zoo/objects/SHA256.safetensors  features and labels

The object is written first, then its record, each atomically. Every record therefore has its
object, and an interrupted build loses at most the entry in progress.
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
class ZooEntry:
    """Description and origin of a zoo entry.

    Attributes:
        version: Version of this record.
        key: Name of the entry: hash of its task and the encoder.
        encoder: Id of the encoder, hex.
        task: Task from which the entry can be built again.
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
class EncodedTask:
    """Encoded records of one zoo entry.

    Attributes:
        features: Released features, float32 ``[n, d]``.
        labels: Class of each record, int64 ``[n]``.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


class ZooStore:
    """Folder of a zoo, with its entries and objects."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has_entry(self, key: str) -> bool:
        """Return whether an entry of the zoo is complete."""
        return self._entry_path(key).is_file()

    def write_entry(self, data: bytes, entry: ZooEntry) -> None:
        """Store the encoded records of an entry, and the entry."""
        atomic.write_bytes(self._object_path(entry.sha256), data)
        atomic.write_bytes(self._entry_path(entry.key), canonical.encode(entry))

    def entries(self, encoder: str | None = None) -> Iterator[ZooEntry]:
        """Yield all complete entries of the zoo (of one encoder), by name.

        Raises:
            DecodeError: A record is damaged; the message names the file.
        """
        for path in sorted((self.root / "entries").glob("*.json")):
            entry = canonical.read(ZooEntry, path, limit=ENTRY_LIMIT)
            if encoder is None or entry.encoder == encoder:
                yield entry

    def read_entry(self, entry: ZooEntry) -> EncodedTask:
        """Read the encoded records of an entry.

        Raises:
            VerificationError: The object does not match its hash.
            DecodeError: The object does not belong to an entry.
        """
        tensors = self.read_tensors(entry.sha256)
        try:
            return EncodedTask(
                tensors["features"].astype(np.float32), tensors["labels"].astype(np.int64)
            )
        except (KeyError, ValueError) as error:
            raise DecodeError(
                f"{self._object_path(entry.sha256)}: not of an entry: {error}"
            ) from error

    def read_tensors(self, sha256: str) -> dict[str, NDArray[Any]]:
        """Read the arrays of a stored object.

        Raises:
            VerificationError: The object does not match its hash.
            DecodeError: The object is not a safetensors file.
        """
        path = self._object_path(sha256)
        data = atomic.read_bytes(path, limit=OBJECT_LIMIT)
        digest = canonical.sha256_hex(data)
        if digest != sha256:
            raise VerificationError(f"{path}: SHA-256 {digest}, expected {sha256}")
        try:
            return dict(safetensors.numpy.load(data))
        except (safetensors.SafetensorError, ValueError) as error:
            raise DecodeError(f"{path}: not a safetensors file: {error}") from error

    def write_object(self, data: bytes) -> str:
        """Store an object in the zoo, and return its SHA-256, hex."""
        sha256 = canonical.sha256_hex(data)
        atomic.write_bytes(self._object_path(sha256), data)
        return sha256

    def _entry_path(self, key: str) -> Path:
        return self.root / "entries" / f"{key}.json"

    def _object_path(self, sha256: str) -> Path:
        return self.root / "objects" / f"{sha256}.safetensors"


def pack_object(encoding: EncodedTask) -> bytes:
    """Return encoded records as bytes, with features in half precision."""
    tensors: dict[str, NDArray[Any]] = {
        "features": encoding.features.astype(np.float16),
        "labels": encoding.labels.astype(np.int32),
    }
    return safetensors.numpy.save(tensors)


def read_versioned_record(path: Path, kind: type[T], version: int) -> T | None:
    """Read a record of reproducible data; None if it has another version.

    Raises:
        DecodeError: The record is damaged; the message names the file.
    """
    data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
    if canonical.stated_version(data, subject=str(path)) != version:
        return None
    return canonical.decode(kind, data, subject=str(path))
