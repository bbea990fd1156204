"""Tables with one record per row: CSV or .xlsx with a header, or JSON lines of objects.

The name of the record column determines the table's modality (``Modality.record_column``). Other
columns may hold the label, the privacy unit, and the split. Encodings and delimiters are those of
``table_text``. The table is held in memory; a record is decoded from its cell on access.

A row that cannot be used (wrong number of cells, not CSV or JSON, not in the encoding) is
reported; the other rows are read.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_common.modalities import registry, spreadsheets, table_text
from wg_common.modalities.base import Modality, Record, read_file
from wg_common.modalities.stored_records import StoredRecords
from wg_core.errors import DataError
from wg_core.site.reading_config import AUTO_TEXT_ENCODING

TABLE_BYTES_LIMIT = 256 << 20  # Largest table that is read, in bytes
JSON_LINES_SUFFIX = ".jsonl"
_HEADER_BYTES_LIMIT = 64 << 10
_FILE_COLUMN = "file"


@dataclass(frozen=True, slots=True, eq=False)
class CellTable:
    """Table with one record in each of its n rows.

    Attributes:
        records: The records.
        record_names: Name of each record, for messages: the file, and the row as a spreadsheet
            counts it, whose header is row 1 (in JSON lines: the line).
        columns: Cells ``[n]`` of requested further columns by name; absent columns are omitted.
        encoding: Encoding that the table was read with.
        problems_by_row: By row index, the reason why a row cannot be used; its cells are empty.
        column_names: Names of all columns.
    """

    records: StoredRecords
    record_names: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    encoding: str
    problems_by_row: Mapping[int, str]
    column_names: Sequence[str]


def may_be_table(path: Path) -> bool:
    """Return True if a file's suffix is that of a table."""
    suffixes = (".csv", spreadsheets.XLSX_SUFFIX, JSON_LINES_SUFFIX)
    return path.suffix.lower() in suffixes and path.is_file()


def is_record_table(
    path: Path, modality: str | None = None, text_column: str | None = None
) -> bool:
    """Return True if a file is a table of records, by its name or its first line.

    Args:
        path: Path of the file.
        modality: Name of the required modality; None accepts any.
        text_column: Name of the column of texts; None for its default name.

    Raises:
        DataError: The file is a workbook that cannot be read.
    """
    if not may_be_table(path):
        return False
    if path.suffix.lower() == JSON_LINES_SUFFIX:
        return True
    if path.suffix.lower() == spreadsheets.XLSX_SUFFIX:
        line = spreadsheets.workbook_to_csv(path, max_rows=1).strip()
        return _table_modality(_parse_header(line), text_column) is not None
    with path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES_LIMIT).partition(b"\n")[0]
    try:
        kind = _table_modality(
            _parse_header(table_text.decode_text(header, str(path))), text_column
        )
        return kind is not None and modality in (None, kind.name)
    except (DataError, UnicodeDecodeError):  # half a UTF-16 character; reported elsewhere
        return False


