"""Comparisons of models that were never fitted: what a check sees, made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wg_client.fitting.fitted_model import FittedModel, OutOfFoldPredictions
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage
from wg_client.selection import gain
from wg_client.selection.checks.base import ModelComparison
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.weights_failures import FailureAction

Compare = Callable[..., ModelComparison]


@pytest.fixture
def compare() -> Compare:
    """A comparison of two heads on features and labels; logits are those of the heads."""

    def make(
        features: Floats,
        labels: Ints,
        weight: Floats,
        *,
        local: Floats | None = None,
        bias: Floats | None = None,
        logits: Floats | None = None,
        actions: dict[str, FailureAction] | None = None,
    ) -> ModelComparison:
        known, trunk, k = labels >= 0, TrunkFeatures(features), len(weight)
        records = PlantRecords(all_labels=labels, class_count=k, encoder_features=trunk)
        own = labels[known]

        def model(rows: Floats, given: Floats | None = None) -> FittedMethod:
            head = LinearHead(rows, np.zeros(k) if bias is None else bias)
            found = np.tile(head.logits(features[known]), (2, 1, 1)) if given is None else given
            judged = OutOfFoldPredictions(logits=found, inner_logits=found[:, None], labels=own)
            return FittedMethod(trunk=trunk, fitted_model=FittedModel(head, judged))

        other = model(weight if local is None else local)
        challenger = model(weight, logits)
        labelled = bool(known.any())
        estimate = gain.UNKNOWN_GAIN
        if labelled:
            one, two = challenger.fitted_model, other.fitted_model
            estimate = gain.estimate_gain(
                gain.PairedDifferences(
                    two.losses.mean(axis=0) - one.losses.mean(axis=0),
                    one.correct_share - two.correct_share,
                    np.arange(len(own)),
                ),
                5,
                gain.UnseenClassShare(),
                one.leave_class_out,
            )
        return ModelComparison(
            name="generated",
            model=challenger,
            local_only=other if labelled else None,
            gain=estimate,
            records=records,
            package=PreparedPackage(candidates=[]),
            policy=AcceptanceConfig(checks=actions or {}),
        )

    return make
