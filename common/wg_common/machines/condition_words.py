"""Recognition of a machine's condition in class names in English, German and Japanese.

A name is split at capitals, digits and punctuation, and compared without case, umlauts or character
width: ``InnerRaceFault``, ``IR007``, ``Innenringschaden`` and ``内輪傷`` name the same condition. A
name with no condition, with several, or with a negated one is not recognised.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from wg_common.language import text
from wg_common.machines.base import MachineKind
from wg_core.errors import ConfigError

HEALTHY_WORDS = (
    "normal",
    "gut",
    "正常",
    "healthy",
    "good",
    "ok",
    "okay",
    "sound",
    "baseline",
    "nominal",
    "intact",
    "undamaged",
    "reference",
    "no fault",
    "no damage",
    "no defect",
    "fault free",
    "faultless",
    "gesund",
    "io",
    "i o",
    "in Ordnung",
    "intakt",
    "unbeschädigt",
    "fehlerfrei",
    "schadensfrei",
    "ohne Schaden",
    "ohne Befund",
    "kein Fehler",
    "Referenz",
    "Normalzustand",
    "良品",
    "健全",
    "良好",
    "無傷",
    "異常なし",
    "傷なし",
    "欠陥なし",
    "損傷なし",
)
"""Words for the healthy condition: one in English, German and Japanese, then others."""

_WHOLE_MACHINE_NAMES = (
    "rolling element bearing",
    "rolling bearing",
    "ball bearing",
    "roller bearing",
    "Kugellager",
    "Rollenlager",
    "Wälzlager",
    "玉軸受",
    "ころ軸受",
    "gearbox",
    "gear box",
    "gear pair",
    "Getriebe",
)
"""Names of whole machines that contain words for a part of them."""
_NEGATIONS = (
    "not",
    "non",
    "no",
    "nicht",
    "kein",
    "keine",
    "ohne",
    "without",
    "nio",
    "n",
    "非",
    "ない",
)
_LANGUAGE_COUNT = 3  # Number of first words of a condition that are its name in each language

_PREFIX_LETTERS_MINIMUM = (
    5  # Fewest letters of a word that may begin a longer word, as in innenringe
)
_INNER_LETTERS_MINIMUM = (
    8  # Fewest letters of a word that may occur anywhere in a word, as in lagerinnenring
)
_CASE_BOUNDARY = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])|(?<=[A-ZÄÖÜ])(?=[A-ZÄÖÜ][a-zäöüß]{2})")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_JAPANESE_CHARACTER = re.compile(
    "[\u3040-\u30ff\u4e00-\u9fff]"
)  # Japanese is written without spaces


def find_condition(kind: MachineKind, label: str) -> int:
    """Return the index in ``kind.conditions`` of the condition that a class name indicates.

    Raises:
        ConfigError: The name indicates no condition, several, or a negated one.
    """
    plain_label = normalise_words(label)
    for phrase in _WHOLE_MACHINE_NAMES:
        plain_label = plain_label.replace(normalise_words(phrase).strip(), " ")
    matches = {
        number: words
        for number, name in enumerate(kind.conditions)
        if (
            words := [
                word
                for word in kind.words_by_condition[name]
                if _contains_word(plain_label, normalise_words(word))
            ]
        )
    }
    is_denied = any(_contains_word(plain_label, normalise_words(word)) for word in _NEGATIONS)
    sound_by_denial = any(
        _contains_word(normalise_words(word), normalise_words(denial))
        for word in matches.get(0, ())
        for denial in _NEGATIONS
    )
    if len(matches) != 1 or (is_denied and not sound_by_denial):
        raise ConfigError(
            text(
                "class {label}: says no condition of such a machine, or several; expected one of"
                " {words} in it",
                label=repr(label),
                words=list_recognised_words(kind),
            )
        )
    return next(iter(matches))


def find_conditions(kind: MachineKind, labels: Iterable[str]) -> tuple[int | None, ...]:
    """Return the condition index of each class name; None for a name that is not recognised."""

    def condition_or_none(label: str) -> int | None:
        try:
            return find_condition(kind, label)
        except ConfigError:
            return None

    return tuple(condition_or_none(label) for label in labels)


def require_two_conditions(kind: MachineKind, labels: Sequence[str]) -> tuple[int | None, ...]:
    """Return the conditions as ``find_conditions`` does, if there are two or more.

    Raises:
        ConfigError: The class names indicate fewer than two conditions.
    """
    conditions = find_conditions(kind, labels)
    if len(set(conditions) - {None}) < 2:
        raise ConfigError(
            text(
                "classes {labels}: say fewer than two conditions of such a machine; expected"
                " {words} in their names",
                labels=", ".join(labels),
                words=list_recognised_words(kind),
            )
        )
    return conditions


def describe_condition(kind: MachineKind, condition_index: int) -> str:
    """Return the name of a machine condition in English, German and Japanese."""
    english, *translations = kind.words_by_condition[kind.conditions[condition_index]][
        :_LANGUAGE_COUNT
    ]
    return f"{english} ({', '.join(translations)})"


def list_recognised_words(kind: MachineKind) -> str:
    """Return text that names each condition of a machine kind in all three languages."""
    return ", ".join(
        describe_condition(kind, condition) for condition in range(len(kind.conditions))
    )


@functools.cache
def normalise_words(words: str) -> str:
    """Return words in lower case between single blanks, without digits and punctuation."""
    split = _CASE_BOUNDARY.sub(" ", unicodedata.normalize("NFKC", words))
    letters = re.sub(r"[\W\d_]+", " ", split.casefold().translate(_UMLAUTS))
    return f" {letters.strip()} "


def _contains_word(label: str, word: str) -> bool:
    """Return True if a normalised class name contains a normalised word."""
    bare = word.strip()
    if _JAPANESE_CHARACTER.search(bare):
        return bare in label
    if " " not in bare and len(bare) >= _PREFIX_LETTERS_MINIMUM and f" {bare}" in label:
        return True
    return word in label or (
        " " not in bare and len(bare) >= _INNER_LETTERS_MINIMUM and bare in label
    )
