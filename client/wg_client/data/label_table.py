"""Data set in a folder with ``records.csv``: columns file, label and, if named, the unit column.

Encodings, delimiters and the search for columns are in ``wg_common.modalities.table_text``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_client.data import dataset
from wg_client.data.class_folders import CollectedFiles, is_inside, survey_collected_files
from wg_client.data.site_data import UNLABELLED
from wg_common.language import text
from wg_common.modalities import registry, table_text
from wg_common.modalities.base import read_file
from wg_core.errors import DataError
from wg_core.site.reading_config import AUTO_TEXT_ENCODING, ReadingConfig
from wg_core.snapshot import UnusableItem

LABEL_TABLE_BYTES_LIMIT = 256 << 20
_HEADER_BYTES_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class _LabelRow:
    """Row of a label table: a record's file, its label and its privacy unit."""

    file: str
    label: str
    privacy_unit: str


def survey_label_table(path: Path, options: dataset.SurveyOptions) -> dataset.DatasetSurvey:
    """Survey the data set of a ``records.csv`` and the files that its rows name.

    Raises:
        DataError: The table as a whole cannot be read.
    """
    labels, unit_column = options.labels, options.unit_column
    sorted_files = CollectedFiles(
        privacy_units=None if unit_column is None else [], layout=text("records.csv and its files")
    )
    rows = _read_rows_by_line(
        path / dataset.RECORDS_CSV_NAME, unit_column, options.reading, sorted_files
    )
    if labels is None:
        labels = sorted(
            {row.label for row in rows.values() if not isinstance(row, str) and row.label}
        )
        check_similar_labels(path / dataset.RECORDS_CSV_NAME, labels)
    if not labels:
        bad = [f"; line {number}: {row}" for number, row in rows.items() if isinstance(row, str)]
        table = path / dataset.RECORDS_CSV_NAME
        raise DataError(f"{table}: no labels; declare them (--labels a,b,c){''.join(bad[:1])}")
    index = dataset.label_positions(labels)
    sorted_files.undeclared_labels = dataset.undeclared_labels(
        [row.label for row in rows.values() if not isinstance(row, str)], labels, options
    )
    for number, row in rows.items():
        reason = row if isinstance(row, str) else _row_problem(path, row)
        if not reason and not isinstance(row, str) and options.refuses_label(row.label, index):
            reason = dataset.explain_undeclared_label(row.label, labels)
        if not reason and unit_column and not isinstance(row, str) and not row.privacy_unit.strip():
            reason = f"column {unit_column!r} is empty: no privacy unit"
        if reason or isinstance(row, str):
            name = f"{dataset.RECORDS_CSV_NAME}: line {number}"
            sorted_files.problems.append(UnusableItem(name=name, reason=reason))
            continue
        sorted_files.paths.append(path / row.file)
        sorted_files.labels.append(index.get(row.label, UNLABELLED))
        if sorted_files.privacy_units is not None:
            sorted_files.privacy_units.append(row.privacy_unit)
    return survey_collected_files(path, sorted_files, labels, options)


def explain_wrong_table(table: Path, unit_column: str | None, reading: ReadingConfig) -> str:
    """Explain why a file's first line is not the header of a label table; empty if it is one."""
    try:
        with table.open("rb") as stream:
            header = stream.read(_HEADER_BYTES_LIMIT).partition(b"\n")[0]
        content, _ = table_text.decode_table(header, str(table), reading.encoding)
        _find_columns(
            next(_numbered_rows(content), (0, []))[1],
            unit_column,
            reading.label_column or "label",
            table,
        )
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except DataError as error:
        return str(error).removeprefix(f"{table}: ")
    return ""


def _numbered_rows(content: str) -> Iterator[tuple[int, list[str] | str]]:
    return table_text.read_rows(content, table_text.guess_delimiter(content.partition("\n")[0]))


def _find_columns(
    header: Sequence[str] | str, unit_column: str | None, label_column: str, table: Path
) -> list[int]:
    """Return the positions of the columns for file, label and unit in a table's header.

    Raises:
        DataError: A column is missing, or its name occurs twice.
    """
    if isinstance(header, str):
        raise DataError(f"{table}: line 1: {header}")
    required_columns = ["file", label_column, *([unit_column] if unit_column else [])]
    places = []
    for column in required_columns:
        place = table_text.find_column(header, column)
        if place is None:
            raise DataError(
                f"{table}: no column {column!r}; found {dataset.quote_names(header)}, expected"
                f" {dataset.quote_names(required_columns)}"
            )
        if header.count(header[place]) > 1:
            raise DataError(f"{table}: column {header[place]!r} stands there twice; keep one")
        places.append(place)
    return places


def _read_rows_by_line(
    table: Path, unit_column: str | None, reading: ReadingConfig, collected_files: CollectedFiles
) -> dict[int, _LabelRow | str]:
    """Return a table's rows by line number; a string instead of a row states its problem."""
    data = read_file(table, LABEL_TABLE_BYTES_LIMIT)
    content, encoding = table_text.decode_table(data, str(table), reading.encoding)
    if encoding == "cp932" and reading.encoding == AUTO_TEXT_ENCODING:
        collected_files.hints.append(
            text(
                "{table}: read as CP932 (Shift-JIS); if names look wrong, say --encoding",
                table=table.name,
            )
        )
    lines = _numbered_rows(content)
    rows: dict[int, _LabelRow | str] = {}
    columns = _find_columns(
        next(lines, (0, []))[1], unit_column, reading.label_column or "label", table
    )
    for number, cells in lines:
        if isinstance(cells, str):
            rows[number] = cells
            continue
        if len(cells) <= max(columns):
            rows[number] = "too few columns"
            continue
        file, label, *unit = (cells[place] for place in columns)
        file = file.strip().replace("\\", "/")  # as Windows writes it
        rows[number] = _LabelRow(file, dataset.normalise_name(label), unit[0] if unit else "")
        if not all(map(table_text.is_decodable_text, cells)):
            rows[number] = table_text.describe_wrong_encoding(encoding)
    return rows


def check_similar_labels(table: Path, labels: Sequence[str]) -> None:
    """Refuse labels that may mean the same class.

    Raises:
        DataError: Two labels differ only in case or surrounding space.
    """
    spellings: dict[str, str] = {}
    for label in labels:
        twin = spellings.setdefault(label.strip().casefold(), label)
        if twin != label:
            raise DataError(
                f"{table}: labels {twin!r} and {label!r} differ in case or space alone: one class"
                " or two? write one of them throughout, or declare both (--labels)"
            )


def _row_problem(folder: Path, row: _LabelRow) -> str:
    """Explain why a row of the table names no record; empty if it names one."""
    entry = folder / row.file
    try:
        good = is_inside(folder, entry) and dataset.is_record_file(entry) and entry.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        good = False
    if not good:
        kinds = registry.list_modality_attribute("title", "or")
        return f"{row.file[:200]!r} is no file of {kinds} in this folder"
    return ""
