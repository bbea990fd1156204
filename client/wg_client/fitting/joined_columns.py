"""Columns of several arrays side by side, without a copy of them.

Local features of thousands of records are hundreds of megabytes, mapped from a file; the features
of a trunk that is fitted at the plant are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RowSelection = slice | NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class JoinedColumns:
    """Arrays of n rows that are read as one array ``[n, D]``.

    Attributes:
        arrays: At least one array; all have n rows, and at least one column.
    """

    arrays: Sequence[NDArray[np.floating] | JoinedColumns]

    @property
    def shape(self) -> tuple[int, int]:
        """Number n of rows, and number D of columns of all arrays together."""
        return len(self.arrays[0]), sum(part.shape[1] for part in self.arrays)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, place: tuple[RowSelection, slice]) -> NDArray[np.floating]:
        """Return some rows of adjacent columns."""
        rows, columns = place
        start, stop, _ = columns.indices(self.shape[1])
        pieces, end = [], 0
        for part in self.arrays:
            begin, end = end, end + part.shape[1]
            if start < end and begin < stop:
                pieces.append(part[rows, max(start - begin, 0) : stop - begin])
        return pieces[0] if len(pieces) == 1 else np.hstack(pieces)


Features = NDArray[np.floating] | JoinedColumns
"""Features ``[n, D]``, of one array or of several."""
