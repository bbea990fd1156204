"""Grammars and length limits of the texts in files that an auditor compares.

Free text of unlimited length could carry data out of a plant without any charge. So the type of
each text field of a ledger entry, statistics manifest or server record names a grammar of this
module, and the class (a ``TextRecord``, or one with further checks) calls ``check_text_fields`` on
construction, both when decoding and when writing.

Not guaranteed: that a text is true. A class name of a hundred characters can still tell something
about the records, which is why ``wg-audit`` prints each name that changes.
"""

import functools
import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from wg_core.errors import DecodeError, excerpt

NAME_CHARACTERS_LIMIT = 100  # Most characters of a name: class, data set, unit, recipient or person
SENTENCE_CHARACTERS_LIMIT = 200  # Most characters of a purpose, or of a reason to give up a ledger
PHRASE_CHARACTERS_LIMIT = 200  # Most characters of a fixed phrase that the program writes
NUMBER_CHARACTERS_LIMIT = (
    400  # Most characters of a number; ``number_parsers`` has the exact grammar
)
KEY_DIGITS_LIMIT = 8192  # Most hex digits of a key or signature; the hybrid ones need about 5,000
NOTE_CHARACTERS_LIMIT = 128 << 10  # Most characters of a signed checkpoint with its cosignatures
ORIGIN_CHARACTERS_LIMIT = 255  # Most characters of a ledger's origin or of a key name (signed-note)

_WORD_BOUNDARIES = re.compile(r"(?<!^)(?=[A-Z])")  # Boundaries between the words of a class name


@dataclass(frozen=True, slots=True)
class PrintableText:
    """Grammar of printable text in any script, without white space at either end."""

    max_characters: int

    @property
    def description(self) -> str:
        """Description of the grammar for error messages."""
        return f"1 to {self.max_characters} printable characters without white space at either end"

    def is_match(self, text: str) -> bool:
        """Return True if a text matches the grammar."""
        return 0 < len(text) <= self.max_characters and text.isprintable() and text == text.strip()


@dataclass(frozen=True, slots=True)
class Pattern:
    """Grammar given by a regular expression of bounded length, which the whole text must match."""

    expression: re.Pattern[str]
    description: str

    def is_match(self, text: str) -> bool:
        """Return True if a text matches the grammar."""
        return self.expression.fullmatch(text) is not None


SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
SITE_NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

_VERSION = r"[0-9][0-9A-Za-z.+!-]{0,39}"
_SOFTWARE_GRAMMAR = Pattern(
    re.compile(rf"weightgate[ /]{_VERSION}"), "weightgate and a version of at most 40 characters"
)
_LIBRARY_VERSION_GRAMMAR = Pattern(
    re.compile(rf"{_VERSION}|not installed"), "a version of at most 40 characters"
)
_IDENTIFIER_GRAMMAR = Pattern(
    re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}"), "1 to 64 letters, digits, dots and hyphens"
)
_PHRASE_GRAMMAR = Pattern(
    re.compile(rf"[ -~]{{1,{PHRASE_CHARACTERS_LIMIT}}}"),
    f"1 to {PHRASE_CHARACTERS_LIMIT} ASCII letters",
)
_NUMBER_GRAMMAR = Pattern(
    re.compile(rf"[0-9a-fxpE.+/-]{{1,{NUMBER_CHARACTERS_LIMIT}}}"),
    f"a number of at most {NUMBER_CHARACTERS_LIMIT} characters",
)
_ORIGIN_GRAMMAR = Pattern(
    re.compile(rf"[^\s+]{{1,{ORIGIN_CHARACTERS_LIMIT}}}"),
    f"1 to {ORIGIN_CHARACTERS_LIMIT} characters without white space and plus",
)
_NOTE_GRAMMAR = Pattern(
    re.compile(rf"(?s).{{0,{NOTE_CHARACTERS_LIMIT}}}"),
    f"a checkpoint of at most {NOTE_CHARACTERS_LIMIT} characters",
)
_DIGEST_GRAMMAR = Pattern(SHA256_PATTERN, "64 lower-case hex digits")
_OPTIONAL_DIGEST_GRAMMAR = Pattern(
    re.compile(rf"(?:{SHA256_PATTERN.pattern})?"), "64 lower-case hex digits or nothing"
)
_HEX_GRAMMAR = Pattern(
    re.compile(rf"(?:[0-9a-f]{{2}}){{0,{KEY_DIGITS_LIMIT // 2}}}"),
    f"whole bytes in at most {KEY_DIGITS_LIMIT} lower-case hex digits",
)
_SITE_NAME_GRAMMAR = Pattern(
    SITE_NAME_PATTERN, "1 to 63 lower-case letters, digits and inner hyphens"
)

Name = Annotated[str, PrintableText(NAME_CHARACTERS_LIMIT)]
Sentence = Annotated[str, PrintableText(SENTENCE_CHARACTERS_LIMIT)]
Phrase = Annotated[str, _PHRASE_GRAMMAR]  # One of the phrases that the auditor's program knows
Software = Annotated[str, _SOFTWARE_GRAMMAR]
LibraryVersion = Annotated[str, _LIBRARY_VERSION_GRAMMAR]
Identifier = Annotated[
    str, _IDENTIFIER_GRAMMAR
]  # Id of a request, lineage, release, package or library
Number = Annotated[str, _NUMBER_GRAMMAR]
Origin = Annotated[str, _ORIGIN_GRAMMAR]
NoteText = Annotated[str, _NOTE_GRAMMAR]
Digest = Annotated[str, _DIGEST_GRAMMAR]
OptionalDigest = Annotated[str, _OPTIONAL_DIGEST_GRAMMAR]
Hex = Annotated[str, _HEX_GRAMMAR]  # A key or signature, whose length ``signing`` checks
SiteName = Annotated[str, _SITE_NAME_GRAMMAR]


def check_name(name: str) -> None:
    """Check the name of a person, class, data set or recipient.

    Raises:
        DecodeError: The name is empty, too long, or not printable.
    """
    if not PrintableText(NAME_CHARACTERS_LIMIT).is_match(name):
        raise DecodeError(
            f"name {excerpt(name)}: expected 1 to {NAME_CHARACTERS_LIMIT} printable characters,"
            " no full-width space, and no space at either end"
        )


def check_text_fields(record: object) -> None:
    """Check every text field of a record against the grammar in its type.

    Raises:
        DecodeError: A text does not match its grammar; the message names the field.
    """
    kind: Any = type(record)
    for name, grammar, several in text_field_grammars(kind):
        value = getattr(record, name)
        for text in value if several else (value,):
            if not grammar.is_match(text):
                record_name = _WORD_BOUNDARIES.sub(" ", kind.__name__).lower()
                raise DecodeError(
                    f"{record_name}: {name}: {excerpt(text)}, expected {grammar.description}"
                )


class TextRecord:
    """Base class of records that check their text fields, and nothing else, when created."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_text_fields(self)


@functools.cache
def text_field_grammars(record_type: type) -> tuple[tuple[str, PrintableText | Pattern, bool], ...]:
    """Return a record type's text fields: name, grammar, and True if it is a tuple of texts."""
    rows = []
    for name, hint in get_type_hints(record_type, include_extras=True).items():
        several = get_origin(hint) is tuple
        inner = get_args(hint)[0] if several else hint
        for part in getattr(inner, "__metadata__", ()):
            if isinstance(part, PrintableText | Pattern):
                rows.append((name, part, several))
    return tuple(rows)
