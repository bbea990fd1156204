"""A data set in one table each of whose rows is a record (``wg_common.modalities.cells``).

Columns beside the record's own: ``label`` (empty or missing: no label), the unit column, and
``split``, which is 0 for the plant's records and 1 for those held out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wg_client.data import dataset
from wg_client.data.label_table import check_case
from wg_common.modalities import cells
from wg_core.errors import DataError
from wg_core.site.reading import ReadingConfig
from wg_core.snapshot import Problem

_LABEL, _SPLIT = "label", "split"


def survey_cells(
    table: Path,
    labels: Sequence[str] | None,
    unit_column: str | None,
    split: int | None,
    modality: str | None,
    reading: ReadingConfig,
) -> dataset.Survey:
    """Look a table through; ``table`` is the file, other arguments as of ``survey.survey``.

    Raises:
        DataError: The table as a whole cannot be used.
    """
    wanted = [_LABEL, _SPLIT, *([unit_column] if unit_column else [])]
    found = cells.read(table, wanted, reading.encoding)
    if modality is not None:
        dataset.check_modality(modality, found.records.modality.name, table)
    if unit_column and unit_column not in found.columns:
        raise DataError(f"{table}: no column {unit_column!r} to name the privacy unit")
    n = len(found.records)
    said = [dataset.composed(cell.strip()) for cell in found.columns.get(_LABEL, [""] * n)]
    units = list(found.columns[unit_column]) if unit_column else None
    sides = None if split is None else found.columns.get(_SPLIT)
    parts = ("", "0") if split == 0 else (str(split),)
    labels = _domain(table, labels, said)
    index = dataset.label_index(labels)
    kept: list[int] = []
    problems: list[Problem] = []
    for row in range(n):
        reason = found.problems.get(row, "")
        if not reason:
            if sides is not None and sides[row].strip() not in parts:
                continue
            if said[row] and said[row] not in index:
                reason = dataset.undeclared(said[row], labels)
            elif units is not None and not units[row].strip():
                reason = f"column {unit_column!r} is empty: no privacy unit"
        if reason:
            problems.append(Problem(name=found.records.names[row], reason=reason))
        else:
            kept.append(row)
    dataset.check_count(table, len(kept))
    hint = f"{table.name}: read as CP932 (Shift-JIS); if texts look wrong, say --encoding"
    return dataset.Survey(
        data=dataset.SiteData(
            records=found.records.take(kept),
            modality=found.records.modality.name,
            labels=np.array(
                [index.get(said[row], dataset.UNLABELLED) for row in kept], dtype=np.int64
            ),
            label_names=tuple(labels),
            names=tuple(found.records.names[row] for row in kept),
            units=None if units is None else tuple(units[row] for row in kept),
            rows=np.array(kept, dtype=np.int64),
        ),
        problems=tuple(problems),
        hints=(hint,) if found.encoding == "cp932" != reading.encoding else (),
    )


def _domain(table: Path, labels: Sequence[str] | None, said: Sequence[str]) -> Sequence[str]:
    """The labels that are declared, or those that the table has.

    Raises:
        DataError: There are none, or two of the table's may be one class.
    """
    if labels is None:
        labels = sorted({label for label in said if label})
        check_case(table, labels)
    if not labels:
        raise DataError(f"{table}: no labels; declare them (--labels a,b,c)")
    return labels
