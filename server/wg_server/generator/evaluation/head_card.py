"""The model card: what releases of others are worth at plants of families that the zoo lacks.

Every method is scored on the same simulated plants, by their own held-out records. ``completed`` is
what a plant makes of the package: what other sites say of its classes, finished with its exact
records. ``alone`` is the same without the other sites. ``exchanged`` is the same with the other
sites' classes under each other's names: what the condition is worth that is not the plant's.
``unnamed``, of texts, is ``completed`` without what class names foretell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.posterior import posterior_head
from wg_common.streams import Stream
from wg_server.generator.checks import Check
from wg_server.generator.evaluation.episodes import Episode, Plants, Scenario
from wg_server.generator.evaluation.scores import ALONE, COMPLETED, EXCHANGED, UNNAMED, Scores
from wg_server.generator.prior import pooling
from wg_server.generator.prior.names import FittedPriors
from wg_server.generator.prior.pooling import Pool

FEW = Scenario(shots=5)
"""A plant with five labels a class, whose sisters have released."""
SCENARIOS: Mapping[str, Scenario] = {
    "few labels, sisters in memory, epsilon 4": FEW,
    "few labels, sisters in memory, epsilon 1": Scenario(epsilon=1.0, same_family_shots=100),
    "classes never seen, epsilon 4": Scenario(missing=1),
    "no labels, epsilon 4": Scenario(unlabelled=1),
    "mixed": Scenario(missing=0.3, unlabelled=0.1, out_of_family=0.15),
}
"""By the keys of stored cards; "sisters in memory" are other sites of the plant's family."""
SHOWN: Mapping[str, Scenario] = {
    "classes never seen, epsilon 1": Scenario(epsilon=1.0, missing=1),
    "no labels, epsilon 1": Scenario(epsilon=1.0, unlabelled=1),
}
"""Likewise, and for people to read: no check rests on them."""
_MARGIN = 0.01  # Accuracy that other sites may cost in any scenario
_ERRORS = 3
"""Standard errors by which a figure must miss its bound for a check to fail. Where nothing is wrong
one of the ten figures does so in about one home of a hundred."""

Head = tuple[NDArray[np.float64], NDArray[np.float64]]


def heads(fitted_priors: FittedPriors, episode: Episode) -> dict[str, Head]:
    """Heads of all methods for one episode, on features as they are."""
    priors, labels = fitted_priors.priors, episode.labels
    pools = pooling.of_releases(priors, episode.release, episode.others)
    name_prior = fitted_priors.class_prior(labels)

    def finish_head(pools: Sequence[Pool], names: tuple[str, ...] = labels) -> Head:
        return posterior_head(pooling.posterior(priors, pools, names, name_prior), *episode.own)

    unnamed_head = posterior_head(pooling.posterior(priors, pools, labels), *episode.own)
    return {
        COMPLETED: finish_head(pools),
        ALONE: finish_head(()),
        # Each class with what was released of the one before.
        EXCHANGED: finish_head(pools, (*labels[-1:], *labels[:-1])),
        **({} if fitted_priors.names is None else {UNNAMED: unnamed_head}),
    }


def evaluate(
    fitted_priors: FittedPriors, plants: Plants, *, episodes: int, seed: int
) -> dict[str, Any]:
    """Scores of all methods in all scenarios.

    Args:
        plants: Plants of families that the priors were not fitted on.
        episodes: Plants in each scenario.
    """
    table = {}
    for number, (name, scenario) in enumerate({**SCENARIOS, **SHOWN}.items()):
        rng = streams.rng(Stream.HEAD_SCENARIO, seed, then=(number,))
        scores = Scores()
        for _ in range(episodes):
            episode = plants.draw(rng, scenario)
            finished_heads = heads(fitted_priors, episode)
            scores.add(
                episode.family, {n: episode.accuracy(head) for n, head in finished_heads.items()}
            )
        table[name] = scores.rows()
    return {"scenarios": table}


def checks(card: Mapping[str, Any]) -> list[Check]:
    """Check from the figures of a card that no scenario is surely worse than it may be."""
    scenarios = [rows for name, rows in card["scenarios"].items() if name not in SHOWN]

    def worst(method: str) -> float:
        return min(
            float(rows[method]["gain"]) + _ERRORS * float(rows[method]["gain_error"])
            for rows in scenarios
        )

    return [
        Check(
            name="gain of other sites' releases and three errors, worst scenario",
            value=worst(ALONE),
            bound=-_MARGIN,
        ),
        Check(
            name="gain over exchanged classes and three errors, worst scenario",
            value=worst(EXCHANGED),
            bound=0.0,
        ),
    ]
