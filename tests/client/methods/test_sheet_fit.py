"""Records whose lines stand where a network looks for them speak for a sheet, others against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.base import SHEET_FIT_LIMIT
from wg_client.methods.sheet_fit import FEWEST_RECORDS, measure_sheet_fit
from wg_common.catalogue import SPECTRUM_LINES_NETWORK
from wg_common.machines.base import HALF_BIN_COUNT
from wg_common.nets.spectrum_lines import INPUT_COUNT, rescale_to_speed

LINES = (60, 100)  # Half bins of the two damages' lines
HEAD = LinearHead(np.array([[0.0, 0], [8, 0], [0, 8]]), np.array([2.0, 0, 0]))


class Looking(nn.Module):
    """A trunk that sees the heights of two half bins, in the first band."""

    def __init__(self, places: tuple[int, int]) -> None:
        super().__init__()
        self.places = list(places)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch[:, self.places]


def records(count: int) -> NDArray[np.float32]:
    """Sound ones, and ones with a line of one of two damages."""
    batch = (
        np.random.default_rng(1).normal(scale=0.05, size=(count, INPUT_COUNT)).astype(np.float32)
    )
    for row in range(count):
        if row % 3:
            batch[row, LINES[row % 3 - 1] - 1 : LINES[row % 3 - 1] + 2] += (0.5, 1, 0.5)
    return batch


def fit(places: tuple[int, int], count: int = 60) -> float | None:
    return measure_sheet_fit(SPECTRUM_LINES_NETWORK, Looking(places), HEAD, records(count))


def test_records_veto_a_sheet_whose_lines_they_show_at_another_speed() -> None:
    own, other = fit(LINES), fit((75, 125))
    assert own is not None and other is not None
    assert own > 0 > SHEET_FIT_LIMIT and other < own
    assert other < 0


def test_few_records_say_nothing() -> None:
    assert fit(LINES, FEWEST_RECORDS - 1) is None


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_line_moves_with_the_speed_and_all_else_stays(factor: float) -> None:
    batch = np.zeros((2, INPUT_COUNT), np.float32)
    batch[:, 100] = 1
    batch[:, -1] = 3
    moved = rescale_to_speed(batch, factor)
    assert moved[:, :HALF_BIN_COUNT].argmax(axis=1).tolist() == [round(100 * factor)] * 2
    np.testing.assert_array_equal(moved[:, -1], batch[:, -1])
    np.testing.assert_array_equal(rescale_to_speed(batch, 1.0), batch)
