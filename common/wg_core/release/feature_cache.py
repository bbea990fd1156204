"""Cache of features already encoded by an interrupted freeze, for the next freeze.

::

    snapshots/.encoded/ENCODER.rows      a row for each record: keyed digest, features float32

Rows are appended and flushed; a partial row at the end is cut off. A row is used for any record of
equal content, which each freeze decodes and hashes anew: file names and dates are not trusted. A
freeze that completes deletes the cache.
"""

import shutil
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from wg_core import atomic
from wg_core.errors import StorageError, reraise_os_errors
from wg_core.site.home import ClientHome
from wg_core.snapshot import DIGEST_BYTES

CACHE_FOLDER = ".encoded"


class EncodedFeatureCache:
    """Cache of features by keyed digest of the record, which outlasts an interrupted freeze."""

    def __init__(self, home: ClientHome, encoding_id: str, feature_count: int) -> None:
        """Set the location of the feature cache.

        Args:
            encoding_id: Hash of encoder and data sheet (``RecordReader.encoding_id``), hex.
            feature_count: Number of features of a record (``RecordReader.feature_count``).
        """
        self._folder = home.snapshots / CACHE_FOLDER
        self._path = self._folder / f"{encoding_id}.rows"
        self._row = np.dtype(
            [("digest", np.uint8, (DIGEST_BYTES,)), ("values", "<f4", (feature_count,))]
        )
        self._stream: BinaryIO | None = None
        self._known: dict[bytes, int] = {}
        self._map: NDArray[np.void] | None = None

    def __enter__(self) -> Self:
        """Open the feature cache, and read the digests in it.

        Raises:
            StorageError: The cache cannot be read or written.
        """
        with reraise_os_errors(StorageError, f"{self._path}: cannot be used"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for stale in self._folder.iterdir():
                if stale != self._path:
                    stale.unlink()
            self._path.touch(atomic.PRIVATE_FILE_MODE)
            rows = self._path.stat().st_size // self._row.itemsize
            self._stream = self._path.open("r+b")
            self._stream.truncate(rows * self._row.itemsize)
            self._stream.seek(0, 2)
        if rows:
            self._map = np.memmap(self._path, dtype=self._row, mode="r", shape=(rows,))
            digests = np.ascontiguousarray(self._map["digest"])
            self._known = {digest.tobytes(): row for row, digest in enumerate(digests)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Delete the feature cache, unless the freeze was interrupted."""
        if self._stream is not None:
            self._stream.close()
        self._map = None
        if kind is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._known)

    def find_features(self, digest: bytes) -> NDArray[np.float32] | None:
        """Return the cached features of a record's content; None if it is not cached."""
        row = self._known.get(digest)
        if row is None or self._map is None:
            return None
        return np.array(self._map[row]["values"], dtype=np.float32)

    def add_features(self, digests: list[bytes], values: NDArray[np.float32]) -> None:
        """Append the features of some records to the cache.

        Raises:
            OSError: The disk is full.
        """
        if self._stream is None or not digests:
            return
        rows = np.zeros(len(digests), dtype=self._row)
        raw = np.frombuffer(b"".join(digests), dtype=np.uint8)
        rows["digest"] = raw.reshape(len(digests), DIGEST_BYTES)
        rows["values"] = values
        self._stream.write(rows.tobytes())
        self._stream.flush()
