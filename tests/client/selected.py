"""Model selection without a home: heads on one trunk, records and labels as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import DeliveredCandidate, PlantRecords, PreparedPackage
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_core.site.acceptance import AcceptanceConfig

Named = tuple[str, str, LinearHead]
"""Name, source and head of a candidate."""


def selected(
    x: Floats,
    y: Ints,
    named: Sequence[Named],
    classes: int,
    *,
    policy: AcceptanceConfig | None = None,
    units: list[str] | None = None,
    **package: Any,
) -> SelectionOutcome:
    """Select a model of candidates on records ``[n, d]`` with labels ``[n]``, -1 without one."""
    trunk, policy = TrunkFeatures(x), policy or AcceptanceConfig()
    return select_model(
        PlantRecords(
            all_labels=y, class_count=classes, encoder_features=trunk, privacy_units=units
        ),
        PreparedPackage(
            candidates=[
                DeliveredCandidate(name, source, trunk, head) for name, source, head in named
            ],
            **package,
        ),
        policy,
    )
