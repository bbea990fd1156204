"""How other people write the same thing: the manners of a site.

Not guaranteed: that a site's writers have no other manners. These are about the letters; words of a
trade are the zoo's (``wg_server.zoo.procedural_text``).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Manner:
    """Writing habits of a site's people.

    Attributes:
        case: ``lower``, ``upper``, or as it is.
        errors: Probability that a word has a typing error.
        short: Probability that a long word is shortened.
        stopped: Whether a shortened word ends with a full stop.
    """

    case: str
    errors: float
    short: float
    stopped: bool


def draw(rng: np.random.Generator, strength: float) -> Manner:
    """A site's manner; at strength 0 nobody errs, and nothing changes."""
    is_changed = rng.random() < strength
    return Manner(
        case=str(rng.choice(["lower", "upper", ""], p=[0.5, 0.2, 0.3])) if is_changed else "",
        errors=float(0.1 * strength * rng.random()),
        short=float(0.3 * strength * rng.random() ** 2),
        stopped=bool(rng.random() < 0.5),
    )


def write_in_manner(text: str, manner: Manner, rng: np.random.Generator) -> str:
    """A text in a manner. Words of other scripts than Latin are left as they are."""
    kept_letters = 5
    words = text.split(" ")
    for place, word in enumerate(words):
        if not (word.isascii() and word.isalpha()):
            continue
        if len(word) > kept_letters and rng.random() < manner.short:
            words[place] = word[: int(rng.integers(3, 5))] + "." * manner.stopped
        elif len(word) > 3 and rng.random() < manner.errors:
            words[place] = mistype(word, rng)
    sentence = " ".join(words)
    return {"lower": sentence.lower(), "upper": sentence.upper()}.get(manner.case, sentence)


def mistype(word: str, rng: np.random.Generator) -> str:
    """A word with one typing error: two letters swapped, one left out, or one doubled."""
    place = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + (word[place] * 2 if kind == 1 else "") + word[place + 1 :]
