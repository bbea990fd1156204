"""Data set in one table, one record per row (``wg_common.modalities.record_tables``).

Columns beside the record itself: ``label`` (empty or missing: no label), the unit column, and
``split``, which is 0 for the plant's records and 1 for records that are held out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wg_client.data import dataset
from wg_client.data.label_table import check_similar_labels
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities import record_tables
from wg_core.errors import DataError
from wg_core.snapshot import UnusableItem

_LABEL_COLUMN, _SPLIT_COLUMN = "label", "split"


def survey_cell_table(table: Path, options: dataset.SurveyOptions) -> dataset.DatasetSurvey:
    """Survey a data set that is one table file: labels, units, usable rows and problems.

    Raises:
        DataError: The table as a whole cannot be used.
    """
    unit_column, reading, split = options.unit_column, options.reading, options.split
    label_column = reading.label_column or _LABEL_COLUMN
    cell_table = _read_table(table, options, label_column)
    n = len(cell_table.records)
    columns = cell_table.columns
    cell_labels = [dataset.normalise_name(c.strip()) for c in columns.get(label_column, [""] * n)]
    units = list(cell_table.columns[unit_column]) if unit_column else None
    sides = None if split is None else cell_table.columns.get(_SPLIT_COLUMN)
    parts = ("", "0") if split == 0 else (str(split),)
    reasons = [
        f"{cell_table.record_names[row]}: {why}" for row, why in cell_table.problems_by_row.items()
    ]
    labels = _label_domain(table, options.labels, cell_labels, reasons)
    index = dataset.label_positions(labels)
    usable: list[int] = []
    problems: list[UnusableItem] = []
    for row in range(n):
        reason = cell_table.problems_by_row.get(row, "")
        if not reason:
            if sides is not None and sides[row].strip() not in parts:
                continue
            if options.refuses_label(cell_labels[row], index):
                reason = dataset.explain_undeclared_label(cell_labels[row], labels)
            elif units is not None and not units[row].strip():
                reason = f"column {unit_column!r} is empty: no privacy unit"
        if reason:
            problems.append(UnusableItem(name=cell_table.record_names[row], reason=reason))
        else:
            usable.append(row)
    dataset.check_record_count(table, len(usable))
    hint = text(
        "{table}: read as CP932 (Shift-JIS); if texts look wrong, say --encoding", table=table.name
    )
    return dataset.DatasetSurvey(
        data=SiteData(
            records=cell_table.records.select_rows(usable),
            modality=cell_table.records.modality.name,
            labels=np.array(
                [index.get(cell_labels[row], UNLABELLED) for row in usable], dtype=np.int64
            ),
            label_names=tuple(labels),
            names=tuple(cell_table.record_names[row] for row in usable),
            privacy_units=None if units is None else tuple(units[row] for row in usable),
            source_rows=np.array(usable, dtype=np.int64),
        ),
        layout=text("a table with a record in each row"),
        problems=tuple(problems),
        hints=(hint,) if cell_table.encoding == "cp932" != reading.encoding else (),
        undeclared_labels=dataset.undeclared_labels(cell_labels, labels, options),
    )


def _read_table(
    table: Path, options: dataset.SurveyOptions, label_column: str
) -> record_tables.CellTable:
    """Read the requested columns of a table file; errors as for ``survey_cell_table``."""
    unit_column, reading = options.unit_column, options.reading
    columns = [label_column, _SPLIT_COLUMN, *([unit_column] if unit_column else [])]
    cell_table = record_tables.read_cell_table(
        table, columns, reading.encoding, reading.text_column
    )
    if reading.label_column and reading.label_column not in cell_table.columns:
        raise DataError(
            f"{table}: no column {reading.label_column!r} with the label of each record; found"
            f" {dataset.quote_names(cell_table.column_names)}"
        )
    if options.modality is not None:
        dataset.check_modality(options.modality, cell_table.records.modality.name, table)
    if unit_column and unit_column not in cell_table.columns:
        raise DataError(f"{table}: no column {unit_column!r} to name the privacy unit")
    return cell_table


def _label_domain(
    table: Path,
    declared_labels: Sequence[str] | None,
    cell_labels: Sequence[str],
    row_problems: Sequence[str],
) -> Sequence[str]:
    """Return the label domain: the declared labels, or else those in the table.

    Args:
        row_problems: Reasons why rows cannot be used; the first is reported if there is no label.

    Raises:
        DataError: There are no labels, or two labels of the table may be one class.
    """
    if declared_labels is None:
        declared_labels = sorted({label for label in cell_labels if label})
        check_similar_labels(table, declared_labels)
    if not declared_labels:
        reason = "".join(f"; {reason}" for reason in row_problems[:1])
        raise DataError(f"{table}: no labels; declare them (--labels a,b,c){reason}")
    return declared_labels
