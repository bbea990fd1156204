"""What a baseline may use, and what it answers with."""

from __future__ import annotations

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
    """What a baseline may use."""

    priors: Priors  # Variances of the mixed model
    sites: Sequence[SiteEvidence]  # Evidence, own site first
    estimate: Prediction  # BLUP of all sites
    zoo_index: ZooIndex  # Heads and class deviations of the zoo
    rng: np.random.Generator  # Of baselines that draw


Baseline = Callable[[Context], Head]
