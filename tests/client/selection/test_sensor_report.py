"""The page on a soft sensor shows values with their interval, quantity and time."""

import re

import numpy as np
import pytest

from wg_client.data.laboratory import LaboratoryWindows
from wg_client.models.soft_sensor import Estimates
from wg_client.selection.sensor_report import render_sensor_report

COUNT = 900


@pytest.mark.parametrize("known", [0, 1, 60])
def test_a_page_draws_values_estimates_and_interval_against_time(known: int) -> None:
    estimated = np.sin(np.arange(COUNT) / 50) / 1e3
    values = np.full(COUNT, np.nan)
    rows = np.linspace(0, COUNT - 1, known).astype(int)
    values[rows] = estimated[rows]
    hours = LaboratoryWindows(
        windows=np.zeros((COUNT, 1, 2), np.float32),
        values=values,
        times=tuple(f"2026-03-01 {row:05}" for row in range(COUNT)),
        recording_ids=np.zeros(COUNT, np.int64),
        channels=("flow",),
        unmatched_count=0,
    )
    unlike = np.zeros(COUNT, bool)
    estimates = Estimates(estimated, estimated - 1e-3, estimated + 1e-3, unlike)
    page = render_sensor_report(("heat duty", "kW"), [], hours, estimates)
    assert page.count("<circle") == known and ("laboratory" in page) == bool(known)
    for drawn in ("l2", "l3", "l4"):
        (path,) = re.findall(rf'<path class="line {drawn}" d="(M[^"]+)"', page)
        assert path.count("L") > 150
    assert "heat duty [kW]" in page and 'class="curves points"' in page
    for shown, anchor in (("2026-03-01 00000", "start"), ("2026-03-01 00899", "end")):
        assert f'text-anchor="{anchor}">{shown}<' in page
    ticks = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end">([-\d.e]+)<', page)
    assert len(ticks) == 3
    assert all(6 * len(words) <= float(x) for x, words in ticks)  # a character's width is below 6
