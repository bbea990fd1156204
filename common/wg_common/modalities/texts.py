"""Texts: what is accepted as one, and how it is read.

A record is one text of any language, a NumPy string of no dimension: Unicode's composed form, runs
of white space one blank. A ``.txt`` file is one text; of a table with a column ``text`` each row is
one (``cells``). Encodings are those of ``tables``. Nothing is cut off: a text that is too long, or
holds control characters, is a ``DataError`` that names the file.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from wg_common.modalities import tables
from wg_common.modalities.base import Modality, Record
from wg_core.errors import DataError

CHARACTERS_LIMIT = 4096  # Longest text that is accepted, in characters
_WHITE = frozenset(" \t\n\r\v\f")
_NUMBERS = re.compile(r"\w*\d\w*", re.ASCII)
_REFUSED = frozenset(("Cc", "Cs"))  # Control characters and halves of pairs: no person wrote them


class Texts(Modality):
    """Texts, NumPy strings of shape ``()``."""

    name = "texts"
    title = "texts"
    one = "text"
    layout = "unicode [n] (texts)"
    suffixes = frozenset({".txt"})
    file_limit = 4 * CHARACTERS_LIMIT + 4096
    head = "text-head"
    trunks = ("wg_common.nets.encoder.text_trunk",)
    column = "text"
    standard_errors = 1.0
    beside = True

    def patterns(self, records: Sequence[Record]) -> tuple[str, ...]:
        """Texts but for their numbers: in these alone the lines of one template differ."""
        return tuple(_NUMBERS.sub("#", str(record)).lower() for record in records)

    def sniff(self, x: Record) -> bool:
        """Return whether an array is of strings ``[n]``."""
        return x.dtype.kind == "U" and x.ndim == 1

    def check(self, record: Record) -> None:
        """Refuse what is no text.

        Raises:
            DataError: Another type or shape, empty, too long, or with control characters.
        """
        if record.dtype.kind != "U" or record.ndim:
            raise DataError(f"{record.dtype} of shape {record.shape}, expected one string")
        text = str(record)
        if not text.strip():
            raise DataError("an empty text")
        if len(text) > CHARACTERS_LIMIT:
            raise DataError(f"{len(text)} characters, at most {CHARACTERS_LIMIT} are read")
        for place, sign in enumerate(text, 1):
            if sign not in _WHITE and unicodedata.category(sign) in _REFUSED:
                raise DataError(f"character {place} is U+{ord(sign):04X}, a control character")

    def decode(self, data: bytes, name: str) -> Record:
        """The text of a file; errors as of ``Modality.decode``."""
        return self.from_cell(tables.decode_text(data, name), name)

    def from_cell(self, cell: str, name: str) -> Record:
        """The text of a table's cell; errors as of ``Modality.decode``."""
        record = np.array(plain(cell))
        try:
            self.check(record)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        return record

    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Texts in the manner of another site's writers."""
        from wg_common.modalities import writing

        manner = writing.draw(rng, strength)
        return [np.array(writing.write_in_manner(str(record), manner, rng)) for record in records]

    def example(self, shape: tuple[int, int]) -> Record:
        """A long note: no trunk reads more of one; texts have no sides."""
        return np.array("pump 3 leaks at the shaft seal " * 20)


def plain(text: str) -> str:
    """A text in composed form, runs of white space one blank, none at its ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())
