"""Sequence of records on disk or in a table, each read when it is accessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from wg_common.modalities.base import Modality, Record


class StoredRecords(Sequence[Record]):
    """Records that are read on access, because a plant's records may not fit in memory.

    Attributes:
        modality: Modality of the records.
        paths: File of each record; empty if one file holds all of them.
    """

    def __init__(
        self,
        modality: Modality,
        read_row: Callable[[int], Record],
        rows: Sequence[int],
        paths: Sequence[Path] = (),
    ) -> None:
        self.modality = modality
        self.paths = tuple(paths)
        self._read = read_row
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> StoredRecords: ...
    def __getitem__(self, index: int | slice) -> Record | StoredRecords:
        if isinstance(index, slice):
            return self.select_rows(range(len(self))[index])
        return self._read(self._rows[index])

    def select_rows(self, rows: Sequence[int]) -> StoredRecords:
        """Select records by index in the given order, without reading them."""
        paths = [self.paths[row] for row in rows] if self.paths else ()
        return StoredRecords(self.modality, self._read, [self._rows[row] for row in rows], paths)


def records_from_paths(modality: Modality, paths: Sequence[Path]) -> StoredRecords:
    """Return the records of files that hold one record each, read when accessed."""
    return StoredRecords(modality, lambda row: modality.read(paths[row]), range(len(paths)), paths)
