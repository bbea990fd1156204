"""Sentences in other languages: gettext catalogues, which translators open in Poedit or Weblate.

A folder ``locale`` beside the code that speaks has a file for each language but English, ``ja.po``.
An entry is a template in English (``msgid``) and in the other language (``msgstr``), with the same
values. Its context (``msgctxt``) says what it is:

- none: a sentence, a word or a help text, found by its English (``language.text``);
- ``error``, ``wrong call`` and ``log entry``: the shape of a sentence that stays English where it
  is kept (``Language.error``);
- others, such as ``page: login``: a text that code asks for by a key, in English as well.

English needs no file and no polib, but for texts by key; nothing is read before it is said, and
once for a process.

A catalogue is part of the program: tests read each, and one that is not whole is a defect of ours.
Where a person meets one all the same, they are spoken to in English and the log says why; texts by
key have no other source, so there the command ends with the error.
"""

from __future__ import annotations

import logging
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wg_common.language import CODES, ENGLISH, Catalogue, Code, Language
from wg_core.errors import DecodeError

if TYPE_CHECKING:
    import polib

COMMON = Path(__file__).parent / "locale"
"""What all commands and the auditor's page say."""
SHAPES = ("error", "wrong call", "log entry")
"""Contexts of what is told by its shape."""


_LINE = re.compile(r'\s*|#.*|(?:msg\w+(?:\[\d\])? )?"(?:[^"\\]|\\.)*"')
"""A line of a catalogue. polib takes the last character for a quote, whatever it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sentence in two languages.

    Attributes:
        context: Empty where there is none.
        english: The template in English.
        said: The template in the language of the file.
    """

    context: str
    english: str
    said: str


def shared_language(code: Code) -> Language:
    """A language with what all commands and the auditor's page say."""
    return language_of(code, COMMON)


@cache
def language_of(code: Code, *folders: Path) -> Language:
    """A language with the sentences and shapes of folders; of two the later folder's counts.

    English, if a catalogue cannot be used.
    """
    if code == ENGLISH.code:
        return ENGLISH
    try:
        entries = [entry for folder in folders for entry in read(folder, code)]
    except DecodeError as error:
        logging.getLogger(__name__).error("%s", error)
        return ENGLISH
    sentences = {entry.english: entry.said for entry in entries if not entry.context}
    shapes = {entry.english: entry.said for entry in entries if entry.context in SHAPES}
    return Language(code, Catalogue(sentences, shapes))


@cache
def texts(code: Code, folder: Path, kind: str) -> Mapping[str, str]:
    """Templates of a language by key, in the order of the file.

    Args:
        kind: What stands before the colon of their contexts.

    Raises:
        DecodeError: The catalogue cannot be used.
    """
    english = code == ENGLISH.code
    return {
        key: entry.english if english else entry.said
        for entry in read(folder, CODES[1] if english else code)
        for place, colon, key in (entry.context.partition(": "),)
        if colon and place == kind
    }


@cache
def read(folder: Path, code: Code) -> tuple[Entry, ...]:
    """The entries of a language's catalogue, in its order.

    Raises:
        DecodeError: The file is not there, not in gettext's form or not of this language; or an
            entry is not finished (fuzzy, empty), no longer used (obsolete), there twice, in a
            plural form, or has a value that its English has not.
    """
    import polib

    path = folder / f"{code}.po"
    try:
        text = path.read_text("utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if not _LINE.fullmatch(line):
                raise ValueError(f"line {number}: neither a comment nor a quoted string")
        catalogue = polib.pofile(text)
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path}: no catalogue: {error}") from error
    header = catalogue.metadata.get("Language"), catalogue.metadata.get("Content-Type")
    if header != (code, "text/plain; charset=UTF-8") or catalogue.metadata_is_fuzzy:
        raise DecodeError(f"{path}: not the header of a finished catalogue of {code} in UTF-8")
    entries: dict[tuple[str, str], Entry] = {}
    for unit in catalogue:
        entry = Entry(unit.msgctxt or "", unit.msgid, unit.msgstr)
        has_key = ": " in entry.context
        identity = entry.context, "" if has_key else entry.english
        wrong = "there twice" if identity in entries else _wrong(unit)
        if wrong:
            raise DecodeError(f"{path}: line {unit.linenum}: {entry.english[:80]!r}: {wrong}")
        entries[identity] = entry
    return tuple(entries.values())


def _wrong(entry: polib.POEntry) -> str:
    """Why an entry cannot be used; empty if it can."""
    if entry.fuzzy:
        return "fuzzy: somebody must look at it"
    if entry.obsolete:
        return "obsolete: no longer used"
    if entry.msgid_plural:
        return "a plural form, which is not read"
    if not entry.msgid or not entry.msgstr:
        return "empty"
    try:
        surplus = _values(entry.msgstr) - _values(entry.msgid)
    except ValueError as error:
        return f"no template: {error}"
    return f"its English has no {{{min(surplus)[0]}}} of this form" if surplus else ""


def _values(template: str) -> set[tuple[str, str, str]]:
    """Name, form and conversion of each value of a template."""
    fields = string.Formatter().parse(template)
    return {
        (name, form or "", conversion or "")
        for _, name, form, conversion in fields
        if name is not None
    }
