"""Each source of candidates that a method takes can be kept by a plant with labels.

A perfect candidate of the source, the best head there is for the plant's records, is offered to a
plant with five and with twenty labels a class. Whatever comes from the source must then be what the
kept model stands on: a source that cannot win with perfect weights has no place in a package.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.discriminants import fit_lda
from tests.client.posteriors import posterior_of_means
from tests.client.selected import selected

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.method_names import LOCAL_ONLY
from wg_common import catalogue

K, D = 8, 96
MEANS = np.random.default_rng(1).normal(size=(K, D)) * 0.32
SOURCES = sorted(
    catalogue.FAMILY_SOURCES | {catalogue.DIFFUSION_SOURCE, catalogue.POSTERIOR_SOURCE}
)
"""All that a method takes, but the base of a whole network: a plant's own training starts there."""


def _draw(per_class: int, seed: int) -> tuple[Floats, Ints]:
    labels = np.repeat(np.arange(K), per_class)
    return MEANS[labels] + np.random.default_rng(seed).normal(size=(K * per_class, D)), labels


def _perfect_head() -> LinearHead:
    x, y = _draw(2000, 99)
    return fit_lda(x, y, K, 0.1)


@pytest.mark.parametrize("per_class", [5, 20])
@pytest.mark.parametrize("source", SOURCES)
def test_a_perfect_candidate_is_kept(source: str, per_class: int) -> None:
    x, y = _draw(per_class, 2)
    if source == catalogue.POSTERIOR_SOURCE:
        outcome = selected(x, y, [], K, posterior=posterior_of_means(MEANS, 2000.0))
    else:
        outcome = selected(x, y, [("perfect", source, _perfect_head())], K)
    assert outcome.keeps_delivered_model and outcome.kept_name != LOCAL_ONLY
    assert outcome.models[outcome.kept_name].origin_candidate in (
        "perfect",
        catalogue.POSTERIOR_SOURCE,
    )
    test_x, test_y = _draw(400, 7)

    def accuracy(name: str) -> float:
        return float((outcome.models[name].head.logits(test_x).argmax(axis=1) == test_y).mean())

    assert accuracy(outcome.kept_name) > accuracy(LOCAL_ONLY)
