"""What a generation gives: candidates, each from one source."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import CandidateSource, Inputs
from wg_common.weights_package import NO_PRIVACY, Privacy

Tensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedCandidate:
    """Candidate that a plant finishes with its own records.

    Attributes:
        name: Unique among the candidates.
        source: As in ``wg_common.weights_package.Candidate``.
        inputs: Treatment at the plant of what goes into a network.
        tensors: Tensors; for a family those of its ``FamilyHead`` and its ``likeness``, and a
            ``wg_common.nets.family_network``'s if there are any; of ``posterior`` those of a
            ``wg_common.inference.posterior.Posterior``.
        privacy: Guarantee for the operator's records that it was trained on.
    """

    name: str
    source: CandidateSource
    tensors: Tensors
    inputs: Inputs = "raw"
    privacy: Privacy = NO_PRIVACY
