"""Files of the zoo: an entry for each task, and an object with its features and labels.

::

    zoo/encoder.safetensors       the public encoder
    zoo/entries/KEY.json          entry of a task: its description, and its object's hash
    zoo/objects/SHA256.safetensors  object: features and labels

The object is written first, then its entry, each atomically. Every entry therefore has its object,
and an interrupted build loses at most the entry in progress.
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

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooEntry:
    """Description and origin of a zoo entry.

    Attributes:
        version: Version of this format.
        key: Name of the entry: hash of task and encoder, hex.
        encoder: Id of the encoder, hex.
        task: Task from which the entry can be built again.
        family: Name of the family of tasks to which it belongs.
        labels: Class names; a record's label is an index of them.
        records: Number of records.
        licence: Licence of the source.
        sha256: SHA-256 of the entry's object (features and labels), hex.
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
        """Return True if the zoo has the entry with this key, and thus its object."""
        return self._entry_path(key).is_file()

    def write_entry(self, object_bytes: bytes, entry: ZooEntry) -> None:
        """Store an object from ``pack_encoded_task``, and then its entry."""
        atomic.write_bytes(self._object_path(entry.sha256), object_bytes)
        atomic.write_bytes(self._entry_path(entry.key), canonical.encode(entry))

    def read_entries(self, encoder_sha256: str | None = None) -> Iterator[ZooEntry]:
        """Read all entries of the zoo, or those of one encoder, sorted by key.

        Raises:
            DecodeError: An entry is damaged; the message names the file.
        """
        for path in sorted((self.root / "entries").glob("*.json")):
            entry = canonical.read_record(ZooEntry, path, max_bytes=ENTRY_LIMIT)
            if encoder_sha256 is None or entry.encoder == encoder_sha256:
                yield entry

    def read_encoded_task(self, entry: ZooEntry) -> EncodedTask:
        """Read the features and labels of an entry from its object.

        Raises:
            VerificationError: The object does not match its hash.
            DecodeError: The object does not have features and labels.
        """
        tensors = self.read_object(entry.sha256)
        try:
            return EncodedTask(
                tensors["features"].astype(np.float32), tensors["labels"].astype(np.int64)
            )
        except (KeyError, ValueError) as error:
            raise DecodeError(
                f"{self._object_path(entry.sha256)}: not of an entry: {error}"
            ) from error

    def read_object(self, sha256: str) -> dict[str, NDArray[Any]]:
        """Read the arrays, by name, of the object with this hash.

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

    def write_object(self, object_bytes: bytes) -> str:
        """Store an object in the zoo, and return its SHA-256, hex."""
        sha256 = canonical.sha256_hex(object_bytes)
        atomic.write_bytes(self._object_path(sha256), object_bytes)
        return sha256

    def _entry_path(self, key: str) -> Path:
        return self.root / "entries" / f"{key}.json"

    def _object_path(self, sha256: str) -> Path:
        return self.root / "objects" / f"{sha256}.safetensors"


def pack_encoded_task(encoded_task: EncodedTask) -> bytes:
    """Encode features (as float16) and labels as a safetensors object of the zoo."""
    tensors: dict[str, NDArray[Any]] = {
        "features": encoded_task.features.astype(np.float16),
        "labels": encoded_task.labels.astype(np.int32),
    }
    return safetensors.numpy.save(tensors)


def read_versioned_record(path: Path, record_type: type[RecordT], version: int) -> RecordT | None:
    """Read a JSON file as a ``record_type``; None if the file states another version.

    Raises:
        DecodeError: The file is damaged; the message names it.
    """
    data = atomic.read_bytes(path, limit=ENTRY_LIMIT)
    if canonical.stated_version(data, input_name=str(path)) != version:
        return None
    return canonical.decode(record_type, data, input_name=str(path))
