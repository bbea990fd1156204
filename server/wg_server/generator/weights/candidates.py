"""Candidates that a generator makes for a plant."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import CandidateSource, InputScaling
from wg_common.weights_package import NO_PRIVACY, PrivacyGuarantee

Tensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedCandidate:
    """Candidate that a plant completes with its own records.

    Attributes:
        name: Name, unique among the candidates.
        source: Source, see ``wg_common.weights_package.Candidate``.
        tensors: Tensors by name. A family has those of its ``FamilyHead``, its ``likeness`` and its
            ``wg_common.nets.family_network``, if any; a ``posterior`` has those of a
            ``wg_common.inference.posterior.Posterior``.
        inputs: Treatment of a network's inputs at the plant.
        privacy: Guarantee for the operator's records that it was trained on.
    """

    name: str
    source: CandidateSource
    tensors: Tensors
    inputs: InputScaling = "raw"
    privacy: PrivacyGuarantee = NO_PRIVACY
