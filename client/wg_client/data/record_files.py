"""Record files of one modality as a sequence, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from wg_common.modalities.base import Modality, Record


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

    def take(self, kept: Sequence[int]) -> RecordFiles:
        """Some of the files, in the order given."""
        return RecordFiles(self.modality, [self.paths[index] for index in kept])
