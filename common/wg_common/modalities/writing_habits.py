"""Simulation of a site's writing habits: letter case, typing errors, abbreviations.

Differences in vocabulary are simulated by the zoo (``wg_server.zoo.procedural_text``).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class WritingHabits:
    """Habits of the people at a simulated site who write its texts.

    Attributes:
        letter_case: ``lower``, ``upper``, or empty for unchanged case.
        error_rate: Probability that a word has a typing error.
        shortening_rate: Probability that a long word is shortened.
        has_full_stop: True if a shortened word ends with a full stop.
    """

    letter_case: str
    error_rate: float
    shortening_rate: float
    has_full_stop: bool


def draw_writing_habits(rng: np.random.Generator, strength: float) -> WritingHabits:
    """Draw the writing habits of a site; at strength 0 they change nothing."""
    is_changed = rng.random() < strength
    return WritingHabits(
        letter_case=str(rng.choice(["lower", "upper", ""], p=[0.5, 0.2, 0.3]))
        if is_changed
        else "",
        error_rate=float(0.1 * strength * rng.random()),
        shortening_rate=float(0.3 * strength * rng.random() ** 2),
        has_full_stop=bool(rng.random() < 0.5),
    )


def apply_writing_habits(text: str, habits: WritingHabits, rng: np.random.Generator) -> str:
    """Rewrite a text with a site's writing habits; only ASCII words get errors or are cut."""
    kept_letters = 5
    words = text.split(" ")
    for place, word in enumerate(words):
        if not (word.isascii() and word.isalpha()):
            continue
        if len(word) > kept_letters and rng.random() < habits.shortening_rate:
            words[place] = word[: int(rng.integers(3, 5))] + "." * habits.has_full_stop
        elif len(word) > 3 and rng.random() < habits.error_rate:
            words[place] = add_typing_error(word, rng)
    sentence = " ".join(words)
    return {"lower": sentence.lower(), "upper": sentence.upper()}.get(habits.letter_case, sentence)


def add_typing_error(word: str, rng: np.random.Generator) -> str:
    """Make one typing error in a word: swap two letters, omit a letter, or double it."""
    place = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + (word[place] * 2 if kind == 1 else "") + word[place + 1 :]
