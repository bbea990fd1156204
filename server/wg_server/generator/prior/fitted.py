"""Priors that are fitted on public tasks: variances of the mixed model, and the zoo's heads.

What training uses on a family was fitted without that family (cross-fitting): otherwise the network
would be trained on prior heads that are better than those of a new plant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wg_server.generator.prior import blup, retrieval
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.retrieval import ZooIndex
from wg_server.generator.prior.zoo_tasks import ZooTask


@dataclass(frozen=True, slots=True, eq=False)
class FittedPriors:
    """Variances, and the index of zoo rows, of the same families."""

    priors: Priors
    zoo_index: ZooIndex


def fit_public_priors(tasks: Sequence[ZooTask]) -> FittedPriors:
    """Priors of some tasks."""
    priors = blup.fit_priors([t.features for t in tasks], [t.y for t in tasks])
    return FittedPriors(priors, retrieval.build_index(tasks))


def crossfit(
    tasks: Sequence[ZooTask], families: Sequence[str], folds: int
) -> tuple[dict[str, FittedPriors], FittedPriors]:
    """Priors for each family that were fitted without it, and priors of all families.

    Args:
        tasks: The zoo.
        families: Training families.
        folds: Number of parts; a family's priors are fitted on the other parts.
    """
    fold_of = {name: number % folds for number, name in enumerate(families)}
    chosen = [task for task in tasks if task.family in fold_of]
    crossed = [
        fit_public_priors([task for task in chosen if fold_of[task.family] != fold])
        for fold in range(folds)
    ]
    return {name: crossed[fold] for name, fold in fold_of.items()}, fit_public_priors(chosen)
