"""Comparisons of models that were never fitted: what a check sees, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.base import LabelledRecords, Model, Package, correctness
from wg_client.selection import gain
from wg_client.selection.checks.base import Comparison
from wg_client.selection.checks.probe import Probe
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.failures import Action

Compare = Callable[..., Comparison]


@dataclass(frozen=True)
class ToySight:
    """Light and tilt of an image: the only two features of a toy encoder."""

    encoder: None = None

    def inputs(self, records: Any) -> NDArray[np.float64]:
        found = []
        for record in records:
            x = record.astype(np.float64) / 255
            tilt = x[:, x.shape[1] // 2 :].mean() - x[:, : x.shape[1] // 2].mean()
            found.append([x.mean(), tilt])
        return np.array(found)

    def alone(self, record: Any) -> NDArray[np.float64]:
        return self.inputs([record])

    def features(self, trunk: Trunk, inputs: Any) -> Floats:
        return np.asarray(inputs)


def pictures(labels: Ints) -> list[NDArray[np.uint8]]:
    """Class 0 is dark and tilted to the left, class 1 light and tilted to the right."""
    rng = np.random.default_rng(4)
    ramp = np.linspace(-1, 1, 16)
    return [
        np.clip(
            110 + 30 * label + (2 * label - 1) * 20 * ramp + rng.normal(0, 1, (16, 16)), 0, 255
        ).astype(np.uint8)
        for label in labels
    ]


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
        pictures: Any = None,
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
                two.losses.mean(axis=0) - one.losses.mean(axis=0),
                correctness(one.predictions, own) - correctness(two.predictions, own),
                np.arange(len(own)),
                5,
                gain.Unseen(),
                one.leave_class_out,
            )
        probe = None
        if pictures is not None:
            probe = Probe(
                records=pictures,
                rows=np.arange(len(labels)),
                labels=[f"c{row}" for row in range(k)],
                modality="images",
                sight=ToySight(),  # type: ignore[arg-type]
                weight_bytes=1 << 20,
            )
        return Comparison(
            name="generated",
            model=challenger,
            local=other if labelled else None,
            gain=estimate,
            records=records,
            package=Package(candidates=[]),
            policy=AcceptanceConfig(checks=actions or {}),
            probe=probe,
        )

    return make
