"""All baselines, by the names that cards and tables use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.baselines import closed, meta, prototypes, zoo_rows
from wg_server.generator.baselines.context import Baseline
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Episode

REPTILE_ROUNDS = 400

BASELINES: Mapping[str, Baseline] = {
    "random": closed.random,
    "base": closed.base,
    "closed-form-own": closed.closed_form_own,
    "closed-form": closed.closed_form,
    "blend": closed.prior_mixture,
    "cosine-no-counts": prototypes.cosine_without_counts,
    "pooled-cosine": prototypes.pooled_cosine,
    "pooled-moved": prototypes.pooled_moved,
    "retrieval-5nn": zoo_rows.nearest_rows,
    "average-weights": zoo_rows.average_weights,
    "weights-plus-noise": zoo_rows.weights_plus_noise,
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
