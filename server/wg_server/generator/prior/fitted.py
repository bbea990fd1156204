"""Public knowledge, as it stands without some families: priors, and the zoo's rows.

Whatever is used on a family in training was fitted without it (cross-fitting); otherwise the
network learns to trust skeletons that are better than a new plant's will be.
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
    """Priors and zoo rows of the same families."""

    priors: Priors
    zoo_index: ZooIndex


def fit_public_priors(tasks: Sequence[ZooTask]) -> FittedPriors:
    """Everything that is known from some tasks."""
    priors = blup.fit_priors([t.features for t in tasks], [t.y for t in tasks])
    return FittedPriors(priors, retrieval.build_index(tasks))


def crossfit(
    tasks: Sequence[ZooTask], families: Sequence[str], folds: int
) -> tuple[dict[str, FittedPriors], FittedPriors]:
    """Knowledge for each family that has not seen it, and knowledge from them all.

    Args:
        tasks: The zoo.
        families: Training families.
        folds: Families are left out in this many parts.
    """
    fold_of = {name: number % folds for number, name in enumerate(families)}
    chosen = [task for task in tasks if task.family in fold_of]
    crossed = [
        fit_public_priors([task for task in chosen if fold_of[task.family] != fold])
        for fold in range(folds)
    ]
    return {name: crossed[fold] for name, fold in fold_of.items()}, fit_public_priors(chosen)
