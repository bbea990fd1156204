"""What learning is said to take."""

from __future__ import annotations

import pytest

from wg_client.fitting.cost import LearningCost, learning_cost, look_seconds, measured_speed
from wg_client.selection.checks.probe import looks


def _cost(records: int, classes: int = 6, speed: float = 3e10) -> LearningCost:
    return learning_cost(
        records=records, labelled=records, classes=classes, width=3584, scaled=512, speed=speed
    )


def test_time_and_memory_grow_no_faster_than_records() -> None:
    few, many = _cost(4000), _cost(40000)
    assert 1 < (many.seconds - 3) / (few.seconds - 3) < 10
    assert few.megabytes < many.megabytes < 10 * few.megabytes


@pytest.mark.parametrize("records", [0, 1, 5])
def test_few_records_take_the_program_itself(records: int) -> None:
    assert 3 <= _cost(records).seconds < 3.5


def test_a_slower_machine_takes_longer() -> None:
    assert measured_speed() > 0
    assert _cost(3000, speed=1e9).seconds > 10 * (_cost(3000).seconds - 3)


def test_looking_again_takes_as_long_as_there_are_records() -> None:
    few, usual = looks(200, "images", 4), looks(200, "images", 40)
    assert few == 4 * 5 < usual
    assert looks(0, "images", 40) == 0
    assert look_seconds(2 * usual, 1e10) == pytest.approx(2 * look_seconds(usual, 1e10))
