"""Encodings, delimiters and decimal commas of text tables from machines and spreadsheets.

The encoding follows from a byte order mark (UTF-8, UTF-16), or else is UTF-8 or CP932, the superset
of Shift-JIS that Excel writes in Japan. A table whose first line has a tab or a semicolon outside
quotes is delimited by it, and its numbers may have a decimal comma; otherwise commas delimit.

A table of records collects lines of many people, and one line must not change how the others are
read. So each line is read by itself: it is UTF-8 if it can be, and else CP932; bytes that fit
neither are decoded to lone surrogates, which ``is_decodable_text`` finds. A cell has one line, and
an open quote ends with it.

*Not guaranteed:* that other legacy encodings are refused, since some of their bytes are valid
CP932. The plant can set the encoding (``data.reading.encoding``).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from wg_core.errors import DataError
from wg_core.site.reading_config import AUTO_TEXT_ENCODING

TIME_COLUMN_NAMES = frozenset(
    [
        "time",
        "timestamp",
        "time_stamp",
        "datetime",
        "date",
        "date_time",
        "elapsed",
        "elapsed_time",
        "time_s",
        "time_ms",
        "seconds",
        "時刻",
        "時間",
        "日時",
        "日付",
        "年月日",
        "経過時間",
    ]
)
"""Names of time columns, in lower case and without a unit in brackets."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_QUOTED_CELL = re.compile(r'"[^"]*"')
_BRACKET = re.compile(r"[\[(（]")
_DECIMAL_COMMA_NUMBER = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_PRIVATE_USE = re.compile("[\ue000-\uf8ff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER_BYTES_LIMIT = 64 << 10  # Largest header of a table, in bytes
_OPEN_QUOTE = "an open quote, or a line break in a cell; save the table as .xlsx or JSON lines"


def detect_encoding(
    data: bytes, file_name: str, configured_encoding: str = AUTO_TEXT_ENCODING
) -> str:
    """Return Python's name for the encoding of a text table.

    Args:
        data: The text, or its beginning up to the end of a line.
        file_name: Name of the file, for messages.
        configured_encoding: Configured encoding, one of
            ``wg_core.site.reading_config.TEXT_ENCODINGS``.

    Raises:
        DataError: The text is not in the configured encoding, or in none of the known ones.
    """
    marked_codec = next((codec for mark, codec in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    for encoding in (
        (configured_encoding,)
        if configured_encoding != AUTO_TEXT_ENCODING
        else (marked_codec,)
        if marked_codec
        else ("utf-8", "cp932")
    ):
        if (
            configured_encoding == AUTO_TEXT_ENCODING
            and marked_codec is None
            and b"\0" in data[:4096]
        ):
            continue  # UTF-16 without byte order mark, or not text
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if (
            encoding != "cp932"
            or configured_encoding != AUTO_TEXT_ENCODING
            or not _PRIVATE_USE.search(text)
        ):
            return encoding
    encodings = (
        configured_encoding
        if configured_encoding != AUTO_TEXT_ENCODING
        else "UTF-8, UTF-16 with its mark, or CP932 (Shift-JIS)"
    )
    raise DataError(
        f"{file_name}: not a text in {encodings}; save it as UTF-8, or say its encoding"
    )


def decode_table(
    data: bytes, file_name: str, configured_encoding: str = AUTO_TEXT_ENCODING
) -> tuple[str, str]:
    """Return the text and the encoding of a table; the encoding is found unless configured.

    Raises:
        DataError: The encoding is not found, or the table cannot be decoded.
    """
    header = data[:_HEADER_BYTES_LIMIT].partition(b"\n")[0]
    encoding = (
        detect_encoding(header, file_name, configured_encoding)
        if configured_encoding == AUTO_TEXT_ENCODING
        else configured_encoding
    )
    if encoding in ("utf-8", "cp932") and configured_encoding == AUTO_TEXT_ENCODING:
        return _decode_lines(data)
    # Lone surrogates in UTF-16 are kept; undecodable bytes in other encodings become surrogates.
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{file_name}: not a text in {encoding}; save it as UTF-8") from error
    return text.removeprefix("\ufeff"), encoding


def is_decodable_text(cell: str) -> bool:
    """Return True if a cell of a decoded table has no bytes outside the table's encoding."""
    return cell.isascii() or not _SURROGATE.search(cell)


def describe_wrong_encoding(encoding: str) -> str:
    """Return the error message for a row that is not text in the table's encoding."""
    return f"not a text in {encoding}; save the table as UTF-8, or say its encoding"


def read_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the nonempty rows of a CSV text, each with the number of its line.

    Each line is read by itself. A line that is not CSV, because a quote is open or misplaced,
    yields the error message in place of cells, and so does each line of a multi-line cell.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # lengths are checked later
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.count('"') % 2:
            yield number, f"not CSV: {_OPEN_QUOTE}"
            continue
        try:
            cells = next(csv.reader([line], strict=True, delimiter=delimiter), [])
        except csv.Error as error:
            yield number, f"not CSV: {error}"
            continue
        if cells:
            yield number, cells


def _decode_lines(data: bytes) -> tuple[str, str]:
    """Decode each line as UTF-8 or else CP932; return the text, and ``cp932`` if one needs it."""
    encoding, lines = "utf-8", []
    for line in data.split(b"\n"):
        try:
            decoded_line = line.decode()
        except UnicodeDecodeError:
            decoded_line = line.decode("utf-8", "surrogateescape")
            with suppress(UnicodeDecodeError):
                if not _PRIVATE_USE.search(legacy := line.decode("cp932")):
                    encoding, decoded_line = "cp932", legacy
        lines.append(decoded_line)
    return "\n".join(lines).removeprefix("\ufeff"), encoding


def decode_text(data: bytes, file_name: str, configured_encoding: str = AUTO_TEXT_ENCODING) -> str:
    """Decode a text of unknown or configured encoding; errors as for ``detect_encoding``."""
    return data.decode(detect_encoding(data, file_name, configured_encoding)).removeprefix("\ufeff")


def guess_delimiter(first_line: str) -> str:
    """Guess the delimiter of a table from its first line."""
    bare = _QUOTED_CELL.sub("", first_line)
    return next((delimiter for delimiter in ("\t", ";") if delimiter in bare), ",")


def parse_number(cell: str, delimiter: str) -> float:
    """Parse a cell as a number; a decimal comma is accepted unless commas delimit cells.

    Raises:
        ValueError: The cell is not a number.
    """
    if delimiter != "," and "," in cell and _DECIMAL_COMMA_NUMBER.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell[:40]!r}, expected a number") from None


def find_column(names: Sequence[str], column_name: str) -> int | None:
    """Return a column's index by its name, ignoring case and outer blanks if that is unique."""
    if column_name in names:
        return names.index(column_name)
    plain = [name.strip().casefold() for name in names]
    column_name = column_name.strip().casefold()
    return plain.index(column_name) if plain.count(column_name) == 1 else None


def is_time_column(name: str) -> bool:
    """Return True if a table column's name says that it holds times."""
    return (
        _BRACKET.split(name, maxsplit=1)[0].strip().casefold().replace(" ", "_")
        in TIME_COLUMN_NAMES
    )
