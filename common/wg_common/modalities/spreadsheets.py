"""Sheets of .xlsx workbooks as the CSV text that they would be saved as: values alone, no formulas.

A workbook comes from anybody: its parts are counted and summed up before one is unpacked (an entry
of a ZIP archive cannot give more than it declares), and XML entities are refused. The first sheet
is read, and must be the only one with anything in it.
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

SUFFIX = ".xlsx"
FILE_LIMIT = 64 << 20  # Largest workbook that is read, in bytes
UNPACKED_LIMIT = 256 << 20  # Most bytes of all of its parts, unpacked
PARTS_LIMIT = 1000  # Most parts of a workbook
COLUMNS_LIMIT = 256  # Most columns of a sheet; what stands further right is refused
GAP_LIMIT = 1000  # Most empty rows between two others; a sheet ends there


def csv_text(path: Path, rows: int | None = None) -> str:
    """Read the sheet of a workbook as CSV with commas.

    Args:
        rows: Number of rows that are enough; None: all.

    Raises:
        DataError: It is no workbook, too large, or has several sheets.
    """
    import openpyxl

    data = read_file(path, FILE_LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
        if len(parts) > PARTS_LIMIT or sum(part.file_size for part in parts) > UNPACKED_LIMIT:
            raise DataError(f"{path}: unpacks to too much; save the sheet as CSV")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that are not read
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = book.worksheets
        if any(next(_rows(sheet), None) is not None for sheet in sheets[1:]):
            raise DataError(
                f"{path}: several sheets; keep one, or save the one that is meant as CSV"
            )
        out, width = io.StringIO(newline=""), 0
        table = csv.writer(out, quoting=csv.QUOTE_ALL)
        for number, row in enumerate(_rows(sheets[0]) if sheets else ()):
            if rows is not None and number >= rows:
                break
            if len(row) > COLUMNS_LIMIT:
                raise DataError(f"{path}: more than {COLUMNS_LIMIT} columns")
            width = width or len(row)
            table.writerow([*map(_cell, row), *[""] * (width - len(row))])
            if out.tell() > UNPACKED_LIMIT:
                raise DataError(f"{path}: unpacks to too much; save the sheet as CSV")
    except DataError:
        raise
    except Exception as error:  # a library's, on a hostile file: of many kinds
        why = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{path}: not a workbook (.xlsx): {why}; save the sheet as CSV") from error
    return out.getvalue()


def _rows(sheet: object) -> Iterator[tuple[object, ...]]:
    """Rows of a sheet that have a value, without the empty cells behind the last."""
    sheet.reset_dimensions()  # type: ignore[attr-defined]  # what a file says of its size
    gap = 0
    for row in sheet.iter_rows(values_only=True, max_col=COLUMNS_LIMIT + 1):  # type: ignore[attr-defined]
        width = max((place for place, value in enumerate(row, 1) if value is not None), default=0)
        gap = 0 if width else gap + 1
        if gap > GAP_LIMIT:
            return
        if width:
            yield row[:width]


def _cell(value: object) -> str:
    """A value as a spreadsheet would write it into CSV, in one line."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value).replace("\r", " ").replace("\n", " ")
