"""Tables each of whose rows is a record: CSV with a header, or JSON lines with one object each.

The column that holds the record says of which modality the table is (``Modality.column``). Others
may name its label, its privacy unit, and its side of a split. Encodings and delimiters are those of
``tables``. A cell is made a record when it is asked for; the table itself is in memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from wg_common.errors import DataError
from wg_common.modalities import registry, tables
from wg_common.modalities.base import Modality, Record, read_file

TABLE_LIMIT = 256 << 20  # Largest table that is read, in bytes
JSON_LINES = ".jsonl"
_HEADER_LIMIT = 64 << 10
_FILE = "file"


class CellRecords(Sequence[Record]):
    """Cells as a sequence of records, each made when it is asked for.

    Attributes:
        modality: Of the records.
        cells: What the table has of each.
        names: Of each, for messages.
    """

    def __init__(self, modality: Modality, cells: Sequence[str], names: Sequence[str]) -> None:
        self.modality = modality
        self.cells = cells
        self.names = names

    def __len__(self) -> int:
        return len(self.cells)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> CellRecords: ...
    def __getitem__(self, index: int | slice) -> Record | CellRecords:
        if isinstance(index, slice):
            return CellRecords(self.modality, self.cells[index], self.names[index])
        return self.modality.from_cell(self.cells[index], self.names[index])

    def take(self, kept: Sequence[int]) -> CellRecords:
        """Some of the records, in the order given."""
        cells, names = ([found[row] for row in kept] for found in (self.cells, self.names))
        return CellRecords(self.modality, cells, names)


@dataclass(frozen=True, slots=True, eq=False)
class CellTable:
    """A table of n records.

    Attributes:
        records: The records.
        columns: Others that were asked for and are there, by name, n cells each.
        encoding: What the table was read in.
    """

    records: CellRecords
    columns: Mapping[str, Sequence[str]]
    encoding: str


def holds_records(path: Path) -> bool:
    """Whether a file is such a table, by its name, or its first line."""
    if path.suffix.lower() == JSON_LINES:
        return path.is_file()
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open("rb") as stream:
        first = stream.read(_HEADER_LIMIT).partition(b"\n")[0]
    try:
        return _modality(_header(tables.decode_text(first, str(path)))) is not None
    except (DataError, UnicodeDecodeError):  # half a sign of UTF-16; what it is, is said elsewhere
        return False


def read(path: Path, more: Collection[str] = (), encoding: str = tables.AUTO) -> CellTable:
    """Read a table.

    Args:
        more: Names of further columns, which need not be there.
        encoding: One of ``tables.ENCODINGS``.

    Raises:
        DataError: It cannot be read, or has no column of records; the line is named.
    """
    data = read_file(path, TABLE_LIMIT)
    found = tables.encoding_of(data, str(path), encoding)
    text = data.decode(found).removeprefix("\ufeff")
    rows = list(_objects(text, path) if path.suffix.lower() == JSON_LINES else _rows(text, path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    kind = _modality(names)
    if kind is None:
        wanted = registry.listed_columns()
        raise DataError(f"{path}: columns {names[:20]}, expected one of {wanted}")
    place = tables.find_column(names, kind.column)
    column = kind.column if place is None else names[place]
    columns = {}
    for name in more:
        at = tables.find_column(names, name)
        if at is not None:
            columns[name] = [row.get(names[at], "") for row in rows]
    cells = [row.get(column, "") for row in rows]
    called = [f"{path.name}[{row}]" for row in range(len(rows))]
    return CellTable(CellRecords(kind, cells, called), columns, found)


def _modality(names: Sequence[str]) -> Modality | None:
    """Of the records that a table holds; None: it holds none, or names the files of records."""
    if _FILE in names:
        return None
    return next(
        (
            kind
            for kind in registry.MODALITIES.values()
            if kind.column and tables.find_column(names, kind.column) is not None
        ),
        None,
    )


def _header(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=tables.delimiter_of(line)), [])
    except csv.Error:
        return []


def _rows(text: str, path: Path) -> Iterator[dict[str, str]]:
    delimiter = tables.delimiter_of(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = next(reader, [])
        if twice := {name for name in header if name and header.count(name) > 1}:
            raise DataError(f"{path}: column {min(twice)!r} stands there twice; keep one")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells, expected {len(header)}"
                )
            yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not CSV: {error}") from error


def _objects(text: str, path: Path) -> Iterator[dict[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}: line {number}: {type(found).__name__}, expected an object")
        yield {name: _cell(value, path, number) for name, value in found.items()}


def _cell(value: object, path: Path, number: int) -> str:
    """A value as a cell: strings, and whole numbers, such as a unit's, as they are written."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{path}: line {number}: {type(value).__name__}, expected strings")
