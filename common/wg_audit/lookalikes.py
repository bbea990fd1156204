"""Names that look alike: one name in other letters is no other data set, nor another site.

Names are compared as Unicode TS 39 compares identifiers: by skeletons. Compatibility forms (NFKC),
case, accents and characters without width are undone by the standard library; what is left is a
small table of letters that a reader takes for Latin ones, or for each other in Japanese.

Not found: names that mean the same in other words.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_LATIN = {
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
_JAPANESE = {
    "一": "ー",
    "二": "ニ",
    "力": "カ",
    "口": "ロ",
    "工": "エ",
    "夕": "タ",
    "卜": "ト",
    "八": "ハ",
}
_JAPANESE |= {"へ": "ヘ", "べ": "ベ", "ぺ": "ペ", "り": "リ"}
_SEPARATORS = "-_. ‐‑‒–—―−"
_TABLE = {
    ord(letter): target
    for target, letters in (*_LATIN.items(), *_JAPANESE.items(), ("", _SEPARATORS))
    for letter in letters
}
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_INVISIBLE = ("Mn", "Me", "Cf", "Cc", "Zs")
_KANA_MARKS = "\u3099\u309a"  # They are accents to Unicode, and tell kana apart


def skeleton(name: str) -> str:
    """Return what a reader takes a name for: the same for names that look alike."""
    caseless = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    letters = (
        letter
        for letter in unicodedata.normalize("NFD", caseless)
        if letter in _KANA_MARKS or unicodedata.category(letter) not in _INVISIBLE
    )
    plain = unicodedata.normalize("NFC", "".join(letters)).translate(_TABLE)
    for pair, letter in _PAIRS:
        plain = plain.replace(pair, letter)
    return plain


def groups(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Different names that look alike, each group in order; names that look like no other are left.

    Args:
        names: In any order, repeats allowed.
    """
    by_skeleton: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        by_skeleton[skeleton(name)].add(name)
    return sorted(tuple(sorted(group)) for group in by_skeleton.values() if len(group) > 1)


def spell_out(name: str) -> str:
    """A name with what is not ASCII in it written out, so that two that look alike can be told."""
    return name if name.isascii() else f"{name} ({ascii(name)[1:-1]})"
