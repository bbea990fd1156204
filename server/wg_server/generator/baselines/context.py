"""What a baseline may use, and what it answers with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior.blup import Prediction, Priors
from wg_server.generator.prior.retrieval import ZooIndex

Floats = NDArray[np.float64]
Head = tuple[Floats, Floats]  # Weight [K, d] and bias [K] of `features - centre`


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a baseline may use.

    Attributes:
        priors: Variances of the mixed model.
        sites: Evidence, own site first.
        estimate: BLUP of all sites.
        zoo_index: Heads and class deviations of the zoo.
        rng: Of baselines that draw.
    """

    priors: Priors
    sites: Sequence[SiteEvidence]
    estimate: Prediction
    zoo_index: ZooIndex
    rng: np.random.Generator


Baseline = Callable[[Context], Head]
