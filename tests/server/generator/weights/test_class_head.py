"""Heads for a plant's classes: shared, and neutral where a class says no condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.bearings import BEARING, GEARS, MOTOR
from torch import Tensor

from wg_common.nets import tensor_set
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator.weights.class_head import head_for_classes
from wg_server.generator.weights.data_sheet_generation import (
    DataSheetGenerator,
    MachineKindGenerator,
)
from wg_server.generator.weights.machine_model import MachineModel
from wg_server.generator.weights.machine_networks import NetworkSizes
from wg_server.generator.weights.simulators import SIMULATORS

ROWS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
WEIGHT, BIAS = ROWS[:, :7], ROWS[:, 7]
INPUTS = torch.randn(200, 7, generator=torch.Generator().manual_seed(1))


def _logits(conditions: Sequence[int | None]) -> Tensor:
    weight, bias = head_for_classes(WEIGHT, BIAS, conditions)
    return INPUTS @ weight.mT + bias


def test_rows_follow_the_conditions_of_classes() -> None:
    weight, bias = head_for_classes(WEIGHT, BIAS, (2, 0))
    assert torch.equal(weight, WEIGHT[[2, 0]]) and torch.equal(bias, BIAS[[2, 0]])


@pytest.mark.parametrize("conditions", [(3, None, 1, None), (0, None, 0, 0, 2)])
def test_a_class_that_says_nothing_never_wins_by_itself(conditions: Sequence[int | None]) -> None:
    unsaid = {place for place, condition in enumerate(conditions) if condition is None}
    assert not unsaid & set(_logits(conditions).argmax(dim=1).tolist())


def test_averaged_with_another_head_that_head_decides_on_it() -> None:
    logits = _logits((3, None, 1))
    torch.testing.assert_close(logits[:, 1], logits[:, [0, 2]].mean(dim=1))


def test_classes_of_one_condition_share_its_probability() -> None:
    one, two = (_logits(conditions).softmax(dim=1) for conditions in ((0, 1), (0, 1, 1)))
    torch.testing.assert_close(one[:, 1], two[:, 1] + two[:, 2])


@pytest.mark.parametrize(
    ("sheet", "labels"),
    [
        (DataSheet(rotating_machine=BEARING), ("正常", "cage", "Innenring")),
        (DataSheet(gearbox=GEARS), ("gut", "oil", "Ritzel")),
        (DataSheet(induction_motor=MOTOR), ("baseline", "fan", "BRB")),
    ],
)
def test_networks_of_every_kind_are_made_for_the_classes_that_are_understood(
    sheet: DataSheet, labels: tuple[str, ...]
) -> None:
    simulator = SIMULATORS[sheet.kind](0)
    model = MachineModel(
        simulator.kind, simulator.hidden_figure_count, NetworkSizes(latent=3, rank=2, hidden=16)
    )
    model.initialise_parameters(torch.Generator().manual_seed(0))
    generator = DataSheetGenerator(
        {
            sheet.kind: MachineKindGenerator(
                model.eval(), {"raw": "conditioned", "standardised": "conditioned"}
            )
        }
    )
    for made in generator.generate_networks(sheet, labels, sample_count=1):
        tensor_set.check_tensors("spectrum-lines", made.tensors, 3, 64)
        weight = made.tensors["head.weight"]
        np.testing.assert_allclose(weight[1], weight[[0, 2]].mean(axis=0), atol=1e-6)
    with pytest.raises(ConfigError, match="fewer than two conditions"):
        generator.generate_networks(sheet, (labels[0], labels[1]), sample_count=1)