def read_cell_table(
    path: Path,
    extra_columns: Collection[str] = (),
    encoding: str = AUTO_TEXT_ENCODING,
    text_column: str | None = None,
) -> CellTable:
    """Read a table with one record in each row.

    Args:
        path: Path of the file.
        extra_columns: Names of further columns, which may be absent.
        encoding: One of ``wg_core.site.reading_config.TEXT_ENCODINGS``.
        text_column: Name of the column of texts; None for its default name.

    Raises:
        DataError: The table cannot be read, or has no column of records.
    """
    if path.suffix.lower() == spreadsheets.XLSX_SUFFIX:
        text, used_encoding = spreadsheets.workbook_to_csv(path), "utf-8"
    else:
        text, used_encoding = table_text.decode_table(
            read_file(path, TABLE_BYTES_LIMIT), str(path), encoding
        )
    if path.suffix.lower() == JSON_LINES_SUFFIX:
        numbered_rows = dict(_json_rows(text, used_encoding))
        headers = [list(row) for row in numbered_rows.values() if not isinstance(row, str)]
    else:
        numbered_rows = {}
        headers = [_header_and_rows(text, path, used_encoding, numbered_rows)]
    rows = list(numbered_rows.values())
    kinds = (_table_modality(header, text_column) for header in headers)
    kind = next((candidate for candidate in kinds if candidate is not None), None)
    if kind is None:
        names = list(dict.fromkeys(name for header in headers for name in header))[:20]
        column_names = registry.list_record_columns() if text_column is None else repr(text_column)
        raise DataError(
            f"{path}: no column {column_names}; found {names}; name the column of texts"
            " (--text-column)"
        )
    columns = {
        name: [_cell_text(row, name) for row in rows]
        for name in extra_columns
        if any(table_text.find_column(header, name) is not None for header in headers)
    }
    cells = [_cell_text(row, text_column or kind.record_column) for row in rows]
    word = "line" if path.suffix.lower() == JSON_LINES_SUFFIX else "row"
    names = [f"{path.name} {word} {number}" for number in numbered_rows]
    problems = {number: row for number, row in enumerate(rows) if isinstance(row, str)}

    def cell(row: int) -> Record:
        return kind.decode_cell(cells[row], names[row])

    records = StoredRecords(kind, cell, range(len(rows)))
    header = list(dict.fromkeys(name for names in headers for name in names))
    return CellTable(records, names, columns, used_encoding, problems, header)


def _cell_text(row: dict[str, str] | str, column: str) -> str:
    """Return the text of a row's cell; empty if the row has no such cell or cannot be used."""
    if isinstance(row, str):
        return ""
    if column in row:
        return row[column]
    place = table_text.find_column(list(row), column)
    return "" if place is None else list(row.values())[place]


def _table_modality(names: Sequence[str], text_column: str | None) -> Modality | None:
    """Return the modality of a table's records; None if rows are not records by themselves."""
    if _FILE_COLUMN in names:
        return None
    return next(
        (
            kind
            for kind in registry.MODALITIES.values()
            if kind.record_column
            and table_text.find_column(names, text_column or kind.record_column) is not None
        ),
        None,
    )


def _parse_header(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=table_text.guess_delimiter(line)), [])
    except csv.Error:
        return []


def _header_and_rows(
    text: str, path: Path, encoding: str, rows: dict[int, dict[str, str] | str]
) -> list[str]:
    """Return a CSV table's header; fill ``rows``, by line number, with cells by name or errors."""
    lines = table_text.read_rows(text, table_text.guess_delimiter(text.partition("\n")[0]))
    _, header = next(lines, (0, []))
    if isinstance(header, str):
        raise DataError(f"{path}: line 1: {header}")
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise DataError(f"{path}: column {min(twice)!r} stands there twice; keep one")
    for number, cells in lines:
        if isinstance(cells, str):
            rows[number] = cells
        elif len(cells) != len(header):
            rows[number] = f"{len(cells)} cells, expected {len(header)}"
        elif not all(map(table_text.is_decodable_text, cells)):
            rows[number] = table_text.describe_wrong_encoding(encoding)
        else:
            rows[number] = dict(zip(header, cells, strict=True))
    return header


def _json_rows(text: str, encoding: str) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Yield line number and object of each JSON line, or an error message in the object's place."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            decoded_line = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"
            continue
        if not isinstance(decoded_line, dict):
            yield number, f"{type(decoded_line).__name__}, expected an object"
            continue
        row = {name: _json_cell(value) for name, value in decoded_line.items()}
        wrong = next((name for name, cell in row.items() if cell is None), None)
        if wrong is not None:
            yield number, f"{type(decoded_line[wrong]).__name__}, expected strings"
        elif all(map(table_text.is_decodable_text, [*row, *(cell or "" for cell in row.values())])):
            yield number, {name: cell or "" for name, cell in row.items()}
        else:
            yield number, table_text.describe_wrong_encoding(encoding)


def _json_cell(value: object) -> str | None:
    """Convert a JSON string, integer or null to a table cell; None for any other value."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
