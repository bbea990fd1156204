"""Text tables as machines and spreadsheets write them: encodings, delimiters, decimal commas.

What is read, in this order: a byte order mark (UTF-8, UTF-16), UTF-8, and CP932, which is what
Excel writes in Japan and contains Shift-JIS. A table whose first line has a tab or a semicolon
outside quotes is delimited by it, and its numbers may have a decimal comma; else by commas.

A table of records is one file of many people's lines, and one of them must not change how the
others are read: there the encoding is the one that most lines with other signs than ASCII are in,
and what of a line is not in it stands there as halves of surrogate pairs, for ``is_text`` to find.

Not guaranteed: that bytes in another old encoding are refused. Some are valid CP932; whoever knows
better names the encoding (``data.reading.encoding``).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence

from wg_core.errors import DataError
from wg_core.site.reading import AUTO

BROKEN_LIMIT = 100  # Most lines of a table that may be no CSV: each is read to the end for a quote

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
"""How a column of times is called, in small letters and without a unit in brackets."""

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
_HEADER_LIMIT = 64 << 10  # Most bytes of a table's header


def encoding_of(data: bytes, name: str, choice: str = AUTO) -> str:
    """The encoding of a text by its first bytes, as Python calls it.

    Args:
        data: The text, or its beginning up to the end of a line.
        choice: One of ``wg_core.site.reading.ENCODINGS``.

    Raises:
        DataError: It is none of those that are tried, or not the one that was said.
    """
    marked_codec = next((codec for mark, codec in _MARKS if data.startswith(mark)), None)
    for encoding in (
        (choice,) if choice != AUTO else (marked_codec,) if marked_codec else ("utf-8", "cp932")
    ):
        if choice == AUTO and marked_codec is None and b"\0" in data[:4096]:
            continue  # UTF-16 without its mark, or no text at all
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp932" or choice != AUTO or not _PRIVATE.search(text):
            return encoding
    encodings = choice if choice != AUTO else "UTF-8, UTF-16 with its mark, or CP932 (Shift-JIS)"
    raise DataError(f"{name}: not a text in {encodings}; save it as UTF-8, or say its encoding")


def decode_table(data: bytes, name: str, choice: str = AUTO) -> tuple[str, str]:
    """A table of records as text, and its encoding; arguments as of ``encoding_of``.

    Raises:
        DataError: It is none of those that are tried, or its first line is no text.
    """
    header = data[:_HEADER_LIMIT].partition(b"\n")[0]
    encoding = encoding_of(header, name, choice) if choice == AUTO else choice
    if encoding in ("utf-8", "cp932") and choice == AUTO:
        encoding = _of_most_lines(data)
    # Of UTF-16 a lone half of a pair is left as it is; of others, each byte that cannot be.
    errors = "surrogatepass" if encoding == "utf-16" else "surrogateescape"
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not a text in {encoding}; save it as UTF-8") from error
    return text.removeprefix("\ufeff"), encoding


def is_text(cell: str) -> bool:
    """Return whether all of a cell of ``decode_table`` is in the table's encoding."""
    return cell.isascii() or not _HALF.search(cell)


def not_in(encoding: str) -> str:
    """Word the problem of a row that is not text in the table's encoding."""
    return f"not a text in {encoding}; save the table as UTF-8, or say its encoding"


def read_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Read a CSV text row by row, empty lines apart, each with the number of its last line.

    A line that is not CSV, since a quote is not closed or stands where none can be, is given as the
    reason, and reading goes on with the line after it: a record takes no other one with it.

    Raises:
        csv.Error: More than ``BROKEN_LIMIT`` lines are none.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # what is too long is said later
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
    """UTF-8 or CP932: what most lines with signs beyond ASCII are in; UTF-8 where it is even."""
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


def decode_text(data: bytes, name: str, choice: str = AUTO) -> str:
    """A text; arguments and errors as of ``encoding_of``."""
    return data.decode(encoding_of(data, name, choice)).removeprefix("\ufeff")


def delimiter_of(first_line: str) -> str:
    """Guess the delimiter of a table from its first line."""
    bare = _QUOTED.sub("", first_line)
    return next((delimiter for delimiter in ("\t", ";") if delimiter in bare), ",")


def number(cell: str, delimiter: str) -> float:
    """A number as it stands in a cell; with a decimal comma where no comma is a delimiter.

    Raises:
        ValueError: It is none.
    """
    if delimiter != "," and "," in cell and _COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell[:40]!r}, expected a number") from None


def find_column(names: Sequence[str], column: str) -> int | None:
    """Where a column stands: by its name, or by the one that differs in case and space alone."""
    if column in names:
        return names.index(column)
    plain = [name.strip().casefold() for name in names]
    column = column.strip().casefold()
    return plain.index(column) if plain.count(column) == 1 else None


def is_time(name: str) -> bool:
    """Return whether a column's name says that it holds times."""
    return _UNIT.sub("", name).strip().casefold().replace(" ", "_") in TIME_NAMES
