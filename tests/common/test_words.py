"""The old private words stay gone: names and prose use the field's terms (docs/glossary.md).

Names are read from Python's own tokens, word by word, so that stored strings (sources in packages,
tensor names, keys of cards) are no names. Prose is read in every tracked text file. A word that is
also plain English is looked for only where it was a term, and only in the form that it had.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEARNING = (
    "server/wg_server/generator/",
    "server/wg_server/zoo/",
    "client/wg_client/fitting/",
    "client/wg_client/methods/",
    "client/wg_client/selection/",
    "client/wg_client/models/",
    "common/wg_common/inference/",
    "tests/server/generator/",
    "tests/server/zoo/",
    "tests/client/fitting/",
    "tests/client/methods/",
    "tests/client/selection/",
    "tests/client/models/",
    "tests/common/inference/",
    "bench/",
)
"""Where the learning half stands, whose words these were."""
EVERYWHERE = ("",)

GENERATOR = ("server/wg_server/generator/", "tests/server/generator/", "bench/")

NAMES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "contest": (LEARNING, "model selection"),
    "contested": (EVERYWHERE, "model selection"),
    "entrant": (EVERYWHERE, "method"),
    "entrants": (EVERYWHERE, "method"),
    "left out": (LEARNING, "leave-class-out, held out"),
    "own kinds": (EVERYWHERE, "operator's families"),
    "shelf": (EVERYWHERE, "retrieval index"),
    "stock": (LEARNING, "architecture bundle"),
    "knowledge": (EVERYWHERE, "fitted priors"),
    "skeleton": (EVERYWHERE, "prior head"),
    "skeletons": (EVERYWHERE, "prior heads"),
    "kin": (EVERYWHERE, "family match"),
    "sister": (EVERYWHERE, "same-family site"),
    "sisters": (EVERYWHERE, "same-family sites"),
    "stranger": (LEARNING, "out-of-family site"),
    "strangers": (LEARNING, "out-of-family sites"),
    "bridge": (EVERYWHERE, "feature-space regression"),
    "bridged": (EVERYWHERE, "feature-space regression"),
    "guess": (LEARNING, "estimate"),
    "wandering": (EVERYWHERE, "uncertainty of a site's mean"),
    "elsewhere": (LEARNING, "domain-shift augmentation"),
    "clearance": (EVERYWHERE, "quality gate"),
    "standards": (EVERYWHERE, "card checks"),
    "seat": (EVERYWHERE, "rank"),
    "ahead": (GENERATOR, "prefetch"),
    "settled": (GENERATOR, "final weights"),
    "ground": ((*GENERATOR, "client/", "tests/client/"), "labelled records, training data"),
    "offer": (LEARNING, "candidate"),
    "offers": (LEARNING, "candidates"),
    "twin": (LEARNING, "exact-data counterpart"),
    "twins": (LEARNING, "exact-data counterparts"),
    "leak": (LEARNING, "optimism"),
    "leaks": (LEARNING, "optimism"),
    "caution": (EVERYWHERE, "margin"),
    "nats": (EVERYWHERE, "log-loss gain"),
    "trust": (GENERATOR, "retrieval weight"),
    "blend": ((*GENERATOR, "client/", "tests/client/"), "logit ensemble, prior mixture"),
    "rival": (EVERYWHERE, "baseline"),
    "rivals": (EVERYWHERE, "baselines"),
    "memory": (("server/wg_server/generator/",), "other sites, zoo index"),
}
"""Words of names: where they were terms, and what is said instead."""

PROSE: Mapping[str, tuple[str, str]] = {
    r"\bcontests?\b": ("contest", "model selection"),
    r"\bentrants?\b": ("entrant", "method"),
    r"\b(the|of|operator.s) own kinds?\b": ("own kinds", "operator's family"),
    r"\b(on|of|from) (the|a|this) shelf\b": ("shelf", "retrieval index"),
    r"\bskeletons?\b": ("skeleton", "prior head"),
    r"""(?<!["'`-])\bkin\b(?!["'`])""": ("kin", "family match"),
    r"\bsister (sites?|plants?)\b": ("sister", "same-family site"),
    r"\b(of|by|in|all|three|two|its|their) sisters\b": ("sister", "same-family site"),
    r"\b(over|by|crosses|carries) the bridge\b|\bthe bridge (carries|from)\b": (
        "bridge",
        "feature-space regression",
    ),
    r"\bBLUP.s guess\b": ("guess", "BLUP estimate"),
    r"\bsites (of a kind )?wander\b": ("wandering", "uncertainty of a site's mean"),
    r"\b(other )?sites. views\b": ("elsewhere", "domain-shift augmentation"),
    r"\bcaution\b": ("caution", "margin in standard deviations"),
    r"\b(its|closed form.s) twins?\b": ("twin", "exact-data counterpart"),
}
"""Telling phrases, as regular expressions, with the word and what is said instead."""

_CARD = "a line of model cards of earlier generators"
_BATTERY = "the list of old words that the glossary may not have"
ALLOWED: Mapping[tuple[str, str], str] = {
    ("tests/server/generator/evaluation/test_scores.py", "skeleton"): _CARD,
    ("server/wg_server/zoo/procedural/boards.py", "bridge"): "a solder bridge, the defect",
    ("tests/core/ledger/test_processes.py", "contest"): "processes that race for one ledger",
    ("tests/common/test_glossary.py", "contest"): _BATTERY,
    ("tests/common/test_glossary.py", "entrant"): _BATTERY,
    ("tests/common/test_glossary.py", "skeleton"): _BATTERY,
    ("tests/common/test_glossary.py", "kin"): _BATTERY,
    ("tests/common/test_glossary.py", "caution"): _BATTERY,
}
"""(path or folder, word): why the word may stand there."""

SKIPPED = (
    "CHANGELOG.md",
    "server/wg_server/store/migrations/",
    "bench/results/",
)
TEXT = {".py", ".md", ".j2", ".html", ".toml", ".yaml", ".yml", ".css", ".sh"}
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def tracked() -> Iterator[tuple[str, str]]:
    """Path and text of every text file of the project, from disk: a test may run without git."""
    tops = ("bench", "client", "common", "demo", "deploy", "docs", "server", "tests")
    files = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
    for path in sorted([*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "Makefile"]):
        name = path.relative_to(ROOT).as_posix()
        hidden = any(part.startswith((".", "__pycache__")) or part == "out" for part in path.parts)
        if (
            (path.suffix in TEXT or path.name == "Makefile")
            and not hidden
            and not name.startswith(SKIPPED)
        ):
            yield name, path.read_text("utf-8")


def names(text: str) -> Iterator[tuple[int, str]]:
    """Line and words of each name in a Python source: ``left_out``, ``LeftOut``: "left out"."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], " ".join(WORD.findall(token.string)).lower()


def allowed(path: str, word: str) -> bool:
    return any(word == each and path.startswith(place) for place, each in ALLOWED)


def old_names(path: str, text: str) -> Iterator[str]:
    """Old words in names; the name of a test is a sentence, and read as prose."""
    wanted = {w: new for w, (places, new) in NAMES.items() if path.startswith(places)}
    for line, words in names(text):
        if words.startswith("test "):
            yield from (f"{path}:{line}: {each}" for each in old_prose(path, words))
            continue
        padded = f" {words} "
        for word, new in wanted.items():
            if f" {word} " in padded and not allowed(path, word):
                yield f"{path}:{line}: {words!r}, say {new}"


def old_prose(path: str, text: str) -> Iterator[str]:
    for pattern, (word, new) in PROSE.items():
        if allowed(path, word):
            continue
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match[0]!r}, say {new}"


def test_no_old_word_is_left() -> None:
    mine = Path(__file__).relative_to(ROOT).as_posix()
    found: list[str] = []
    for path, text in tracked():
        if path == mine:
            continue
        found += old_prose(path, text)
        if path.endswith(".py"):
            found += old_names(path, text)
    assert found == [], "\n".join(found)


def test_every_exception_is_still_needed() -> None:
    files = dict(tracked())
    for place, word in ALLOWED:
        texts = [text for path, text in files.items() if path.startswith(place)]
        assert any(word.split()[0] in text.lower() for text in texts), f"{place}: no {word!r}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("left_out = 1", 1),
        ("class LeftOut: ...", 1),
        ("x = 'left_out'", 0),
        ("leftover = out = 1", 0),
        ("def find_kin(): ...", 1),
        ("kinds = 1", 0),
        ("NATS = 1", 1),
        ("def test_what_is_left_out_is_said(): ...", 0),
        ("def test_sister_sites_agree(): ...", 1),
    ],
)
def test_names_are_read_word_by_word(source: str, count: int) -> None:
    assert len(list(old_names("bench/x.py", source))) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Two skeletons are offered.", 1),
        ('the source "kin" of a package', 0),
        ("Nobody is kin.", 1),
        ("three sister plants", 1),
        ("a bridge over a river", 0),
    ],
)
def test_prose_is_read_by_its_telling_phrases(text: str, count: int) -> None:
    assert len(list(old_prose("docs/x.md", text))) == count
