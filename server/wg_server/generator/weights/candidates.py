"""Candidates that a generator makes for a plant."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import CandidateSource, InputScaling
from wg_common.weights_package import NO_PRIVACY, PrivacyGuarantee

NumpyTensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedCandidate:
    """Candidate weights for a plant, which completes or selects them with its own records.

    Attributes:
        name: Name, unique among the candidates for the plant.
        source: Source of the weights, see ``wg_common.catalogue.CandidateSource``.
        tensors: Tensors by name. A family of the operator has those of its ``FamilyHead``, its
            ``LikenessTest`` and its ``FamilyNetwork``, if any; a ``posterior`` has those of a
            ``wg_common.inference.posterior.Posterior``; a network has its weights.
        input_scaling: Scaling of a network's inputs at the plant: raw, or standardised.
        privacy: Privacy guarantee for the operator's records that the weights were trained on.
    """

    name: str
    source: CandidateSource
    tensors: NumpyTensors
    input_scaling: InputScaling = "raw"
    privacy: PrivacyGuarantee = NO_PRIVACY
