"""Sentences for people, in the language that they read.

A sentence is written once, in English, where it is said: ``text("{count} records", count=3)``. It
is a ``str`` with its values in place, so that files, logs and ``--json`` hold English. It remembers
template and values; whoever shows it to a person gives it to a ``Language``, whose catalogue has
the template in that language. A template that is not there stays English.

``plain`` makes an ordinary string of it, for records that are encoded.
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

Code = Literal["en", "ja"]
CODES: tuple[Code, ...] = ("en", "ja")
VARIABLES = ("WEIGHTGATE_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Variables of the environment that name a language; the first that is set counts."""


class Text(str):
    """An English sentence that can be said in another language.

    Attributes:
        template: As for ``str.format``; the key of catalogues.
        values: By name in the template; they may be sentences themselves.
    """

    template: str
    values: Mapping[str, Any]


def text(template: str, /, **values: Any) -> Text:
    """An English sentence with its values in place."""
    sentence = Text(template.format(**values))
    sentence.template, sentence.values = template, values
    return sentence


def template(english: str) -> str:
    """A template that ``text`` is given later; marks it for the test of catalogues."""
    return english


def join_sentences(*sentences: str) -> Text:
    """Sentences after one another."""
    return list_names(sentences, " ")


def plain(sentence: str) -> str:
    """The English sentence as an ordinary string."""
    return str(sentence)


class Catalogue(dict[str, str]):
    """English template -> template in another language, and errors that are told by their shape.

    Attributes:
        errors: English shape -> template, with the same names. An error is an ordinary string:
            it is stored, logged and sent in English, and recognised where a person reads it.
    """

    def __init__(self, sentences: Mapping[str, str], errors: Mapping[str, str]) -> None:
        super().__init__(sentences)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Language:
    """A language and its catalogue.

    Attributes:
        code: As in ``lang`` of a page.
        catalogue: English template -> template in this language.
    """

    code: Code = "en"
    catalogue: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, sentence: str) -> str:
        """The sentence in this language, as far as the catalogue has it; names stay as they are."""
        if self.code == "en" or not isinstance(sentence, Text):
            return str(sentence)
        template = self.catalogue.get(sentence.template) or _list_template(
            self.code, sentence.template
        )
        return template.format(
            **{name: self._value(value) for name, value in sentence.values.items()}
        )

    def error(self, sentence: str) -> str:
        """An error in this language, as far as its shape is known.

        What stands before a colon (a file, a field) stays, where the rest has a shape. Of several
        ways to read a sentence the one with the most known words counts.
        """
        if isinstance(sentence, Text) or not isinstance(self.catalogue, Catalogue):
            return self(sentence)
        return self._translate_error(sentence, self.catalogue.errors)[1]

    def _translate_error(self, sentence: str, errors: Mapping[str, str]) -> tuple[int, str]:
        """Number of letters of an error that are known words, and the error in this language."""
        best = 0, sentence
        for start in (0, *(separator.end() for separator in re.finditer(": ", sentence))):
            for shape, template in errors.items():
                match = _shape(shape).fullmatch(sentence, start)
                if match is None:
                    continue
                values_by_name = {
                    name: self._translate_error(value, errors)
                    for name, value in match.groupdict().items()
                }
                score = len(_VALUE.sub("", shape)) + sum(
                    letters for letters, _ in values_by_name.values()
                )
                if score >= best[0]:
                    values = {name: value for name, (_, value) in values_by_name.items()}
                    best = score, sentence[:start] + template.format(**values)
        return best

    def say(self, template: str, /, **values: Any) -> str:
        """A sentence in this language; arguments as of ``text``."""
        return self(text(template, **values))

    def _value(self, value: Any) -> Any:
        return self(value) if isinstance(value, str) else value


_VALUE = re.compile(r"\{(\w+)\}")
_BETWEEN: Mapping[str, Mapping[str, str]] = {"ja": {", ": "、", "; ": "、", " ": ""}}
"""What stands between listed names or sentences, by language: for English signs, others."""
_LIST = re.compile(r"(?:\{n\d+\}([,;]? )?)+")


def _list_template(code: Code, template: str) -> str:
    """The template of a list (``list_names``) with the signs of a language; others as they are."""
    if not _LIST.fullmatch(template):
        return template
    for english, translation in _BETWEEN.get(code, {}).items():
        template = template.replace(english, translation)
    return template


