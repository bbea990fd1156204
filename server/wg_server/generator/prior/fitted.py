"""Priors that are fitted on public tasks: variances of the mixed model, and the zoo's heads.

What training uses on a family was fitted without that family (cross-fitting): otherwise the network
would be trained on prior heads that are better than those of a new plant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_server.generator.prior import blup, retrieval
from wg_server.generator.prior.blup import ClassPrior, Priors
from wg_server.generator.prior.names import NameMap, fit_name_map
from wg_server.generator.prior.retrieval import ZooIndex
from wg_server.generator.prior.zoo_tasks import ZooTask


@dataclass(frozen=True, slots=True, eq=False)
class FittedPriors:
    """Variances, the index of zoo rows, and what names foretell, of the same families."""

    priors: Priors
    zoo_index: ZooIndex
    names: NameMap | None = None

    def named(self, labels: Sequence[str]) -> ClassPrior | None:
        """What class names foretell, if anything."""
        return None if self.names is None else self.names.prior(self.priors, labels)


def fit_public_priors(
    tasks: Sequence[ZooTask], projection: NDArray[np.floating] | None = None
) -> FittedPriors:
    """Priors of some tasks; ``projection`` as of ``names.fit_name_map``, where they are texts."""
    priors = blup.fit_priors([t.features for t in tasks], [t.y for t in tasks])
    names = None if projection is None else fit_name_map(tasks, priors, projection)
    return FittedPriors(priors, retrieval.build_index(tasks), names)


def crossfit(
    tasks: Sequence[ZooTask],
    families: Sequence[str],
    folds: int,
    projection: NDArray[np.floating] | None = None,
) -> tuple[dict[str, FittedPriors], FittedPriors]:
    """Priors for each family that were fitted without it, and priors of all families.

    Args:
        folds: Number of parts; a family's priors are fitted on the other parts.
        projection: As of ``fit_public_priors``.
    """
    fold_of = {name: number % folds for number, name in enumerate(families)}
    chosen = [task for task in tasks if task.family in fold_of]
    crossed = [
        fit_public_priors([task for task in chosen if fold_of[task.family] != fold], projection)
        for fold in range(folds)
    ]
    pooled_priors = fit_public_priors(chosen, projection)
    return {name: crossed[fold] for name, fold in fold_of.items()}, pooled_priors
