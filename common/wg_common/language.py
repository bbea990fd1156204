"""User-visible sentences and their translation.

A sentence is written once, in English, where it is used: ``text("{count} records", count=3)``. The
result is a ``str`` with its values in place, so that files, logs and ``--json`` hold English. It
also keeps the template and the values; output code passes it to a ``Language``, whose catalogue
holds the translated template. A template without a translation stays English.

``english_text`` turns a sentence into an ordinary string, for records that are encoded.
"""

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import click

LanguageCode = Literal["en", "ja"]
LANGUAGE_CODES: tuple[LanguageCode, ...] = ("en", "ja")
LANGUAGE_VARIABLES = ("WEIGHTGATE_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Environment variables that name a language; the first one that is set counts."""


class Text(str):
    """English sentence that can be translated.

    Attributes:
        template: Template for ``str.format``, and key of catalogues.
        values: Values by name in the template; a value may itself be a sentence.
    """

    template: str
    values: Mapping[str, Any]


def text(template: str, /, **values: Any) -> Text:
    """Build a translatable English sentence from a template and named values."""
    sentence = Text(template.format(**values))
    sentence.template, sentence.values = template, values
    return sentence


def template(english: str) -> str:
    """Return an English template for a later ``text``; the call marks it for translation."""
    return english


def join_sentences(*sentences: str) -> Text:
    """Join sentences with blanks into one."""
    return list_names(sentences, " ")


def english_text(sentence: str) -> str:
    """Return a translatable sentence in English as an ordinary string."""
    return str(sentence)


class Catalogue(dict[str, str]):
    """Translations by English template, and translations of error messages by pattern.

    Attributes:
        errors: English pattern -> translated template with the same names. An error message is an
            ordinary string: it is stored, logged and sent in English, and matched when displayed.
    """

    def __init__(self, sentences: Mapping[str, str], errors: Mapping[str, str]) -> None:
        super().__init__(sentences)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Language:
    """Language of output, with its catalogue of translations.

    Attributes:
        code: Language code, as in the ``lang`` attribute of a page.
        catalogue: English template -> template in this language.
    """

    code: LanguageCode = "en"
    catalogue: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, sentence: str) -> str:
        """Translate a sentence if the catalogue has its template; return other text unchanged."""
        if self.code == "en" or not isinstance(sentence, Text):
            return str(sentence)
        template = self.catalogue.get(sentence.template) or _translate_list_template(
            self.code, sentence.template
        )
        return template.format(
            **{name: self._translate_value(value) for name, value in sentence.values.items()}
        )

    def translate_error(self, sentence: str) -> str:
        """Translate an error message if the catalogue has its pattern.

        Text before a colon (a file, a field) stays unchanged if the rest matches a pattern. If
        several patterns match, the one with the most literal characters is used.
        """
        if isinstance(sentence, Text) or not isinstance(self.catalogue, Catalogue):
            return self(sentence)
        return self._translate_error(sentence, self.catalogue.errors)[1]

    def _translate_error(self, sentence: str, errors: Mapping[str, str]) -> tuple[int, str]:
        """Return the number of literal characters of the best pattern, and the translation."""
        best = 0, sentence
        for start in (0, *(separator.end() for separator in re.finditer(": ", sentence))):
            for shape, template in errors.items():
                match = _sentence_pattern(shape).fullmatch(sentence, start)
                if match is None:
                    continue
                values_by_name = {
                    name: self._translate_error(value, errors)
                    for name, value in match.groupdict().items()
                }
                score = len(_PLACEHOLDER.sub("", shape)) + sum(
                    letters for letters, _ in values_by_name.values()
                )
                if score >= best[0]:
                    values = {name: value for name, (_, value) in values_by_name.items()}
                    best = score, sentence[:start] + template.format(**values)
        return best

    def translate(self, template: str, /, **values: Any) -> str:
        """Build a sentence as ``text`` does, and translate it."""
        return self(text(template, **values))

    def _translate_value(self, value: Any) -> Any:
        return self(value) if isinstance(value, str) else value


_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_SEPARATORS: Mapping[str, Mapping[str, str]] = {"ja": {", ": "、", "; ": "、", " ": ""}}
"""Separators between listed names or sentences: by language, English -> translation."""
_LIST_TEMPLATE = re.compile(r"(?:\{n\d+\}([,;]? )?)+")


def _translate_list_template(code: LanguageCode, template: str) -> str:
    """Translate the separators in a template of ``list_names``; return others unchanged."""
    if not _LIST_TEMPLATE.fullmatch(template):
        return template
    for english, translation in _SEPARATORS.get(code, {}).items():
        template = template.replace(english, translation)
    return template


