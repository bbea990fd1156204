"""Comparisons of models that were never fitted: what a check sees, made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_client.selection import gain
from wg_client.selection.checks.base import Comparison
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.failures import Action

Compare = Callable[..., Comparison]


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
        actions: dict[str, Action] | None = None,
    ) -> Comparison:
        known, trunk, k = labels >= 0, Trunk(features), len(weight)
        records = LabelledRecords(all_labels=labels, classes=k, public=trunk)
        own = labels[known]

        def model(rows: Floats, given: Floats | None = None) -> Model:
            head = LinearHead(rows, np.zeros(k) if bias is None else bias)
            found = np.tile(head.logits(features[known]), (2, 1, 1)) if given is None else given
            judged = OutOfFold(logits=found, inner=found[:, None], labels=own)
            return Model(trunk=trunk, fitted=Fitted(head, judged))

        other = model(weight if local is None else local)
        challenger = model(weight, logits)
        labelled = bool(known.any())
        estimate = gain.UNKNOWN
        if labelled:
            one, two = challenger.fitted, other.fitted
            estimate = gain.estimated_gain(
                gain.Differences(
                    two.losses.mean(axis=0) - one.losses.mean(axis=0),
                    one.right - two.right,
                    np.arange(len(own)),
                ),
                5,
                gain.Unseen(),
                one.leave_class_out,
            )
        return Comparison(
            name="generated",
            model=challenger,
            local=other if labelled else None,
            gain=estimate,
            records=records,
            package=Package(candidates=[]),
            policy=AcceptanceConfig(checks=actions or {}),
        )

    return make
