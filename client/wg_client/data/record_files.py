"""Record files of one modality, and windows of logs, as sequences that are read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from wg_common.modalities.base import Modality, Record

ReadWindow = Callable[[Path, int], Record]  # Reads the window of a log that begins at a row


class RecordFiles(Sequence[Record]):
    """Files as a sequence of records. A plant's folder may not fit in memory; its features do."""

    def __init__(self, modality: Modality, paths: Sequence[Path]) -> None:
        self.modality = modality
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> RecordFiles: ...
    def __getitem__(self, index: int | slice) -> Record | RecordFiles:
        if isinstance(index, slice):
            return RecordFiles(self.modality, self.paths[index])
        return self.modality.read(self.paths[index])

    def take(self, rows: Sequence[int]) -> RecordFiles:
        """Some of the files, in the order given."""
        return RecordFiles(self.modality, [self.paths[index] for index in rows])


class LogRecords(Sequence[Record]):
    """Windows of long sensor logs as a sequence of records.

    Attributes:
        paths: The log of each window.
    """

    def __init__(self, read: ReadWindow, paths: Sequence[Path], starts: Sequence[int]) -> None:
        self._read = read
        self.paths = tuple(paths)
        self._starts = tuple(starts)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> LogRecords: ...
    def __getitem__(self, index: int | slice) -> Record | LogRecords:
        if isinstance(index, slice):
            return LogRecords(self._read, self.paths[index], self._starts[index])
        return self._read(self.paths[index], self._starts[index])

    def take(self, rows: Sequence[int]) -> LogRecords:
        """Some of the windows, in the order given."""
        return LogRecords(
            self._read, [self.paths[row] for row in rows], [self._starts[row] for row in rows]
        )
