"""Records on disk, or in a table, as a sequence that is read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from wg_common.modalities.base import Modality, Record


class StoredRecords(Sequence[Record]):
    """Records that are read one by one: those of a plant may not fit in memory.

    Attributes:
        modality: Modality of the records.
        paths: File of each; empty where all are in one.
    """

    def __init__(
        self,
        modality: Modality,
        read: Callable[[int], Record],
        rows: Sequence[int],
        paths: Sequence[Path] = (),
    ) -> None:
        self.modality = modality
        self.paths = tuple(paths)
        self._read = read
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> StoredRecords: ...
    def __getitem__(self, index: int | slice) -> Record | StoredRecords:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return self._read(self._rows[index])

    def take(self, rows: Sequence[int]) -> StoredRecords:
        """Some of the records, in the order given, unread."""
        paths = [self.paths[row] for row in rows] if self.paths else ()
        return StoredRecords(self.modality, self._read, [self._rows[row] for row in rows], paths)


def stored_files(modality: Modality, paths: Sequence[Path]) -> StoredRecords:
    """Files each of which is a record."""
    return StoredRecords(modality, lambda row: modality.read(paths[row]), range(len(paths)), paths)
