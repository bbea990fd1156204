"""Priors that are fitted on public tasks: variances of the mixed model, and what names foretell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import ClassPrior, Priors
from wg_server.generator.prior.names import NameMap, fit_name_map
from wg_server.generator.prior.zoo_tasks import ZooTask


@dataclass(frozen=True, slots=True, eq=False)
class FittedPriors:
    """Variances, and what names foretell, of the same families."""

    priors: Priors
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
    return FittedPriors(priors, names)
