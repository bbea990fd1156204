"""What a bearing's data sheet states: lines, templates, refusals."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
import torch
from tests.bearings import BEARING

from wg_common.machines import bearing, registry
from wg_common.machines.base import HALF_BIN_COUNT
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet

SHEET = DataSheet(rotating_machine=BEARING)


def test_lines_are_those_of_a_bearing_that_everybody_knows() -> None:
    # SKF 6205: 9 balls; orders as its maker's table has them.
    lines = bearing.line_frequencies(bearing.read_figures(SHEET))[0]
    orders = (lines / lines[0]).tolist()
    assert orders == pytest.approx([1, 0.39828, 4.7135, 5.4152, 3.5848], abs=3e-3)


def test_numbers_and_templates_have_the_stated_sizes() -> None:
    kind, figures = registry.declared_machine_kind(SHEET), bearing.read_figures(SHEET)
    assert kind is bearing.MACHINE_KIND and figures.shape == (1, 7)
    assert kind.figure_features(figures).shape == (1, kind.figure_feature_count)
    assert kind.line_templates(figures).shape == (1, kind.template_count, HALF_BIN_COUNT)


def test_templates_stand_at_the_lines() -> None:
    sheets = [replace(BEARING, shaft_speed_rpm=Decimal(speed)) for speed in (1500, 1800, 2400)]
    figures = torch.cat([bearing.read_figures(DataSheet(rotating_machine=one)) for one in sheets])
    at = 2 * bearing.line_frequencies(figures)[:, 4]  # Half bins
    peak = (
        bearing.line_templates(figures)
        .reshape(3, 10, 3, 2, HALF_BIN_COUNT)[:, 4, 0, 0]
        .argmax(dim=1)
    )
    assert (peak - at).abs().max() <= 0.5


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("shaft_speed_rpm", Decimal(60), "turns of the shaft"),
        ("rolling_elements", 4, "rolling elements"),
        ("pitch_diameter_mm", Decimal(200), "over pitch diameter"),
        ("contact_angle_deg", Decimal(80), "contact angle"),
    ],
)
def test_a_machine_unlike_all_that_were_simulated_is_refused(
    field: str, value: Decimal | int, words: str
) -> None:
    changed = replace(BEARING, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words):
        bearing.read_figures(DataSheet(rotating_machine=changed))
