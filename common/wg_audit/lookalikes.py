"""Detection of names of data sets or sites that look alike.

Two names look alike if they have the same skeleton, as for identifiers in Unicode TS 39. Normal
forms of the standard library remove compatibility forms (NFKC), case, accents and zero-width
characters; a small table maps letters that look like a Latin letter, or like each other in
Japanese, to one letter.

*Not guaranteed:* detection of different words with the same meaning.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_LATIN_LOOKALIKES = {
    "a": "аα",
    "b": "вβь",
    "c": "сϲ",
    "d": "ԁ",
    "e": "еε",
    "h": "нһη",
    "k": "кκ",
    "l": "iіι1|ıǀӏ",
    "m": "мμ",
    "n": "пν",
    "o": "0оοσօ",
    "p": "рρ",
    "q": "ԛ",
    "r": "г",
    "s": "ѕ",
    "t": "тτ",
    "u": "υ",
    "v": "ѵ",
    "w": "ԝω",
    "x": "хχ",
    "y": "уγ",
    "z": "ζ",
    "j": "јϳ",
}
_JAPANESE_LOOKALIKES = {
    "一": "ー",
    "二": "ニ",
    "力": "カ",
    "口": "ロ",
    "工": "エ",
    "夕": "タ",
    "卜": "ト",
    "八": "ハ",
}
_JAPANESE_LOOKALIKES |= {"へ": "ヘ", "べ": "ベ", "ぺ": "ペ", "り": "リ"}
_SEPARATORS = "-_. ‐‑‒–—―−"
_SKELETON_TABLE = {
    ord(letter): target
    for target, letters in (
        *_LATIN_LOOKALIKES.items(),
        *_JAPANESE_LOOKALIKES.items(),
        ("", _SEPARATORS),
    )
    for letter in letters
}
_LOOKALIKE_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_INVISIBLE_CATEGORIES = ("Mn", "Me", "Cf", "Cc", "Zs")
_KANA_MARKS = "\u3099\u309a"  # Combining marks in Unicode that distinguish kana


def lookalike_skeleton(name: str) -> str:
    """Return the skeleton of a name; names that look alike have equal skeletons."""
    caseless = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    letters = (
        letter
        for letter in unicodedata.normalize("NFD", caseless)
        if letter in _KANA_MARKS or unicodedata.category(letter) not in _INVISIBLE_CATEGORIES
    )
    plain = unicodedata.normalize("NFC", "".join(letters)).translate(_SKELETON_TABLE)
    for pair, letter in _LOOKALIKE_PAIRS:
        plain = plain.replace(pair, letter)
    return plain


def lookalike_groups(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different names that look alike; groups and names are sorted.

    Args:
        names: Names in any order; repeats are allowed.
    """
    by_skeleton: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        by_skeleton[lookalike_skeleton(name)].add(name)
    return sorted(tuple(sorted(group)) for group in by_skeleton.values() if len(group) > 1)


def append_escaped_form(name: str) -> str:
    """Append the Unicode escapes of a non-ASCII name, so that it differs from its lookalikes."""
    return name if name.isascii() else f"{name} ({ascii(name)[1:-1]})"
