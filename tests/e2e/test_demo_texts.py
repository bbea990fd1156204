"""The plants of the demo of texts: what each has, and that no test note was seen."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from demo import texts

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
        assert not {label for _, label in own} & set(plant.unseen)
    assert {label for _, label in _rows(found["pump-house"].data)} == {""}
    assert len(found["press-shop"].unseen) == 2
    english, japanese = (found[name].classes for name in ("rolling-mill", "press-shop"))
    assert not set(english) & set(japanese) and found["pump-house"].classes == japanese


def test_make_says_which_demo(tmp_path: Path) -> None:
    for words, module in (((), "demo"), (("MODALITY=text",), "demo.texts")):
        found = subprocess.run(
            ["make", "-n", "demo", *words], cwd=ROOT, check=True, capture_output=True, text=True
        )
        assert f"-m {module} " in found.stdout + " "
