"""Reader of text records.

A record is one text in any language: a NumPy string of shape ``()`` in Unicode NFC, with each run
of white space replaced by one blank. A ``.txt`` file is one record, and so is each row of a table
with a column ``text`` (``record_tables``). Encodings are those of ``table_text``. Nothing is cut
off: a text that is too long, or holds control characters, is a ``DataError`` that names the file.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from wg_common.modalities import table_text
from wg_common.modalities.base import Modality, Record
from wg_core.errors import DataError

CHARACTERS_LIMIT = 4096  # Longest text that is accepted, in characters
_WHITE_SPACE = frozenset(" \t\n\r\v\f")
_WORD_PATTERN = re.compile(r"\w+", re.ASCII)
_DIGIT_PATTERN = re.compile("[0-9]")
_REFUSED_CATEGORIES = frozenset(("Cc", "Cs"))  # Control characters and surrogates


class Texts(Modality):
    """Modality of texts, NumPy strings of shape ``()``."""

    name = "texts"
    title = "texts"
    singular = "text"
    layout = "unicode [n] (texts)"
    suffixes = frozenset({".txt"})
    file_limit = 4 * CHARACTERS_LIMIT + 4096
    head_architecture = "text-head"
    trunk_modules = ("wg_common.nets.encoder.text_trunk",)
    record_column = "text"
    default_standard_errors = 1.0
    may_accompany_records = True

    def repetition_keys(self, records: Sequence[Record]) -> tuple[str, ...]:
        """Return each text in lower case with numbers masked, so that repeated texts are equal."""

        def mask(word: re.Match[str]) -> str:
            return "#" if _DIGIT_PATTERN.search(word[0]) else word[0]

        return tuple(_WORD_PATTERN.sub(mask, str(record)).lower() for record in records)

    def matches_array(self, x: Record) -> bool:
        """Return True if an array holds strings ``[n]``."""
        return x.dtype.kind == "U" and x.ndim == 1

    def check_record(self, record: Record) -> None:
        """Check that an array is a text.

        Raises:
            DataError: The type or shape is wrong, or the text is empty, too long, or has control
                characters.
        """
        if record.dtype.kind != "U" or record.ndim:
            raise DataError(f"{record.dtype} of shape {record.shape}, expected one string")
        text = str(record)
        if not text.strip():
            raise DataError("an empty text")
        if len(text) > CHARACTERS_LIMIT:
            raise DataError(f"{len(text)} characters, at most {CHARACTERS_LIMIT} are read")
        for place, sign in enumerate(text, 1):
            if sign not in _WHITE_SPACE and unicodedata.category(sign) in _REFUSED_CATEGORIES:
                raise DataError(f"character {place} is U+{ord(sign):04X}, a control character")

    def decode(self, data: bytes, file_name: str) -> Record:
        """Decode the text of a file; raise errors as ``Modality.decode`` does."""
        return self.decode_cell(table_text.decode_text(data, file_name), file_name)

    def decode_cell(self, cell: str, row_name: str) -> Record:
        """Decode the text of a table's cell; raise errors as ``Modality.decode`` does."""
        record = np.array(normalise_text(cell))
        try:
            self.check_record(record)
        except DataError as error:
            raise DataError(f"{row_name}: {error}") from error
        return record

    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Rewrite texts with the writing habits of another site."""
        from wg_common.modalities import writing_habits

        manner = writing_habits.draw_writing_habits(rng, strength)
        return [
            np.array(writing_habits.apply_writing_habits(str(record), manner, rng))
            for record in records
        ]

    def example_record(self, shape: tuple[int, int]) -> Record:
        """Return an artificial long text, whatever the shape."""
        return np.array("pump 3 leaks at the shaft seal " * 20)


def normalise_text(text: str) -> str:
    """Return a text in Unicode NFC, with single blanks and none at its ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())