@cache
def _sentence_pattern(template: str) -> re.Pattern[str]:
    """Compile a template into a regular expression that matches its sentences."""
    parts = _PLACEHOLDER.split(template)
    pieces = (f"(?P<{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile("".join(pieces), re.DOTALL)


ENGLISH = Language()
LanguageLoader = Callable[[LanguageCode], Language]
"""Function that loads a language with its catalogue; it is called when output is first needed."""
_CURRENT_LANGUAGE: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def current_language() -> Language:
    """Return the language of the user running this command."""
    return _CURRENT_LANGUAGE.get()


def environment_language(environment: Mapping[str, str] | None = None) -> LanguageCode:
    """Return the language that the environment names, or English if it names no known language."""
    variables = os.environ if environment is None else environment
    variable = next((variables[name] for name in LANGUAGE_VARIABLES if variables.get(name)), "")
    return next((code for code in LANGUAGE_CODES if variable.lower().startswith(code)), "en")


_LANGUAGE_KEY = "wg_common.language"


def add_language_option(command: click.Command, load_language: LanguageLoader) -> None:
    """Add the option ``--language`` to a program; its default is the home's or environment's."""

    def choose(context: click.Context, _: click.Parameter, value: LanguageCode | None) -> None:
        if value is not None:
            context.meta[_LANGUAGE_KEY] = value
        _CURRENT_LANGUAGE.set(
            load_language(context.meta.get(_LANGUAGE_KEY) or environment_language())
        )

    option = click.Option(
        ["--language"],
        type=click.Choice(LANGUAGE_CODES),
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Language of what people read; default: client.yaml's, or the environment's.",
    )
    command.params.append(option)


def requested_language(context: click.Context) -> LanguageCode:
    """Return the language named on the command line, or else by the environment."""
    return _option_language() or context.meta.get(_LANGUAGE_KEY) or environment_language()


def _option_language() -> LanguageCode | None:
    """Return the language named by ``--language`` on the command line; None if there is none."""
    words = _COMMAND_LINE.get()
    for word, following in itertools.pairwise((*words, "")):
        option, _, value = word.partition("=")
        if option == "--language":
            return next((code for code in LANGUAGE_CODES if code == (value or following)), None)
    return None


_COMMAND_LINE: ContextVar[Sequence[str]] = ContextVar("words", default=())


def store_command_line(
    arguments: Sequence[str], load_language: LanguageLoader | None = None
) -> None:
    """Store the command line's words, and set the language that they name before click parses them.

    click would print the help of ``--help --language ja``, and usage errors, before it reads the
    option.
    """
    _COMMAND_LINE.set(tuple(arguments))
    if load_language is not None:
        _CURRENT_LANGUAGE.set(load_language(_option_language() or environment_language()))


def usage_line(context: click.Context) -> Text:
    """Return the usage line of a command."""
    words = context.command_path, *context.command.collect_usage_pieces(context)
    return text("Usage: {usage}", usage=" ".join(words))


def use_configured_language(code: LanguageCode | None, load_language: LanguageLoader) -> None:
    """Switch output to the home's language, unless the command line named a language."""
    context = click.get_current_context(silent=True)
    if code is not None and (context is None or _LANGUAGE_KEY not in context.meta):
        _CURRENT_LANGUAGE.set(load_language(code))


def display_width(sentence: str) -> int:
    """Return the number of columns of a text on a terminal; a wide character takes two."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c)
        for c in sentence
    )


def pad_columns(sentence: str, columns: int) -> str:
    """Pad a text with blanks to a number of columns."""
    return sentence + " " * max(columns - display_width(sentence), 0)


def wrap_columns(sentence: str, columns: int) -> Iterator[str]:
    """Wrap a text into lines of at most ``columns``; longer words stay whole.

    Text may break between any two wide characters, as in Japanese.
    """
    indent = " " * (len(sentence) - len(sentence.lstrip()) + 4)
    line = ""
    for word in _UNBREAKABLE_PIECE.findall(sentence):
        if line.strip() and display_width(line + word.rstrip()) > columns:
            yield line.rstrip()
            line = indent + word.lstrip()
        else:
            line += word
    yield line.rstrip()


_WIDE_CHARACTERS = "\u3000-\u30ff\u3400-\u9fff\uff00-\uffef"
_UNBREAKABLE_PIECE = re.compile(
    rf"\s*(?:[^\s{_WIDE_CHARACTERS}]+|[{_WIDE_CHARACTERS}][、。）」]?)\s*"
)
"""Pieces of text within which lines are not broken."""


def list_names(names: Sequence[str], separator: str = ", ") -> Text:
    """Join names or sentences into one translatable sentence."""
    keys = [f"n{index}" for index in range(len(names))]
    template = separator.join(f"{{{key}}}" for key in keys)
    return text(template, **dict(zip(keys, names, strict=True)))
