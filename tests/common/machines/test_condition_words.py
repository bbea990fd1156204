"""Class names in three languages say a condition, and nobody guesses at others."""

from __future__ import annotations

import pytest

from wg_common.machines import bearing, condition_words, gearbox, motor
from wg_common.machines.base import MachineKind
from wg_common.machines.registry import MACHINE_KINDS
from wg_core.errors import ConfigError

SAID = {
    bearing.MACHINE_KIND.name: {
        "normal": "normal_0 1797_Normal healthy baseline gut i.O. iO no_fault ohne_Befund 異常なし",
        "rolling element": "B007 Ball BSF Kugel Wälzkörper Rollenschaden 玉傷 転動体傷 ころ",
        "inner ring": "InnerRaceFault BPFI IR IR007 IRF IRFault Innenring innerring inner_race"
        " Lagerinnenring Kugellagerinnenring BallBearingInnerRace 内輪傷 内輪不良 ｲﾝﾅｰﾚｰｽ",
        "outer ring": "OR014@6 OR007@6_1 BPFO Außenring AUSSENRING Aussenringschaden 外輪剥離",
    },
    gearbox.MACHINE_KIND.name: {
        "normal": "healthy gearbox_normal Getriebe_gut 正常",
        "pinion tooth": "pinion_tooth_broken PinionChipped Ritzelzahnbruch 小歯車欠け ピニオン",
        "gear tooth": "gear_tooth_crack GearToothCrack Radzahn bull_wheel 大歯車折損",
        "wear": "wear worn_teeth Verschleiß 摩耗",
    },
    motor.MACHINE_KIND.name: {
        "normal": "healthy Normalzustand 良品",
        "broken rotor bar": "BrokenRotorBar 1BRB brb_2 Läuferstabbruch 回転子バー折損",
        "eccentricity": "eccentric rotor_eccentricity AirGap Exzentrizität 偏心",
        "stator turns": "stator_winding interturn_short ITSC Windungsschluss レアショート",
    },
}
UNSAID = (
    "",
    "7",
    "scratch",
    "fault",
    "異常",
    "cage",
    "inner_outer",
    "not_ok",
    "NOK",
    "n.i.O.",
    "abnormal",
    "unhealthy",
    "非正常",
    "no_inner_race_fault",
)


@pytest.mark.parametrize("kind", MACHINE_KINDS.values(), ids=list(MACHINE_KINDS))
def test_each_word_says_its_condition_and_no_other(kind: MachineKind) -> None:
    for number, name in enumerate(kind.conditions):
        for word in (name, *kind.words_by_condition[name]):
            assert condition_words.find_condition(kind, word) == number, word
            assert condition_words.find_condition(kind, word.upper()) == number, word


@pytest.mark.parametrize("kind", MACHINE_KINDS.values(), ids=list(MACHINE_KINDS))
def test_class_names_as_people_write_them_are_understood(kind: MachineKind) -> None:
    for name, labels in SAID[kind.name].items():
        assert set(condition_words.find_conditions(kind, labels.split())) == {
            kind.conditions.index(name)
        }


@pytest.mark.parametrize("label", UNSAID)
def test_a_name_that_says_none_or_two_or_denies_it_is_named(label: str) -> None:
    with pytest.raises(
        ConfigError, match=r"normal \(gut, 正常\), .*inner ring \(Innenring, 内輪\)"
    ):
        condition_words.find_condition(bearing.MACHINE_KIND, label)
    assert condition_words.find_conditions(bearing.MACHINE_KIND, (label, "正常")) == (None, 0)


def test_a_hostile_name_takes_no_time() -> None:
    assert condition_words.find_conditions(bearing.MACHINE_KIND, ("aA" * 50_000,)) == (None,)
