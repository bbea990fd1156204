"""All that a trunk's file needs is stated, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.common.nets.onnx_models import encoder_file

from wg_common.nets.encoder.trunk_choice import TrunkChoice, check_choices
from wg_core.errors import ConfigError

WRONG: dict[str, dict[str, Any]] = {
    "name": {"name": "../own"},
    "sha256": {"sha256": "AB" * 32},
    "pixels": {"pixels": 16},
    "mean": {"mean": (float("nan"), 0.0, 0.0)},
    "std": {"std": (0.2, 0.0, 0.2)},
    "output": {"output": "a b"},
    "licence": {"licence": " "},
    "width": {"width": 5000},
}


@pytest.mark.parametrize("field", WRONG)
def test_a_file_is_described_within_bounds(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        encoder_file(**WRONG[field])


def test_a_known_trunk_takes_nothing_but_its_name() -> None:
    TrunkChoice(name="efficientnet-lite0-two-scales")
    with pytest.raises(ConfigError, match="no setting but its name"):
        TrunkChoice(name="efficientnet-lite0-two-scales", pixels=224)


def test_trunks_are_few_and_each_once() -> None:
    one, two = TrunkChoice(name="a"), TrunkChoice(name="b")
    check_choices((one, two))
    for wrong in ((one, one), tuple(TrunkChoice(name=f"t{n}") for n in range(5))):
        with pytest.raises(ConfigError, match=r"encoder\.trunks"):
            check_choices(wrong)
