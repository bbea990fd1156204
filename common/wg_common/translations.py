"""Translations in gettext catalogues, which translators edit in Poedit or Weblate.

A folder ``locale`` beside the code has one file per language except English, such as ``ja.po``. An
entry is a template in English (``msgid``) and in the other language (``msgstr``), with the same
values. Its context (``msgctxt``) gives its kind:

- no context: a sentence, a word or a help text, found by its English (``language.text``);
- ``error``, ``wrong call`` and ``log entry``: the pattern of a sentence that is stored in English
  (``Language.translate_error``);
- other contexts, such as ``page: login``: a text that code looks up by key, also in English.

English needs neither a file nor polib, except for texts by key. A catalogue is read on first use,
once per process.

Tests read each catalogue, so a damaged catalogue is a defect of the program. It is logged, and the
output is English; texts by key have no other source, so the command ends with the error.
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

from wg_common.language import ENGLISH, LANGUAGE_CODES, Catalogue, Language, LanguageCode
from wg_core.errors import DecodeError

if TYPE_CHECKING:
    import polib

COMMON_CATALOGUE_FOLDER = Path(__file__).parent / "locale"
"""Folder of the catalogue for all commands and the auditor's page."""
PATTERN_CONTEXTS = ("error", "wrong call", "log entry")
"""Contexts of sentences that are matched by pattern."""


_CATALOGUE_LINE = re.compile(r'\s*|#.*|(?:msg\w+(?:\[\d\])? )?"(?:[^"\\]|\\.)*"')
"""Pattern of a catalogue's line; polib does not check that the last character is a quote."""


@dataclass(frozen=True, slots=True)
class TranslationEntry:
    """Entry of a translation catalogue: one sentence in two languages.

    Attributes:
        context: Context of the entry; empty if there is none.
        english: Template in English.
        translation: Template in the language of the file.
    """

    context: str
    english: str
    translation: str


def shared_language(code: LanguageCode) -> Language:
    """Load a language with the catalogue for all commands and the auditor's page."""
    return load_language(code, COMMON_CATALOGUE_FOLDER)


@cache
def load_language(code: LanguageCode, *folders: Path) -> Language:
    """Load a language with the catalogues of some folders; later folders take precedence.

    The result is English if a catalogue cannot be used.
    """
    if code == ENGLISH.code:
        return ENGLISH
    try:
        entries = [entry for folder in folders for entry in read_catalogue(folder, code)]
    except DecodeError as error:
        logging.getLogger(__name__).error("%s", error)
        return ENGLISH
    sentences = {entry.english: entry.translation for entry in entries if not entry.context}
    shapes = {
        entry.english: entry.translation for entry in entries if entry.context in PATTERN_CONTEXTS
    }
    return Language(code, Catalogue(sentences, shapes))


@cache
def load_templates(code: LanguageCode, folder: Path, context_kind: str) -> Mapping[str, str]:
    """Return templates in a language, by key (the second part of a context), in file order.

    Args:
        code: Code of the language.
        folder: Folder of the catalogue.
        context_kind: First part of the contexts, such as ``page`` in ``page: login``.

    Raises:
        DecodeError: The catalogue cannot be used.
    """
    english = code == ENGLISH.code
    return {
        key: entry.english if english else entry.translation
        for entry in read_catalogue(folder, LANGUAGE_CODES[1] if english else code)
        for place, colon, key in (entry.context.partition(": "),)
        if colon and place == context_kind
    }


@cache
def read_catalogue(folder: Path, code: LanguageCode) -> tuple[TranslationEntry, ...]:
    """Read the entries of a language's catalogue, in the order of the file.

    Raises:
        DecodeError: The file is missing, not a gettext catalogue, or for another language; or an
            entry is unfinished (fuzzy, empty), obsolete, repeated, in a plural form, or has a value
            that its English template lacks.
    """
    import polib

    path = folder / f"{code}.po"
    try:
        text = path.read_text("utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if not _CATALOGUE_LINE.fullmatch(line):
                raise ValueError(f"line {number}: neither a comment nor a quoted string")
        catalogue = polib.pofile(text)
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path}: no catalogue: {error}") from error
    header = catalogue.metadata.get("Language"), catalogue.metadata.get("Content-Type")
    if header != (code, "text/plain; charset=UTF-8") or catalogue.metadata_is_fuzzy:
        raise DecodeError(f"{path}: not the header of a finished catalogue of {code} in UTF-8")
    entries: dict[tuple[str, str], TranslationEntry] = {}
    for unit in catalogue:
        entry = TranslationEntry(unit.msgctxt or "", unit.msgid, unit.msgstr)
        has_key = ": " in entry.context
        identity = entry.context, "" if has_key else entry.english
        wrong = "there twice" if identity in entries else _entry_problem(unit)
        if wrong:
            raise DecodeError(f"{path}: line {unit.linenum}: {entry.english[:80]!r}: {wrong}")
        entries[identity] = entry
    return tuple(entries.values())


def _entry_problem(entry: polib.POEntry) -> str:
    """Return the reason why a catalogue's entry cannot be used, or an empty string."""
    if entry.fuzzy:
        return "fuzzy: somebody must look at it"
    if entry.obsolete:
        return "obsolete: no longer used"
    if entry.msgid_plural:
        return "a plural form, which is not read"
    if not entry.msgid or not entry.msgstr:
        return "empty"
    try:
        surplus = _template_values(entry.msgstr) - _template_values(entry.msgid)
    except ValueError as error:
        return f"no template: {error}"
    return f"its English has no {{{min(surplus)[0]}}} of this form" if surplus else ""


def _template_values(template: str) -> set[tuple[str, str, str]]:
    """Return name, format and conversion of each value in a sentence's template."""
    fields = string.Formatter().parse(template)
    return {
        (name, form or "", conversion or "")
        for _, name, form, conversion in fields
        if name is not None
    }
