"""The weight of retrieved networks in the prior network, measured on the zoo itself.

The mean of similar zoo networks helps where families resemble each other, as rendered images do. It
harms where they do not: kinds of machines have little in common, and a mean of their networks is
worse than the base. Only plants of families that the zoo lacks decide: the
others get the networks of their family.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.evaluation import network_card
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.statistics import clearly_best
from wg_server.generator.weights.network_episodes import NetworkZoo, draw

WEIGHTS = (1.0, 0.5, 0.0)


def measure_weight(
    zoo: NetworkZoo,
    architecture: str,
    plants: Plants,
    families: frozenset[str],
    scenario: Scenario,
    *,
    episodes: int,
    seed: int,
) -> tuple[float, dict[str, float]]:
    """The weight whose prior network gets most right: 1, unless less is clearly better.

    Args:
        zoo: Of the architecture, with weight 1.

    Returns:
        The weight, and the accuracy of each that was tried, for the card.
    """
    rng = streams.rng(Stream.RETRIEVAL_WEIGHT, seed)
    scores, names = [], []
    for _ in range(episodes):
        episode = draw(plants, {architecture: zoo}, families, rng, scenario, family_known=False)
        names.append(episode.plant.family)
        condition = episode.condition
        tried = [
            replace(
                condition,
                retrieval_weight=weight,
                regression_share=1 - weight * (1 - condition.regression_share),
            )
            for weight in WEIGHTS
        ]
        networks = [network_card.prior_mixture(trial) for trial in tried]
        scores.append([network_card.accuracy(zoo, episode, n, on_base=False) for n in networks])
    accuracies = np.array(scores)
    means = accuracies.mean(axis=0)
    return choose(accuracies, names), {
        repr(w): float(a) for w, a in zip(WEIGHTS, means, strict=True)
    }


def choose(scores: NDArray[np.float64], families: Sequence[str]) -> float:
    """The weight to take.

    Args:
        scores: Accuracy of each plant under each of ``WEIGHTS``, ``[n, 3]``.

    Returns:
        The best on average, if it is better than 1 by more than one standard error, clustered by
        family; else 1.
    """
    return WEIGHTS[clearly_best(scores.T, families)]
