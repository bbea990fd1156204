"""The report's pictures draw any label: it is a name, not a formula."""

from __future__ import annotations

import numpy as np

from wg_client.selection import charts

LABELS = ("$\\frac{1}{2}$", "$\\nosuch", "5$ and 6$", "a<b>&c", "\\alpha")


def test_a_label_with_dollar_signs_is_drawn_as_it_is() -> None:
    pictures = (
        charts.confusion(np.ones((5, 5)), LABELS),
        charts.accuracy_bars(LABELS, [0.5] * 5, [(0.4, 0.7)] * 5, LABELS[0], 0.4),
        charts.gain_intervals(LABELS, [0.5] * 5, [0.1] * 5, [True] * 5),
    )
    for svg in pictures:
        assert "$\\nosuch" in svg and "&lt;b&gt;" in svg
