"""Records of one plant, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities.base import Record
from wg_common.modalities.stored_records import StoredRecords
from wg_core.privacy import schema

UNLABELLED = schema.NO_LABEL


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteData:
    """Records of one plant.

    Attributes:
        records: n records of one modality; sizes may differ.
        modality: Name of the modality.
        labels: int64 ``[n]``, index into ``label_names``; -1 = unlabelled.
        label_names: The declared label domain.
        names: A name for each record, for messages and predictions.
        privacy_units: Privacy unit of each record; None: each record is its own unit.
        source_rows: Row of each record in its ``.npz`` file or table; None: each record is a file.
    """

    records: Sequence[Record]
    modality: str
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    names: tuple[str, ...]
    privacy_units: tuple[str, ...] | None = None
    source_rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def occurring_labels(self) -> tuple[str, ...]:
        """Labels that occur among the records; unlike the label domain they are private."""
        indices = np.unique(self.labels[self.labels >= 0])
        return tuple(self.label_names[index] for index in indices)

    def select_rows(self, rows: Sequence[int]) -> SiteData:
        """Return the data of the given rows only, in the order given."""
        files = self.records
        return replace(
            self,
            records=files.select_rows(rows)
            if isinstance(files, StoredRecords)
            else [files[index] for index in rows],
            labels=self.labels[list(rows)],
            names=tuple(self.names[index] for index in rows),
            privacy_units=None
            if self.privacy_units is None
            else tuple(self.privacy_units[index] for index in rows),
            source_rows=None if self.source_rows is None else self.source_rows[list(rows)],
        )
