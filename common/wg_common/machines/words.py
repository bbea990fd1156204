"""Class names that say a condition of a machine, in English, German and Japanese.

A name is split at capitals, digits and signs, and compared without case, umlauts or width of signs:
``InnerRaceFault``, ``IR007``, ``Innenringschaden`` and ``内輪傷`` say the same. A name that says no
condition or two, and one that denies what it says, is not understood: nobody guesses.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from wg_common.language import text
from wg_common.machines.base import MachineKind
from wg_core.errors import ConfigError

SOUND = (
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
"""Words for the sound condition of every kind: one in each language, then others."""

_NEUTRAL = (
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
"""Names of whole machines, in which words for a part of them stand."""
_DENIALS = (
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
_LANGUAGES = 3  # Of the words that stand first
_LEAST_CONDITIONS = 2  # Fewer leave nothing to tell apart

_PREFIX = 5  # Letters of a word that may begin a longer one, as in innenringe
_PART = 8  # Letters of a word that may stand anywhere in one, as in lagerinnenring
_CAPITALS = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])|(?<=[A-ZÄÖÜ])(?=[A-ZÄÖÜ][a-zäöüß]{2})")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_DIRECT = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")  # Japanese is written without spaces


def condition_of(kind: MachineKind, label: str) -> int:
    """Find the number of the condition that a class name says.

    Raises:
        ConfigError: It says none, or more than one.
    """
    plain_label = plain(label)
    for phrase in _NEUTRAL:
        plain_label = plain_label.replace(plain(phrase).strip(), " ")
    matches = {
        number: words
        for number, name in enumerate(kind.conditions)
        if (words := [word for word in kind.words[name] if _says(plain_label, plain(word))])
    }
    is_denied = any(_says(plain_label, plain(word)) for word in _DENIALS)
    sound_by_denial = any(
        _says(plain(word), plain(denial)) for word in matches.get(0, ()) for denial in _DENIALS
    )
    if len(matches) != 1 or (is_denied and not sound_by_denial):
        raise ConfigError(
            text(
                "class {label}: says no condition of such a machine, or several; expected one of"
                " {words} in it",
                label=repr(label),
                words=expected(kind),
            )
        )
    return next(iter(matches))


def conditions_of(kind: MachineKind, labels: Iterable[str]) -> tuple[int | None, ...]:
    """Numbers of the conditions that class names say, None for each that is not understood."""

    def condition_or_none(label: str) -> int | None:
        try:
            return condition_of(kind, label)
        except ConfigError:
            return None

    return tuple(condition_or_none(label) for label in labels)


def network_conditions(kind: MachineKind, labels: Sequence[str]) -> tuple[int | None, ...]:
    """Numbers of conditions as of ``conditions_of``, if a network can tell anything apart.

    Raises:
        ConfigError: Class names say fewer than two conditions.
    """
    conditions = conditions_of(kind, labels)
    if len(set(conditions) - {None}) < _LEAST_CONDITIONS:
        raise ConfigError(
            text(
                "classes {labels}: say fewer than two conditions of such a machine; expected"
                " {words} in their names",
                labels=", ".join(labels),
                words=expected(kind),
            )
        )
    return conditions


def meaning(kind: MachineKind, condition: int) -> str:
    """Name a condition in English, German and Japanese."""
    english, *translations = kind.words[kind.conditions[condition]][:_LANGUAGES]
    return f"{english} ({', '.join(translations)})"


def expected(kind: MachineKind) -> str:
    """List what would be understood, a word of each language for each condition."""
    return ", ".join(meaning(kind, condition) for condition in range(len(kind.conditions)))


@functools.cache
def plain(words: str) -> str:
    """Words in small letters between single blanks, without digits, signs and umlauts."""
    split = _CAPITALS.sub(" ", unicodedata.normalize("NFKC", words))
    letters = re.sub(r"[\W\d_]+", " ", split.casefold().translate(_UMLAUTS))
    return f" {letters.strip()} "


def _says(label: str, word: str) -> bool:
    """Tell whether a plain label holds a plain word."""
    bare = word.strip()
    if _DIRECT.search(bare):
        return bare in label
    if " " not in bare and len(bare) >= _PREFIX and f" {bare}" in label:
        return True
    return word in label or (" " not in bare and len(bare) >= _PART and bare in label)
