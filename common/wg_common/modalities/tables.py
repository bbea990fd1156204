"""Encodings, delimiters and decimal commas of text tables from machines and spreadsheets.

The encoding follows from a byte order mark (UTF-8, UTF-16), or else is UTF-8 or CP932, the superset
of Shift-JIS that Excel writes in Japan. A table whose first line has a tab or a semicolon outside
quotes is delimited by it, and its numbers may have a decimal comma; otherwise commas delimit.

A table of records collects lines of many people, and one line must not change how the others are
read. So its encoding is the one that fits most lines with non-ASCII characters; bytes of a line
that do not fit are decoded to lone surrogates, which ``is_decodable_text`` finds.

*Not guaranteed:* that other legacy encodings are refused, since some of their bytes are valid
CP932. The plant can set the encoding (``data.reading.encoding``).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence

from wg_core.errors import DataError
from wg_core.site.reading import AUTO_ENCODING

BROKEN_LIMIT = 100  # Largest number of lines that are not CSV, each of which costs a full read

TIME_NAMES = frozenset(
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

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_QUOTED = re.compile(r'"[^"]*"')
_UNIT = re.compile(r"\s*[\[(（].*$")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_HALF = re.compile("[\ud800-\udfff]")
_HEADER_LIMIT = 64 << 10  # Largest header of a table, in bytes


def detect_encoding(data: bytes, name: str, choice: str = AUTO_ENCODING) -> str:
    """Return Python's name for the encoding of a text table.

    Args:
        data: The text, or its beginning up to the end of a line.
        name: Name of the file, for messages.
        choice: Configured encoding, one of ``wg_core.site.reading.ENCODINGS``.

    Raises:
        DataError: The text is not in the configured encoding, or in none of the known ones.
    """
    marked_codec = next((codec for mark, codec in _MARKS if data.startswith(mark)), None)
    for encoding in (
        (choice,)
        if choice != AUTO_ENCODING
        else (marked_codec,)
        if marked_codec
        else ("utf-8", "cp932")
    ):
        if choice == AUTO_ENCODING and marked_codec is None and b"\0" in data[:4096]:
            continue  # UTF-16 without byte order mark, or not text
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp932" or choice != AUTO_ENCODING or not _PRIVATE.search(text):
            return encoding
    encodings = (
        choice if choice != AUTO_ENCODING else "UTF-8, UTF-16 with its mark, or CP932 (Shift-JIS)"
    )
    raise DataError(f"{name}: not a text in {encodings}; save it as UTF-8, or say its encoding")


def decode_table(data: bytes, name: str, choice: str = AUTO_ENCODING) -> tuple[str, str]:
    """Decode a table of records; return text and encoding. Arguments as for ``detect_encoding``.

    Raises:
        DataError: The encoding is not found, or the table cannot be decoded.
    """
    header = data[:_HEADER_LIMIT].partition(b"\n")[0]
    encoding = detect_encoding(header, name, choice) if choice == AUTO_ENCODING else choice
    if encoding in ("utf-8", "cp932") and choice == AUTO_ENCODING:
        encoding = _of_most_lines(data)
    # Lone surrogates in UTF-16 are kept; undecodable bytes in other encodings become surrogates.
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not a text in {encoding}; save it as UTF-8") from error
    return text.removeprefix("\ufeff"), encoding


def is_decodable_text(cell: str) -> bool:
    """Return True if a cell of a decoded table has no bytes outside the table's encoding."""
    return cell.isascii() or not _HALF.search(cell)


def describe_wrong_encoding(encoding: str) -> str:
    """Return the error message for a row that is not text in the table's encoding."""
    return f"not a text in {encoding}; save the table as UTF-8, or say its encoding"


def read_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the nonempty rows of a CSV text, each with the number of its last line.

    A line that is not CSV, because a quote is unclosed or misplaced, yields the error message in
    place of cells. Reading goes on with the next line, so a bad record does not affect others.

    Raises:
        csv.Error: More than ``BROKEN_LIMIT`` lines are not CSV.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # lengths are checked later
    stream = io.StringIO(text, newline="")
    place = before = number = broken = 0
    reader = csv.reader(stream, strict=True, delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken += 1
            if broken > BROKEN_LIMIT:
                raise
            # An open quote may have taken all lines up to the end.
            stream.seek(place)
            stream.readline()
            number += 1
            yield number, f"not CSV: {error}"
            reader, before = csv.reader(stream, strict=True, delimiter=delimiter), number
        else:
            number = before + reader.line_num
            if cells:
                yield number, cells
        place = stream.tell()


def _of_most_lines(data: bytes) -> str:
    """Return the encoding, UTF-8 or CP932, that fits more non-ASCII lines of a table."""
    votes = 0
    for line in data.split(b"\n"):
        if not line.isascii():
            votes += 1 if _is(line, "utf-8") else -1 if _is(line, "cp932") else 0
    return "utf-8" if votes >= 0 else "cp932"


def _is(line: bytes, encoding: str) -> bool:
    try:
        return _PRIVATE.search(line.decode(encoding)) is None or encoding != "cp932"
    except UnicodeDecodeError:
        return False


def decode_text(data: bytes, name: str, choice: str = AUTO_ENCODING) -> str:
    """Decode a text of unknown encoding; arguments and errors as for ``detect_encoding``."""
    return data.decode(detect_encoding(data, name, choice)).removeprefix("\ufeff")


def guess_delimiter(first_line: str) -> str:
    """Guess the delimiter of a table from its first line."""
    bare = _QUOTED.sub("", first_line)
    return next((delimiter for delimiter in ("\t", ";") if delimiter in bare), ",")


def parse_number(cell: str, delimiter: str) -> float:
    """Parse a cell as a number; a decimal comma is accepted unless commas delimit cells.

    Raises:
        ValueError: The cell is not a number.
    """
    if delimiter != "," and "," in cell and _COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell[:40]!r}, expected a number") from None


def find_column(names: Sequence[str], column: str) -> int | None:
    """Return a table column's index by its name, ignoring case and blanks if unique."""
    if column in names:
        return names.index(column)
    plain = [name.strip().casefold() for name in names]
    column = column.strip().casefold()
    return plain.index(column) if plain.count(column) == 1 else None


def is_time_column(name: str) -> bool:
    """Return True if a table column's name says that it holds times."""
    return _UNIT.sub("", name).strip().casefold().replace(" ", "_") in TIME_NAMES
