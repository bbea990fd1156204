"""The demo's table and page: six stories in 80 columns, in plain words, and losses among them.

Both are also in Japanese.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any

import numpy as np
import pytest
from demo import report, stories
from demo.languages import DEMO, load_demo_language, set_language
from rich.cells import cell_len
from rich.console import Console
from tests.common.test_catalogues import OTHERS, ROOT, has_words, in_context, said

from wg_client.methods.method_names import (
    GENERATED,
    HANDED_ON,
    LOCAL_ONLY,
    POOLED,
    POOLED_FINETUNED,
)
from wg_common import language
from wg_common.language import ENGLISH, Language, LanguageCode

JAPAN = load_demo_language("ja")
JARGON = re.compile(
    r"\b(?:LDA|BLUP|epsilon|delta|posterior|prior|logits?|nats|DP|head|encoder|latent|diffusion"
    r"|out-of-fold|local-only|fine-?tun\w*|embedding|checkpoint|cnn\S*|shots?)\b|[εδσ]",
    re.IGNORECASE,
)


def plant(story: str, name: str, **changed: Any) -> dict[str, Any]:
    """A made-up plant of the summary that keeps its own model."""
    found: dict[str, Any] = {
        "name": name,
        "story": story,
        "title": "steel surface",
        "records": 200,
        "labels_per_class": 20,
        "classes": [str(number) for number in range(10)],
        "missing_classes": [],
        "test_records": 399,
        "alone": 0.912,
        "kept": 0.912,
        "kept_source": LOCAL_ONLY,
        "instead": None,
        "pool": 5,
        "condition": {"data_sheet": "", "statistic": "", "epsilon": ""},
        "told": False,
        "gain": {"mean": 0.0, "se": 0.0},
        "unseen": None,
        "best_other": 0.874,
        "accuracy": {"local_only": 0.912, "generated_finetuned": 0.874},
        "accuracy_se": {"local_only": 0.014, "generated_finetuned": 0.017},
        "epsilon": 3.9999,
        "epsilon_cap": 8.0,
        "delta": 1e-5,
        "bytes_sent": 41_000,
        "bytes_received": 812_345,
        "ledger": {"entries": 5, "verified": True, "verdict": "verified"},
    }
    return found | changed


def soft_sensor() -> dict[str, Any]:
    """A made-up story of an exchanger."""
    gain = {"mean": 0.02, "se": 0.005}
    return plant(
        "soft-sensor",
        "cooler",
        title="a heat exchanger",
        classes=["heat duty"],
        labels_per_class=0,
        alone=None,
        instead=0.61,
        sheet_alone=0.80,
        kept=0.82,
        kept_source=GENERATED,
        best_other=None,
        condition={"data_sheet": "heat_exchanger", "statistic": "ab", "epsilon": "1"},
        gain={"mean": 0.21, "se": 0.03},
        over_none=gain,
        error={"own": 0.041, "none": 0.062, "by_hand": 0.07},
        others={"count": 40, "over": dict.fromkeys(("none", "another", "by_hand"), gain)},
        accuracy={"generated": 0.82},
        accuracy_se={"generated": 0.01, "none": 0.01},
        epsilon=1.0,
    )


def summary() -> dict[str, Any]:
    """Of the plants one keeps its own, two gain, one has no labels, one loses."""
    unlabelled = {"labels_per_class": 0, "alone": None}
    gain = {"mean": 0.45, "se": 0.02}
    plants = [
        plant(
            "machine",
            "pump",
            **unlabelled,
            instead=0.45,
            kept=0.82,
            kept_source=GENERATED,
            gain=gain,
            condition={"data_sheet": "rotating_machine", "statistic": "", "epsilon": ""},
            takes_statistic=False,
            epsilon=0.0,
            accuracy={"generated": 0.82},
            accuracy_se={"generated": 0.02},
        ),
        plant(
            "known-kind",
            "mill",
            labels_per_class=5,
            kept=0.8,
            kept_source=HANDED_ON,
            gain={"mean": -0.11, "se": 0.02},
        ),
        plant(
            "unseen-classes",
            "forge",
            missing_classes=["3", "5"],
            alone=0.71,
            kept=0.83,
            kept_source=POOLED_FINETUNED,
            gain={"mean": 0.12, "se": 0.02},
            unseen={"records": 80, "alone": 0.0, "kept": 0.61},
        ),
        plant(
            "no-labels",
            "foundry",
            **unlabelled,
            instead=0.1,
            kept=0.55,
            kept_source=POOLED,
            gain=gain,
            accuracy={"pooled": 0.55},
            accuracy_se={"pooled": 0.02},
        ),
        plant("keep-budget", "press", epsilon=0.0, told=True),
    ]
    return {
        "plants": [plants[0], soft_sensor(), *plants[1:]],
        "generator": {"zoo_size": 154, "train_seconds": 40.0, "sample_seconds": 0.1},
        "seconds": {"audit": 1.0},
        "processor_seconds": {"audit": 2.0},
        "versions": {"weightgate": "0"},
    }


def terminal(found: dict[str, Any], speak: Language = ENGLISH) -> str:
    """What a terminal of 80 columns shows."""
    shown = io.StringIO()
    console = Console(width=stories.WIDTH, file=shown)
    console.print(stories.stories_table(found["plants"], speak))
    for sentence in stories.notes(found):
        console.print(speak(sentence), highlight=False)
    return shown.getvalue()


def rendered(found: dict[str, Any], speak: Language = ENGLISH) -> str:
    """The page of made-up pictures."""
    pictures = {each["name"]: np.zeros((64, 512), np.uint8) for each in found["plants"]}
    return report.render_page(found, pictures, speak)


def words(page: str) -> str:
    """What a reader sees of a part of the page."""
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(shown).split())


def opening(page: str) -> str:
    """The page up to its first table."""
    return page[: page.index("Every model of every plant")]


def test_the_table_has_80_columns_and_all_stories_in_their_order() -> None:
    shown = terminal(summary())
    assert max(map(len, shown.splitlines())) <= 80
    places = [shown.index(story.title) for story in stories.STORIES]
    assert len(places) == 6
    assert places == sorted(places)
    for each in summary()["plants"]:
        assert each["name"] in shown


def test_the_table_says_what_won_what_lost_and_what_there_was_nothing_to_compare_with() -> None:
    shown = " ".join(terminal(summary()).split())
    assert "keeps its own (offered: 87 %)" in shown
    assert "better by 12 points" in shown
    assert "WORSE by 11 points" in shown
    assert "has a model where there was none" in shown
    assert "better by 45 points" in shown and "better by 21 points" in shown
    assert "4 of 8" in shown and "1 of 8" in shown and "0 of 8" in shown


@pytest.mark.parametrize("where", ["table", "page"])
def test_a_visitor_meets_no_jargon(where: str) -> None:
    found = summary()
    text = terminal(found) if where == "table" else words(opening(rendered(found)))
    assert JARGON.findall(text) == []
    assert "55 times more likely" in " ".join(text.split())  # what the price means, in words


def test_the_page_opens_with_the_stories_their_pictures_and_what_decides() -> None:
    start = opening(rendered(summary()))
    assert start.count('<section class="story') == 6
    assert start.count('src="data:image/png;base64,') == 6
    text = words(start)
    for number, story in enumerate(stories.STORIES, 1):
        assert f"{number}. {story.title}" in text
        assert story.lesson in text
    assert "0 % right alone, 61 % with weightgate" in text
    mechanisms = (
        "Generated: from its data sheet alone. A statistic of its records would change nothing",
        "Generated: from its data sheet and",
        "Handed on:",
        "Pooled: from the releases of 5",
    )
    for mechanism in mechanisms:
        assert mechanism in text
    assert "With its own statistic instead of none: +2.0 points, give or take 0.5." in text
    assert "'wg-client check' said: keep your budget" in text


def test_the_page_needs_no_network_and_knows_dark_screens_and_narrow_ones() -> None:
    page = rendered(summary())
    linked = set(re.findall(r"(?:src|href)=\"(?!data:)([^\"]*)", page))
    assert linked == {"report.ja.html"}  # beside it
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_last_lines_say_what_was_not_shown_and_why() -> None:
    found = summary()
    (told,) = stories.describe_omissions(found)
    assert (
        told == "All six stories are complete; 4 of them show a gain of more than twice its error."
    )
    found["plants"][4]["kept_source"] = None
    (without,) = stories.describe_omissions(found)
    assert "plant foundry" in without
    assert without in words(rendered(found))


@pytest.mark.parametrize(
    ("gain", "kept", "said"),
    [
        ({"mean": 0.03, "se": 0.02}, POOLED, "no clear difference"),
        ({"mean": 0.05, "se": 0.02}, POOLED, "better by 5 points"),
        ({"mean": -0.05, "se": 0.02}, POOLED, "WORSE by 5 points"),
        ({"mean": 0.0, "se": 0.0}, LOCAL_ONLY, "keeps its own (offered: 87 %)"),
    ],
)
def test_only_a_difference_beyond_two_errors_is_called_one(
    gain: dict[str, float], kept: str, said: str
) -> None:
    assert stories.describe_outcome(plant("keep-budget", "a", gain=gain, kept_source=kept)) == said


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_of_the_demo_is_in_every_language_and_none_is_idle(
    code: LanguageCode,
) -> None:
    sentences = in_context(DEMO, code, "")
    by_value = {
        *("stamped digits", "steel surface", "a bearing", "a heat exchanger"),  # what is looked at
    }
    there = said(ROOT / "demo") | by_value
    assert sorted(set(filter(has_words, there)) - set(sentences)) == []
    assert sorted(set(sentences) - there) == []


def test_the_japanese_table_has_80_columns_and_the_stories_in_japanese() -> None:
    shown = terminal(summary(), JAPAN)
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert "自社のまま（届いたもの 87 %）" in shown
    for story in stories.STORIES:
        assert JAPAN(story.title) in shown
        assert story.title not in shown


def test_the_japanese_page_has_no_english_sentence_and_links_to_the_english_page() -> None:
    page = rendered(summary(), JAPAN)
    assert '<html lang="ja">' in page
    assert 'href="report.en.html"' in page
    assert not re.search(r">[^<>]*[a-z]{3,} [a-z]{3,} [a-z]{3,}", page[page.index("<body>") :])
    for story in stories.STORIES:
        assert JAPAN(story.lesson) in words(page)


def test_a_demo_speaks_what_it_is_asked_to_or_else_the_environment_s_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in language.LANGUAGE_VARIABLES:
        monkeypatch.setenv(variable, "")  # and put back afterwards
    assert set_language(None) == ENGLISH
    monkeypatch.setenv("WEIGHTGATE_LANGUAGE", "ja_JP.UTF-8")
    assert set_language(None) == JAPAN
    assert set_language("en") == ENGLISH
    assert language.environment_language() == "en"  # what it starts speaks the same
