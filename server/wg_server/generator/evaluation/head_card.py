"""Model card of the heads: what plants of held-out families gain by other sites' releases.

All methods are scored on the held-out records of the same simulated plants. ``completed`` is the
head that a plant computes from its package: the posterior given other sites, updated with the
plant's exact records. ``alone`` is that head without other sites. ``exchanged`` permutes the class
names of the other sites, which measures the effect of wrong evidence. ``unnamed``, for texts only,
is ``completed`` without the prior from class names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.posterior import posterior_head
from wg_common.streams import Stream
from wg_server.generator.card_checks import CardCheck
from wg_server.generator.evaluation.episodes import Episode, EpisodeSampler, EpisodeSettings
from wg_server.generator.evaluation.method_scores import (
    COMPLETED_HEAD,
    EXCHANGED_HEAD,
    HEAD_ALONE,
    UNNAMED_HEAD,
    MethodScores,
)
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.class_names import ClassPriors
from wg_server.generator.prior.evidence_pools import EvidencePool

FEW_LABELS_SETTINGS = EpisodeSettings(labels_per_class=5)
"""Plant with about five labels per class, and other sites of its family that release."""
SCENARIOS: Mapping[str, EpisodeSettings] = {
    "few labels, sisters in memory, epsilon 4": FEW_LABELS_SETTINGS,
    "few labels, sisters in memory, epsilon 1": EpisodeSettings(
        epsilon=1.0, same_family_labels_per_class=100
    ),
    "classes never seen, epsilon 4": EpisodeSettings(missing_classes_probability=1),
    "no labels, epsilon 4": EpisodeSettings(unlabelled_probability=1),
    "mixed": EpisodeSettings(
        missing_classes_probability=0.3,
        unlabelled_probability=0.1,
        foreign_release_probability=0.15,
    ),
}
"""Settings of simulated plants, by scenario, whose gains a model card's checks compare with bounds;
"sisters in memory" in a scenario's name means releases of other sites of the plant's family."""
UNCHECKED_SCENARIOS: Mapping[str, EpisodeSettings] = {
    "classes never seen, epsilon 1": EpisodeSettings(epsilon=1.0, missing_classes_probability=1),
    "no labels, epsilon 1": EpisodeSettings(epsilon=1.0, unlabelled_probability=1),
}
"""Settings of further scenarios, whose accuracies a card shows but does not compare with bounds."""
_ACCEPTED_ACCURACY_LOSS = 0.01  # Largest accepted loss of accuracy by other sites in any scenario
_MARGIN_STANDARD_ERRORS = 3
"""A check fails if a figure is below its bound by more than this number of standard errors. By
chance alone, this happens to one of the ten figures in about one of a hundred homes."""

Head = tuple[NDArray[np.float64], NDArray[np.float64]]


def heads_by_method(fitted_priors: ClassPriors, episode: Episode) -> dict[str, Head]:
    """Return the heads (weights ``[K, d]``, biases ``[K]``) of one simulated plant, by method.

    The methods are ``completed``, ``alone``, ``exchanged`` and, if names are used, ``unnamed``.
    """
    priors, labels = fitted_priors.model_variances, episode.labels
    pools = evidence_pools.pools_of_releases(priors, episode.release, episode.other_releases)
    name_prior = fitted_priors.class_prior(labels)

    def finish_head(pools: Sequence[EvidencePool], names: tuple[str, ...] = labels) -> Head:
        return posterior_head(
            evidence_pools.posterior_from_pools(priors, pools, names, name_prior),
            *episode.own_records,
        )

    unnamed_head = posterior_head(
        evidence_pools.posterior_from_pools(priors, pools, labels), *episode.own_records
    )
    return {
        COMPLETED_HEAD: finish_head(pools),
        HEAD_ALONE: finish_head(()),
        # Each class gets the other sites' statistics of the previous class.
        EXCHANGED_HEAD: finish_head(pools, (*labels[-1:], *labels[:-1])),
        **({} if fitted_priors.name_regression is None else {UNNAMED_HEAD: unnamed_head}),
    }


def score_methods(
    fitted_priors: ClassPriors, plant_sampler: EpisodeSampler, *, episodes: int, seed: int
) -> dict[str, Any]:
    """Return the model card's table: by scenario and method, mean accuracy, gain and their errors.

    Args:
        fitted_priors: Priors from which the heads are computed.
        plant_sampler: Sampler of plants from families that the priors were not fitted on.
        episodes: Number of plants in each scenario.
        seed: Seed of the plants.
    """
    table = {}
    for number, (name, scenario) in enumerate({**SCENARIOS, **UNCHECKED_SCENARIOS}.items()):
        rng = streams.stream_generator(Stream.HEAD_SCENARIO, seed, indices=(number,))
        scores = MethodScores()
        for _ in range(episodes):
            episode = plant_sampler.draw_episode(rng, scenario)
            finished_heads = heads_by_method(fitted_priors, episode)
            scores.add_plant(
                episode.family, {n: episode.accuracy(head) for n, head in finished_heads.items()}
            )
        table[name] = scores.table_rows()
    return {"scenarios": table}


def card_checks(card: Mapping[str, Any]) -> list[CardCheck]:
    """Return the checks of a model card: gain of ``completed`` over ``alone`` and ``exchanged``.

    Each takes the smallest value, over ``SCENARIOS``, of the gain plus three standard errors.
    """
    scenarios = [
        rows for name, rows in card["scenarios"].items() if name not in UNCHECKED_SCENARIOS
    ]

    def worst(method: str) -> float:
        return min(
            float(rows[method]["gain"])
            + _MARGIN_STANDARD_ERRORS * float(rows[method]["gain_error"])
            for rows in scenarios
        )

    return [
        CardCheck(
            name="gain of other sites' releases and three errors, worst scenario",
            value=worst(HEAD_ALONE),
            bound=-_ACCEPTED_ACCURACY_LOSS,
        ),
        CardCheck(
            name="gain over exchanged classes and three errors, worst scenario",
            value=worst(EXCHANGED_HEAD),
            bound=0.0,
        ),
    ]
