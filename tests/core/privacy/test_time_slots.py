"""Time slots, on a clock that the test winds."""

from __future__ import annotations

import pytest

from wg_core.errors import ConfigError
from wg_core.privacy.time_slots import wait_for_slot_end


class Clock:
    def __init__(self) -> None:
        self.time = 100.0
        self.short = False

    def current_time(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds / 2 if self.short else seconds
        self.short = False


@pytest.mark.parametrize("work", [0.0, 0.01, 1.3, 4.999, 5.0])
def test_any_work_within_a_slot_is_answered_at_its_end(work: float) -> None:
    clock = Clock()
    clock.time += work
    assert wait_for_slot_end(100.0, 5.0, clock=clock.current_time, sleep=clock.sleep) == 1
    assert clock.time == pytest.approx(105.0)


def test_longer_work_is_answered_at_the_end_of_a_later_slot() -> None:
    clock = Clock()
    clock.time += 12.0
    assert wait_for_slot_end(100.0, 5.0, clock=clock.current_time, sleep=clock.sleep) == 3
    assert clock.time == pytest.approx(115.0)


def test_a_sleep_that_returns_early_is_taken_up_again() -> None:
    clock = Clock()
    clock.short = True
    wait_for_slot_end(100.0, 5.0, clock=clock.current_time, sleep=clock.sleep)
    assert clock.time >= 105.0


@pytest.mark.parametrize("slot", [0.0, -1.0, float("inf"), float("nan")])
def test_a_slot_that_is_none_is_refused(slot: float) -> None:
    with pytest.raises(ConfigError, match="slot"):
        wait_for_slot_end(0.0, slot)
