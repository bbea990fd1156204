"""Vocabulary of rendered texts: concepts with names and phrases in English and Japanese.

Each line of a file in ``words`` is one concept, with names, English phrases and Japanese phrases
separated by bars, and alternatives separated by semicolons. The last name is Japanese. In a phrase,
``{o}`` is replaced by a piece of equipment, ``{n}`` by a number, ``{a}`` by an IP address, and
``{h}`` by a hexadecimal number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Concept:
    """Meaning that a class can have, with the words for it in each language.

    Attributes:
        english_names: English names.
        japanese_name: Japanese name.
        en: English phrases, with placeholders.
        ja: Japanese phrases, with placeholders.
    """

    english_names: tuple[str, ...]
    japanese_name: str
    en: tuple[str, ...]
    ja: tuple[str, ...]


def _read_concepts(file_stem: str) -> tuple[Concept, ...]:
    concepts = []
    text = (resources.files(__package__) / "words" / f"{file_stem}.txt").read_text("utf-8")
    for line in text.splitlines():
        names, en, ja = (tuple(w.strip() for w in part.split(";")) for part in line.split("|"))
        concepts.append(Concept(names[:-1], names[-1], en, ja))
    return tuple(concepts)


OBJECTS, SYMPTOMS = _read_concepts("objects"), _read_concepts("symptoms")
CONCEPTS_BY_KIND: Mapping[str, tuple[Concept, ...]] = {
    "symptoms": SYMPTOMS,
    "actions": _read_concepts("actions"),
    "objects": OBJECTS,
    "requests": _read_concepts("requests"),
    "logs": _read_concepts("logs"),
}
"""Concepts of possible classes by the kind of family: classes are faults, actions taken, machines,
requests, or sources of log lines."""
PLACE_WORDS = {
    "en": ("line", "hall", "station", "cell", "unit", "area"),
    "ja": ("ライン", "工程", "号機"),
}
REMARK_PHRASES = {
    "en": (
        "please check", "asap", "since this morning", "again", "shift lead informed", "see photo",
        "production stopped", "no downtime", "found during round", "will observe", "third time",
        "after restart", "during start up", "spare part in stock", "reported by operator",
    ),
    "ja": (
        "確認願います", "至急", "今朝から", "再発", "班長に連絡済み", "写真参照", "生産停止",
        "停止なし", "巡回時に発見", "経過観察", "三回目", "再起動後", "立上げ時", "予備品あり",
    ),
}  # fmt: skip
