"""The course of windows says when, beside an encoder that hardly does."""

from __future__ import annotations

import numpy as np
import pytest

from wg_common.nets.encoder.module import unfitted_encoder
from wg_common.nets.encoder.window_course import WindowCourse
from wg_core.site.encoder_names import STEPS, channels_of, course_name, digest


def pulse(at: int, channel: int = 0, *, channels: int = 2, time: int = 64) -> np.ndarray:
    window = np.zeros((channels, time), np.float32)
    window[channel, at : at + 8] = 5.0
    return window


def test_it_says_when_and_in_which_channel_and_in_its_own_units() -> None:
    both = unfitted_encoder("windows", 64).with_beside(WindowCourse(2))
    assert both.local_blocks[-1] == 2 * STEPS
    found = both.encode_local([pulse(8), pulse(40), pulse(40, 1), 3 * pulse(40)])
    course = found[:, -2 * STEPS :].reshape(4, 2, STEPS)
    loud = [sorted(row[0].argsort()[-2:].tolist()) for row in course[:2]]
    assert loud == [[2, 3], [10, 11]]
    assert course[2, 1].max() > 4 and abs(course[2, 0]).max() == 0
    np.testing.assert_allclose(course[3], 3 * course[1], rtol=1e-6)


def test_the_shared_features_stay_and_a_record_counts_by_itself() -> None:
    plain = unfitted_encoder("windows", 64)
    both, records = plain.with_beside(WindowCourse(2)), [pulse(8), pulse(40, 1, time=1500)]
    found = both.encode_local(records)
    np.testing.assert_array_equal(found[:, : -2 * STEPS], plain.encode_local(records))
    np.testing.assert_array_equal(found[1:], both.encode_local(records[1:]))
    np.testing.assert_allclose(both.encode_batched(records), found, rtol=1e-5, atol=1e-5)


def test_windows_with_another_number_of_channels_have_as_many_features() -> None:
    both = unfitted_encoder("windows", 64).with_beside(WindowCourse(2))
    one, three = (both.encode_local([pulse(8, channels=count)])[0] for count in (1, 3))
    np.testing.assert_array_equal(one[-2 * STEPS :], three[-2 * STEPS :])
    assert one[-2 * STEPS :].any() and not one[-STEPS:].any()


@pytest.mark.parametrize("name", ["window-course-0", "window-course-129", "window-course-02", "x"])
def test_names_are_read_strictly(name: str) -> None:
    assert channels_of(name) == 0
    assert channels_of(course_name(128)) == 128 and digest("a") != digest("b")
