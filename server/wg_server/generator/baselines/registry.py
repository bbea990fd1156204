"""All baselines, by the names that cards and tables use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.baselines import meta, untrained
from wg_server.generator.baselines.untrained import Baseline
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Episode

REPTILE_ROUNDS = 400

BASELINES: Mapping[str, Baseline] = {
    "random": untrained.random,
    "base": untrained.base,
    "closed-form-own": untrained.closed_form_own,
    # BLUP of all sites
    "closed-form": lambda context: (context.estimate.weight, context.estimate.bias),
    "blend": untrained.prior_mixture,
    "cosine-no-counts": untrained.cosine_without_counts,
    "pooled-cosine": untrained.pooled_cosine,
    "pooled-moved": untrained.pooled_moved,
    "retrieval-5nn": partial(untrained.retrieved, neighbours=5),
    "average-weights": partial(untrained.retrieved, neighbours=50),  # averaging without selection
    "weights-plus-noise": untrained.weights_plus_noise,
}
"""Baselines without training."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Baselines trained on the families that the generator is trained on.

    Attributes:
        reptile: The map that heads start from.
        meta_base: The metric of the functional meta-base.
    """

    reptile: meta.Metric
    meta_base: meta.Metric

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """By name."""
        return {"reptile": self.reptile, "meta-base": self.meta_base}


def train_baselines(
    priors: Priors,
    tasks: Sequence[ZooTask],
    episodes: Sequence[Episode],
    *,
    seed: int,
) -> Trained:
    """Train the baselines that are trained.

    Args:
        episodes: Simulated plants of training families, with cross-fitted evidence.
    """
    rng = streams.rng(Stream.BASELINE_TRAINING, seed)
    return Trained(
        meta.reptile(tasks, REPTILE_ROUNDS, rng), meta.functional_metric(priors, episodes, rng)
    )
