"""Families of procedural text tasks, and their sites."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities import writing_habits
from wg_common.modalities.texts import Texts, normalise_text
from wg_common.streams import Stream
from wg_server.zoo.procedural_text import vocabulary
from wg_server.zoo.procedural_text.vocabulary import Concept

MODALITY = Texts.name
FAMILY_KINDS = vocabulary.CONCEPTS_BY_KIND
_KIND_PROBABILITIES = (0.26, 0.18, 0.14, 0.28, 0.14)
_CLASS_COUNT_RANGE = 3, 11  # Smallest number of classes of a family, and one more than the largest
_JAPANESE_PROBABILITY = 0.4
"""Probability that a site writes Japanese, and that a family's classes have Japanese names."""
_MIXED_LANGUAGE_PROBABILITY = 0.15  # Probability that a site writes both languages


@dataclass(frozen=True, slots=True, eq=False)
class TextFamily:
    """Generated kind of plant that sorts texts into classes.

    Attributes:
        name: Name in zoo entries; it contains the seed.
        kind: One of ``FAMILY_KINDS``.
        concepts: Concept of each class.
        labels: Names of the classes.
        seed: Seed from which the family was drawn.
    """

    name: str
    kind: str
    concepts: tuple[Concept, ...]
    labels: tuple[str, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextSite:
    """Site of a text family, with its own vocabulary and writing habits.

    Attributes:
        languages: Languages of its notes: ``en``, ``ja`` or both.
        phrases_by_language: Phrases that it uses, by language and then by class.
        equipment_by_language: Names of its equipment, by language.
        remarks_limit: Largest number of remarks that follow the phrase in a note.
        place_share: Share of notes that name a place, 0 to 1.
        writing_habits: Writing habits, such as abbreviations and typing errors.
    """

    languages: tuple[str, ...]
    phrases_by_language: dict[str, tuple[tuple[str, ...], ...]]
    equipment_by_language: dict[str, tuple[str, ...]]
    remarks_limit: int
    place_share: float
    writing_habits: writing_habits.WritingHabits


def draw_family(seed: tuple[int, ...], kind: str | None = None) -> TextFamily:
    """Draw the text family of a seed; ``kind`` is in ``FAMILY_KINDS``, or None: a random one."""
    rng = streams.stream_generator(Stream.FAMILY, *seed)
    family_kind = kind or str(rng.choice(list(FAMILY_KINDS), p=_KIND_PROBABILITIES))
    entries = FAMILY_KINDS[family_kind]
    count = min(int(rng.integers(*_CLASS_COUNT_RANGE)), len(entries))
    concepts = tuple(entries[i] for i in rng.permutation(len(entries))[:count])
    japanese = rng.random() < _JAPANESE_PROBABILITY
    style = int(rng.integers(3))
    names = [c.japanese_name if japanese else str(rng.choice(c.english_names)) for c in concepts]
    return TextFamily(
        name=f"{family_kind}-{'-'.join(str(s) for s in seed)}",
        kind=family_kind,
        concepts=concepts,
        labels=tuple([name, name.replace(" ", "_"), name.title()][style] for name in names),
        seed=seed,
    )


def draw_site(family: TextFamily, site_number: int, *, strength: float) -> TextSite:
    """Draw the site with a number; ``strength``, 0 to 1, is its deviation from usual habits."""
    rng = streams.stream_generator(Stream.SITE, *family.seed, indices=(site_number,))
    japanese, is_mixed = (
        rng.random() < _JAPANESE_PROBABILITY,
        rng.random() < _MIXED_LANGUAGE_PROBABILITY,
    )
    languages = ("en", "ja") if is_mixed else ("ja",) if japanese else ("en",)

    def draw_words(words: Sequence[str]) -> tuple[str, ...]:
        """Draw the words that a site uses; the larger ``strength``, the fewer."""
        count = max(1, round(len(words) * (1 - 0.6 * strength * rng.random())))
        return tuple(words[i] for i in rng.permutation(len(words))[:count])

    machines = [vocabulary.OBJECTS[i] for i in rng.permutation(len(vocabulary.OBJECTS))[:6]]
    return TextSite(
        languages=languages,
        phrases_by_language={
            language: tuple(draw_words(getattr(concept, language)) for concept in family.concepts)
            for language in languages
        },
        equipment_by_language={
            language: tuple(str(rng.choice(getattr(machine, language))) for machine in machines)
            for language in languages
        },
        remarks_limit=int(rng.integers(0, 4)),
        place_share=float(rng.random()),
        writing_habits=writing_habits.draw_writing_habits(rng, strength),
    )


def render_records(
    family: TextFamily, site: TextSite, labels: NDArray[np.int64], rng: np.random.Generator
) -> list[NDArray[np.str_]]:
    """Write one text for each label, as a person at the site would.

    Args:
        family: The family.
        site: The site.
        labels: Class of each text, ``[n]``.
        rng: Random generator of the differences between texts.
    """
    return [np.array(_write_note(family, site, int(label), rng)) for label in labels]


def _write_note(family: TextFamily, site: TextSite, label: int, rng: np.random.Generator) -> str:
    language = str(rng.choice(site.languages))
    phrase = str(rng.choice(site.phrases_by_language[language][label]))
    number = int(rng.integers(1, 400))
    equipment = str(rng.choice(site.equipment_by_language[language]))
    parts = [
        phrase.replace(
            "{o}",
            equipment + _draw_machine_number(language, rng),
        )
        .replace("{n}", str(number))
        .replace("{a}", "10." + ".".join(str(rng.integers(256)) for _ in range(3)))
        .replace("{h}", f"0x{rng.integers(1 << 32):08x}")
    ]
    if family.kind == "objects":  # the machine is the class: something is wrong with it
        symptom = vocabulary.SYMPTOMS[int(rng.integers(len(vocabulary.SYMPTOMS)))]
        parts = [str(rng.choice(getattr(symptom, language))).replace("{o}", parts[0])]
    if family.kind in ("symptoms", "actions", "objects"):
        remarks = vocabulary.REMARK_PHRASES[language]
        parts += [
            str(rng.choice(remarks)) for _ in range(int(rng.integers(site.remarks_limit + 1)))
        ]
        if rng.random() < site.place_share:
            place = f"{rng.choice(vocabulary.PLACE_WORDS[language])} {rng.integers(1, 30)}"
            parts.insert(int(rng.integers(len(parts) + 1)), place)
    text = ("、" if language == "ja" else str(rng.choice([", ", "; ", ". ", " - "]))).join(parts)
    return normalise_text(writing_habits.apply_writing_habits(text, site.writing_habits, rng))


def _draw_machine_number(language: str, rng: np.random.Generator) -> str:
    """Draw the number that follows a machine's name in a note; empty in half of the cases."""
    if rng.random() < 0.5:
        return ""
    number = int(rng.integers(1, 20))
    return f"{number}号" if language == "ja" else f" {number}"
