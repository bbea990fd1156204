"""Grammar and length of every text in a file that an auditor compares.

A text of any content and length is a way out that no charge pays for. So each field of a ledger
entry, of a statistics manifest and of a server's record names one grammar of this module as its
type, and its class calls ``check`` when it is built: by a decoder, and by the program that writes.

Not guaranteed: that a text is true. A class name of a hundred characters can say something of the
records, which is why the auditor's program prints each one that changes.
"""

import functools
import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from wg_core.errors import DecodeError

NAME_LIMIT = 100  # Most characters of a name: of a class, data set, unit, recipient, person
SENTENCE_LIMIT = 200  # Most characters of a purpose, or of why a ledger was given up
PHRASE_LIMIT = 200  # Most characters of what a program says of itself
NUMBER_LIMIT = 400  # Most characters of a number; its grammar is that of ``numbers``
KEY_DIGITS_LIMIT = 8192  # Most hex digits of a key or signature: both algorithms take 5,000
NOTE_LIMIT = 128 << 10  # Most characters of a signed checkpoint, with all cosignatures
ORIGIN_LIMIT = 255  # Most characters of a ledger's origin, or of a key's name (signed-note)

_SHOWN = 40
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")  # Where the name of a class has a further word


@dataclass(frozen=True, slots=True)
class Printable:
    """Printable characters of any script, without white space at either end.

    Attributes:
        limit: Largest number of characters.
    """

    limit: int

    @property
    def expected(self) -> str:
        """The grammar in words."""
        return f"1 to {self.limit} printable characters without white space at either end"

    def is_match(self, text: str) -> bool:
        """Tell whether a text is of this grammar."""
        return 0 < len(text) <= self.limit and text.isprintable() and text == text.strip()


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that a regular expression of bounded length matches.

    Attributes:
        expression: The regular expression, for the whole text.
        expected: The grammar in words.
    """

    expression: re.Pattern[str]
    expected: str

    def is_match(self, text: str) -> bool:
        """Tell whether a text is of this grammar."""
        return self.expression.fullmatch(text) is not None


SHA256 = re.compile(r"[0-9a-f]{64}")
SITE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

_VERSION = r"[0-9][0-9A-Za-z.+!-]{0,39}"
_SOFTWARE = Pattern(
    re.compile(rf"weightgate[ /]{_VERSION}"), "weightgate and a version of at most 40 characters"
)
_LIBRARY_VERSION = Pattern(
    re.compile(rf"{_VERSION}|not installed"), "a version of at most 40 characters"
)
_IDENTIFIER = Pattern(
    re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}"), "1 to 64 letters, digits, dots and hyphens"
)
_PHRASE = Pattern(re.compile(rf"[ -~]{{1,{PHRASE_LIMIT}}}"), f"1 to {PHRASE_LIMIT} ASCII letters")
_NUMBER = Pattern(
    re.compile(rf"[0-9a-fxpE.+/-]{{1,{NUMBER_LIMIT}}}"),
    f"a number of at most {NUMBER_LIMIT} characters",
)
_ORIGIN = Pattern(
    re.compile(rf"[^\s+]{{1,{ORIGIN_LIMIT}}}"),
    f"1 to {ORIGIN_LIMIT} characters without white space and plus",
)
_NOTE = Pattern(
    re.compile(rf"(?s).{{0,{NOTE_LIMIT}}}"), f"a checkpoint of at most {NOTE_LIMIT} characters"
)
_DIGEST = Pattern(SHA256, "64 lower-case hex digits")
_OPTIONAL_DIGEST = Pattern(
    re.compile(rf"(?:{SHA256.pattern})?"), "64 lower-case hex digits or nothing"
)
_HEX = Pattern(
    re.compile(rf"[0-9a-f]{{0,{KEY_DIGITS_LIMIT}}}"),
    f"at most {KEY_DIGITS_LIMIT} lower-case hex digits",
)
_SITE = Pattern(SITE_NAME, "1 to 63 lower-case letters, digits and inner hyphens")

Name = Annotated[str, Printable(NAME_LIMIT)]
Sentence = Annotated[str, Printable(SENTENCE_LIMIT)]
Phrase = Annotated[str, _PHRASE]  # One of the phrases that the auditor's program knows
Software = Annotated[str, _SOFTWARE]
Version = Annotated[str, _LIBRARY_VERSION]
Identifier = Annotated[str, _IDENTIFIER]  # Of a request, lineage, release, package or library
Number = Annotated[str, _NUMBER]
Origin = Annotated[str, _ORIGIN]
Note = Annotated[str, _NOTE]
Digest = Annotated[str, _DIGEST]
OptionalDigest = Annotated[str, _OPTIONAL_DIGEST]
Hex = Annotated[str, _HEX]  # A key or signature, whose length ``signing`` checks
SiteName = Annotated[str, _SITE]


def check_name(name: str) -> None:
    """Check what stands for a person, a class, a data set or a recipient.

    Raises:
        DecodeError: Empty, too long, or not printable.
    """
    if not Printable(NAME_LIMIT).is_match(name):
        raise DecodeError(
            f"name {name[:_SHOWN]!r}: expected 1 to {NAME_LIMIT} printable characters without white"
            " space at either end"
        )


def check(record: object) -> None:
    """Check every text of a record against the grammar that is its field's type.

    Raises:
        DecodeError: A text is not of its grammar; names the field.
    """
    kind: Any = type(record)
    for name, grammar, several in fields_of(kind):
        value = getattr(record, name)
        for text in value if several else (value,):
            if not grammar.is_match(text):
                record_name = _WORDS.sub(" ", kind.__name__).lower()
                excerpt = f"{text[:_SHOWN]!r} ({len(text)} characters)"
                raise DecodeError(f"{record_name}: {name}: {excerpt}, expected {grammar.expected}")


@functools.cache
def fields_of(kind: type) -> tuple[tuple[str, Printable | Pattern, bool], ...]:
    """Fields of a record that have a grammar: name, grammar, and whether it is a tuple of texts."""
    rows = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        several = get_origin(hint) is tuple
        inner = get_args(hint)[0] if several else hint
        for part in getattr(inner, "__metadata__", ()):
            if isinstance(part, Printable | Pattern):
                rows.append((name, part, several))
    return tuple(rows)
