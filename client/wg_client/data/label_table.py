"""A data set in a folder with ``records.csv``: columns file, label and, if named, the unit column.

Encodings, delimiters and how columns are found: ``wg_common.modalities.tables``.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_client.data import dataset
from wg_client.data.folders import Found, finish, inside
from wg_client.site.reading import ReadingConfig
from wg_common import atomic
from wg_common.errors import DataError
from wg_common.modalities import registry, tables

CSV_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table."""

    file: str
    label: str
    unit: str


def survey_table(
    path: Path,
    labels: Sequence[str] | None,
    unit_column: str | None,
    modality: str | None,
    reading: ReadingConfig,
) -> dataset.Survey:
    """Look a table and its files through; arguments as of ``dataset.survey``.

    Raises:
        DataError: The table as a whole cannot be read.
    """
    found = Found()
    rows = _read(path / dataset.RECORDS_CSV, unit_column, reading, found)
    if labels is None:
        labels = sorted({row.label for row in rows.values() if row and row.label})
        check_case(path / dataset.RECORDS_CSV, labels)
    if not labels:
        raise DataError(f"{path / dataset.RECORDS_CSV}: no labels; declare them (--labels a,b,c)")
    index = dataset.label_index(labels)
    for number, row in rows.items():
        reason = _row_problem(path, row, labels, index) if row else "too few columns"
        if row and not reason and unit_column and not row.unit.strip():
            reason = f"column {unit_column!r} is empty: no privacy unit"
        if reason or row is None:
            name = f"{dataset.RECORDS_CSV}: line {number}"
            found.problems.append(dataset.Problem(name=name, reason=reason))
            continue
        found.paths.append(path / row.file)
        found.labels.append(index.get(row.label, dataset.UNLABELLED))
        found.units.append(row.unit)
    return finish(path, found, labels, modality, reading, with_units=unit_column is not None)


def _read(
    table: Path, unit_column: str | None, reading: ReadingConfig, found: Found
) -> dict[int, _Row | None]:
    """Lines by their number; None: one that is too short."""
    data = atomic.read_bytes(table, limit=CSV_LIMIT)
    encoding = tables.encoding_of(data, str(table), reading.encoding)
    if encoding == "cp932" and reading.encoding == tables.AUTO:
        found.hints.append(
            f"{table.name}: read as CP932 (Shift-JIS); if names look wrong, say --encoding"
        )
    text = data.decode(encoding).removeprefix("\ufeff")
    wanted = ["file", "label", *([unit_column] if unit_column else [])]
    delimiter = tables.delimiter_of(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    rows: dict[int, _Row | None] = {}
    try:
        header = next(reader, [])
        places = [tables.find_column(header, column) for column in wanted]
        for column, place in zip(wanted, places, strict=True):
            if place is None:
                raise DataError(
                    f"{table}: no column {column!r}; found {dataset.listed(header)}, expected"
                    f" {dataset.listed(wanted)}"
                )
            if header.count(header[place]) > 1:
                raise DataError(f"{table}: column {header[place]!r} stands there twice; keep one")
        columns = [place for place in places if place is not None]
        for number, cells in enumerate(reader, 2):
            if not cells:
                continue
            if len(cells) <= max(columns):
                rows[number] = None
                continue
            file, label, *unit = (cells[place] for place in columns)
            rows[number] = _Row(file, dataset.composed(label), unit[0] if unit else "")
    except csv.Error as error:
        raise DataError(f"{table}: line {reader.line_num}: not CSV: {error}") from error
    return rows


def check_case(table: Path, labels: Sequence[str]) -> None:
    """Refuse labels that may be one class or two.

    Raises:
        DataError: Two differ in case or space alone.
    """
    seen: dict[str, str] = {}
    for label in labels:
        twin = seen.setdefault(label.strip().casefold(), label)
        if twin != label:
            raise DataError(
                f"{table}: labels {twin!r} and {label!r} differ in case or space alone: one class"
                " or two? write one of them throughout, or declare both (--labels)"
            )


def _row_problem(path: Path, row: _Row, labels: Sequence[str], index: dict[str, int]) -> str:
    """Why a row of the table cannot be used, or nothing."""
    entry = path / row.file
    try:
        good = inside(path, entry) and dataset.is_record(entry) and entry.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        good = False
    if not good:
        return f"{row.file[:200]!r} is no file of {registry.listed('title', 'or')} in this folder"
    if row.label and row.label not in index:
        return dataset.undeclared(row.label, labels)
    return ""
