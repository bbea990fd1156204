"""Text tables as machines and spreadsheets write them: encodings, delimiters, decimal commas.

What is read, in this order: a byte order mark (UTF-8, UTF-16), UTF-8, and CP932, which is what
Excel writes in Japan and contains Shift-JIS. A table whose first line has a tab or a semicolon
outside quotes is delimited by it, and its numbers may have a decimal comma; else by commas.

Not guaranteed: that bytes in another old encoding are refused. Some are valid CP932; whoever knows
better names the encoding (``data.reading.encoding``).
"""

import codecs
import re
from collections.abc import Sequence

from wg_common.errors import DataError

ENCODINGS = ("auto", "utf-8", "utf-16", "cp932", "cp1252", "latin-1", "gb18030", "big5", "euc-kr")
"""Names that a configuration may give."""
AUTO = ENCODINGS[0]
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


def encoding_of(data: bytes, name: str, said: str = AUTO) -> str:
    """The encoding of a text by its first bytes, as Python calls it.

    Args:
        data: The text, or its beginning up to the end of a line.
        said: One of ``ENCODINGS``.

    Raises:
        DataError: It is none of those that are tried, or not the one that was said.
    """
    marked = next((found for mark, found in _MARKS if data.startswith(mark)), None)
    for encoding in (said,) if said != AUTO else (marked,) if marked else ("utf-8", "cp932"):
        if said == AUTO and marked is None and b"\0" in data[:4096]:
            continue  # UTF-16 without its mark, or no text at all
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp932" or said != AUTO or not _PRIVATE.search(text):
            return encoding
    tried = said if said != AUTO else "UTF-8, UTF-16 with its mark, or CP932 (Shift-JIS)"
    raise DataError(f"{name}: not a text in {tried}; save it as UTF-8, or say its encoding")


def decode_text(data: bytes, name: str, said: str = AUTO) -> str:
    """A text; arguments and errors as of ``encoding_of``."""
    return data.decode(encoding_of(data, name, said)).removeprefix("\ufeff")


def delimiter_of(first_line: str) -> str:
    """What stands between the cells of a table, by its first line."""
    bare = _QUOTED.sub("", first_line)
    return next((found for found in ("\t", ";") if found in bare), ",")


def number(cell: str, delimiter: str) -> float:
    """A number as it stands in a cell; with a decimal comma where no comma is a delimiter.

    Raises:
        ValueError: It is none.
    """
    if delimiter != "," and "," in cell and _COMMA.fullmatch(cell.strip()):
        cell = cell.replace(",", ".")
    return float(cell)


def find_column(names: Sequence[str], wanted: str) -> int | None:
    """Where a column stands: by its name, or by the one that differs in case and space alone."""
    if wanted in names:
        return names.index(wanted)
    plain = [name.strip().casefold() for name in names]
    wanted = wanted.strip().casefold()
    return plain.index(wanted) if plain.count(wanted) == 1 else None


def is_time(name: str) -> bool:
    """Whether a column's name says that it holds times."""
    return _UNIT.sub("", name).strip().casefold().replace(" ", "_") in TIME_NAMES
