"""What ``init``, ``check`` and ``simulate`` say of a stated machine, in English and Japanese."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.bearings import BEARING, GEARS, MOTOR
from tests.client.conftest import MakePlant

from wg_client.plant_language import load_plant_language
from wg_client.release import preview
from wg_client.release.machine_hints import machine_hints
from wg_core.wire.data_sheet import DataSheet

JAPANESE = load_plant_language("ja")


@pytest.mark.parametrize(
    ("sheet", "labels", "meaning"),
    [
        (
            DataSheet(rotating_machine=BEARING),
            ("baseline", "IRF"),
            "IRF = inner ring (Innenring, 内輪)",
        ),
        (DataSheet(gearbox=GEARS), ("gut", "Ritzelzahnbruch"), "Ritzelzahnbruch = pinion tooth"),
        (DataSheet(induction_motor=MOTOR), ("正常", "偏心"), "偏心 = eccentricity"),
    ],
)
def test_classes_that_are_understood_are_named_with_what_they_mean(
    sheet: DataSheet, labels: tuple[str, ...], meaning: str
) -> None:
    (hint,) = machine_hints(sheet, labels)
    assert meaning in hint and labels[0] in hint
    assert "見分ける状態" in JAPANESE(hint) and labels[1] in JAPANESE(hint)


def test_a_class_that_is_not_understood_is_named_with_words_that_would_be() -> None:
    known, unknown = machine_hints(DataSheet(rotating_machine=BEARING), ("ok", "OR", "cage"))
    assert "cage" not in known
    assert "cage" in unknown and "inner ring (Innenring, 内輪)" in unknown
    assert "cage" in JAPANESE(unknown) and "理解できない" in JAPANESE(unknown)


def test_too_few_classes_that_are_understood_make_no_network() -> None:
    (hint,) = machine_hints(DataSheet(rotating_machine=BEARING), ("ok", "cage"))
    assert "no network can be made" in hint and "fewer than two conditions" in hint
    assert "作れません" in JAPANESE(hint) and "区別できません" in JAPANESE(hint)


def test_a_machine_unlike_all_that_are_simulated_is_said_with_the_remedy() -> None:
    fast = DataSheet(induction_motor=replace(MOTOR, sampling_hz=Decimal(10000)))
    (hint,) = machine_hints(fast, ("ok", "brb"))
    assert "periods of the supply" in hint and "6.2 to 22 times" in hint
    assert "電源の周期数" in JAPANESE(hint) and "6.2 倍から 22 倍" in JAPANESE(hint)


def test_check_says_it_and_nothing_where_no_machine_is_stated(make_plant: MakePlant) -> None:
    plant = make_plant({0: 4, 1: 4})
    bare = preview.preview_release(plant.home).hints
    plant.configure(data_sheet=DataSheet(rotating_machine=BEARING))
    more = preview.preview_release(plant.home).hints
    assert len(more) == len(bare) + 1 and "no network can be made" in more[0]
    assert not machine_hints(None, ("a", "b"))
