"""The plants of the demo of texts: what each has, and that no test note was seen."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path

from demo import stories, texts
from rich.console import Console

from wg_client.methods.names import LOCAL, POOLED

ROOT = Path(__file__).parents[2]


def _rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["label"]) for row in csv.DictReader(stream)]


def test_plants_have_what_they_say_and_tests_are_unseen(tmp_path: Path) -> None:
    found = {plant.name: plant for plant in texts.plants(tmp_path)}
    again = texts.plants(tmp_path / "again")
    assert list(found) == list(texts.KINDS)
    for plant, other in zip(found.values(), again, strict=True):
        own, tests = _rows(plant.data), _rows(plant.test)
        assert own == _rows(other.data) and len(own) == plant.records
        assert not {text for text, _ in own} & {text for text, _ in tests}
        assert {label for _, label in tests} == set(plant.classes)
        assert not {label for _, label in own} & set(plant.missing)
    assert {label for _, label in _rows(found["pump-house"].data)} == {""}
    assert len(found["press-shop"].missing) == 2
    english, japanese = (found[name].classes for name in ("rolling-mill", "press-shop"))
    assert not set(english) & set(japanese) and found["pump-house"].classes == japanese


def test_the_table_says_in_80_columns_what_came_of_each_plant() -> None:
    common = {
        "title": "Few labels",
        "records": 72,
        "notes_per_class": 5,
        "labelled": True,
        "notes_in": "en",
        "names_in": "en",
        "classes": list("abcdef"),
        "missing_classes": [],
        "names_alone": 0.47,
        "alone": 0.7,
        "kept": 0.7,
        "kept_source": LOCAL,
        "gain": {"mean": 0.0, "se": 0.0},
        "best_other": 0.64,
        "epsilon": 3.9999,
        "epsilon_cap": 8.0,
    }
    better = {"kept": 0.79, "kept_source": POOLED, "gain": {"mean": 0.09, "se": 0.02}}
    unlabelled = {"labelled": False, "alone": None, "gain": None, "names_in": "ja"}
    plants = [
        {**common, "name": "pump-house"},
        {**common, **better, "name": "press-shop", "missing_classes": ["a", "b"]},
        {**common, **better, **unlabelled, "name": "rolling-mill"},
    ]
    shown = io.StringIO()
    Console(width=stories.WIDTH, file=shown).print(texts.table(plants))
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    words = " ".join(shown.getvalue().split())
    assert "5 English notes of each of 6 classes" in words
    assert "5 English notes of 4 of 6 classes" in words
    assert "72 English notes without labels, classes named in Japanese" in words
    assert "keeps its own (offered: 64 %)" in words and "better by 9 points" in words
    assert "has a model where there was none" in words


def test_make_says_which_demo(tmp_path: Path) -> None:
    for words, module in (((), "demo"), (("MODALITY=text",), "demo.texts")):
        found = subprocess.run(
            ["make", "-n", "demo", *words], cwd=ROOT, check=True, capture_output=True, text=True
        )
        assert f"-m {module} " in found.stdout + " "