@cache
def _shape(template: str) -> re.Pattern[str]:
    """Compile a template into a pattern of its sentences, with values as short as they can be."""
    parts = _VALUE.split(template)
    pieces = (f"(?P<{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.compile("".join(pieces), re.DOTALL)


ENGLISH = Language()
Speaks = Callable[[Code], Language]
"""Gives a language with its catalogue; asked when somebody is spoken to, and not before."""
_CURRENT: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def current() -> Language:
    """The language of the person at this command."""
    return _CURRENT.get()


def from_environment(environment: Mapping[str, str] | None = None) -> Code:
    """The language that the environment names; English where it names none that is known."""
    variables = os.environ if environment is None else environment
    variable = next((variables[name] for name in VARIABLES if variables.get(name)), "")
    return next((code for code in CODES if variable.lower().startswith(code)), "en")


_CHOSEN = "wg_common.language"


def add_option(command: click.Command, speaks: Speaks) -> None:
    """Give a program ``--language``; without it ``prefer`` and the environment count."""

    def choose(context: click.Context, _: click.Parameter, value: Code | None) -> None:
        if value is not None:
            context.meta[_CHOSEN] = value
        _CURRENT.set(speaks(context.meta.get(_CHOSEN) or from_environment()))

    option = click.Option(
        ["--language"],
        type=click.Choice(CODES),
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Of what people read; default: client.yaml's, or the environment's.",
    )
    command.params.append(option)


def of_the_call(context: click.Context) -> Code:
    """The language that the command line names, wherever it stands, or the environment."""
    return _option_language() or context.meta.get(_CHOSEN) or from_environment()


def _option_language() -> Code | None:
    """Return the language that ``--language`` names in this process's command line."""
    words = _WORDS_OF_THE_CALL.get()
    for word, following in itertools.pairwise((*words, "")):
        option, _, value = word.partition("=")
        if option == "--language":
            return next((code for code in CODES if code == (value or following)), None)
    return None


_WORDS_OF_THE_CALL: ContextVar[Sequence[str]] = ContextVar("words", default=())


def call(words: Sequence[str], speaks: Speaks | None = None) -> None:
    """Remember the words of a call, and speak its language also where they are wrong.

    ``--help --language ja`` asks for help before the language; a wrong word ends all reading.
    """
    _WORDS_OF_THE_CALL.set(tuple(words))
    if speaks is not None:
        _CURRENT.set(speaks(_option_language() or from_environment()))


def usage(context: click.Context) -> Text:
    """The line that says how a command is called."""
    words = context.command_path, *context.command.collect_usage_pieces(context)
    return text("Usage: {usage}", usage=" ".join(words))


def prefer(code: Code | None, speaks: Speaks) -> None:
    """Speak a language that a home asks for, unless the command line named one."""
    context = click.get_current_context(silent=True)
    if code is not None and (context is None or _CHOSEN not in context.meta):
        _CURRENT.set(speaks(code))


def width(sentence: str) -> int:
    """Columns that a text takes on a terminal: a wide character takes two."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c)
        for c in sentence
    )


def pad_columns(sentence: str, columns: int) -> str:
    """The text with blanks up to a number of columns."""
    return sentence + " " * max(columns - width(sentence), 0)


def wrap_columns(sentence: str, columns: int) -> Iterator[str]:
    """Lines of at most so many columns; words longer than that stay whole.

    Text with wide characters breaks between any two of them, as Japanese does.
    """
    indent = " " * (len(sentence) - len(sentence.lstrip()) + 4)
    line = ""
    for word in _WORDS.findall(sentence):
        if line.strip() and width(line + word.rstrip()) > columns:
            yield line.rstrip()
            line = indent + word.lstrip()
        else:
            line += word
    yield line.rstrip()


_WIDE = "\u3000-\u30ff\u3400-\u9fff\uff00-\uffef"
_WORDS = re.compile(rf"\s*(?:[^\s{_WIDE}]+|[{_WIDE}][、。）」]?)\s*")
"""Pieces that a line is not broken in."""


def list_names(names: Sequence[str], between: str = ", ") -> Text:
    """Names after one another, each in the language of the sentence that they stand in."""
    keys = [f"n{index}" for index in range(len(names))]
    template = between.join(f"{{{key}}}" for key in keys)
    return text(template, **dict(zip(keys, names, strict=True)))
