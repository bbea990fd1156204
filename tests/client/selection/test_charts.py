"""The report's pictures: places on a track and in a drawing."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.selection import charts
from wg_common.charts import bar_chart


def test_bars_and_intervals_stay_on_their_track() -> None:
    values = [("a", True, 60.0, 40.0, 80.0), ("b", False, -10.0, -30.0, 5.0)]
    for zero in (True, False):
        for row in bar_chart(values, 0.0, "+.1f", begins_at_zero=zero).rows:
            assert row.low >= 0 and row.low + row.spread <= 100.01
            assert row.start >= 0 and row.start + row.length <= 100.01
    first, second = bar_chart(values, 0.0, "+.1f").rows
    assert (first.value, first.interval) == ("+60.0", "+40.0 … +80.0")
    assert second.start + second.length == pytest.approx(first.start)  # both begin at zero


def test_equal_values_need_no_room() -> None:
    (row,) = bar_chart([("a", False, 0.0, 0.0, 0.0)], 0.0, ".1f").rows
    assert (row.start, row.length, row.interval) == (0.0, 0.0, "")


def test_a_matrix_counts_each_record_once_over_all_repeats() -> None:
    predictions, labels = np.array([[0, 1, 1], [0, 0, 1]]), np.array([0, 0, 1])
    (good, taken), (_, other) = charts.confusion_matrix(predictions, labels, 2)
    assert (good.records, good.share) == (1.5, 0.75)
    assert (taken.records, other.count_text) == (0.5, "1")
