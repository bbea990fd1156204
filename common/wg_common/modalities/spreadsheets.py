"""Conversion of .xlsx workbooks to CSV text: values only, no formulas.

A workbook is untrusted: the number and total size of its parts are checked before unpacking (a ZIP
entry cannot yield more than it declares), and XML entities are refused. The first sheet is read;
other sheets must be empty.
"""

import csv
import datetime
import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from wg_common.modalities.base import read_file
from wg_core.errors import DataError

XLSX_SUFFIX = ".xlsx"
FILE_BYTES_LIMIT = 64 << 20  # Largest workbook that is read, in bytes
UNPACKED_BYTES_LIMIT = 256 << 20  # Largest total size of its parts, unpacked, in bytes
PARTS_LIMIT = 1000  # Largest number of parts of a workbook
COLUMNS_LIMIT = 256  # Largest number of columns of a sheet; wider sheets are refused
ROWS_LIMIT = 1 << 20  # Largest number of rows of a sheet, empty ones too; longer ones are refused
ELEMENTS_LIMIT = 4 << 20  # Largest number of XML tags of a workbook


def workbook_to_csv(path: Path, max_rows: int | None = None) -> str:
    """Read the only sheet of an .xlsx workbook as CSV with commas.

    Args:
        path: Path of the workbook.
        max_rows: Number of nonempty rows to read; None for all. An empty row is an empty line.

    Raises:
        DataError: The file is not a workbook, is too large, or has several sheets.
    """
    import openpyxl

    data = read_file(path, FILE_BYTES_LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            too_large = len(parts) > PARTS_LIMIT
            too_large |= sum(part.file_size for part in parts) > UNPACKED_BYTES_LIMIT
            if too_large or sum(archive.read(part).count(b"<") for part in parts) > ELEMENTS_LIMIT:
                raise DataError(f"{path}: unpacks to too much; save the sheet as CSV")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that are not read
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = book.worksheets
        if any(any(_sheet_rows(sheet, path)) for sheet in sheets[1:]):
            raise DataError(
                f"{path}: several sheets; keep one, or save the one that is meant as CSV"
            )
        out, width, count = io.StringIO(newline=""), 0, 0
        table = csv.writer(out, quoting=csv.QUOTE_ALL)
        for row in _sheet_rows(sheets[0], path) if sheets else ():
            if count == max_rows:
                break
            if len(row) > COLUMNS_LIMIT:
                raise DataError(f"{path}: more than {COLUMNS_LIMIT} columns")
            width = width or len(row)
            count += bool(row)
            table.writerow([*map(_format_cell, row), *[""] * (width - len(row))] if row else [])
            if out.tell() > UNPACKED_BYTES_LIMIT:
                raise DataError(f"{path}: unpacks to too much; save the sheet as CSV")
    except DataError:
        raise
    except Exception as error:  # openpyxl raises many kinds on hostile files
        why = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{path}: not a workbook (.xlsx): {why}; save the sheet as CSV") from error
    return out.getvalue()


def _sheet_rows(sheet: object, path: Path) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a workbook's sheet, without trailing empty cells."""
    sheet.reset_dimensions()  # type: ignore[attr-defined]  # ignores the file's declared size
    rows = sheet.iter_rows(values_only=True, max_col=COLUMNS_LIMIT + 1)  # type: ignore[attr-defined]
    for number, row in enumerate(rows):
        if number >= ROWS_LIMIT:
            raise DataError(f"{path}: more than {ROWS_LIMIT} rows")
        width = max((place for place, value in enumerate(row, 1) if value is not None), default=0)
        yield row[:width]


def _format_cell(value: object) -> str:
    """Format a cell's value as a spreadsheet writes it into CSV, in one line."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value).replace("\r", " ").replace("\n", " ")
