"""The seam of candidates: where one comes from, and how it is made. In the server's order.

A maker is one source of candidates, as a plant's ``Method`` is one way to get a model. It sees a
generation (``Making``); what a generation does not have, it makes nothing of. To add a source: a
module with a maker, its line in ``MAKERS``, and its word in ``wg_common.catalogue``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import POSTERIOR, SAME_FAMILY, CandidateSource

Tensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedCandidate:
    """What a plant finishes with its own records.

    Attributes:
        name: Unique among the candidates.
        source: As in ``wg_common.weights_package.Candidate``.
        tensors: Of a family a ``wg_common.inference.family_head``'s and a ``likeness``'s, and a
            ``wg_common.nets.family_network``'s if there are any; of ``posterior`` those of a
            ``wg_common.inference.posterior.Posterior``.
    """

    name: str
    source: CandidateSource
    tensors: Tensors


class Making(Protocol):
    """One generation, as makers see it."""

    def of_families(self) -> Iterable[tuple[CandidateSource, Tensors]]:
        """Heads and networks of the operator's families that the plant may be of."""

    def of_others(self) -> Tensors | None:
        """What other sites say of the classes, for the plant to finish."""


class CandidateMaker(Protocol):
    """One source of candidates."""

    @property
    def name(self) -> str:
        """Of its candidate, or what its candidates' names begin with."""

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """Its candidates of a generation; none where the generation has not what it needs."""


class Catalogue:
    """The operator's families: fixed models that the plant standardises by its own records."""

    name = SAME_FAMILY

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """See ``CandidateMaker``."""
        for number, (source, tensors) in enumerate(making.of_families()):
            yield GeneratedCandidate(
                f"{source}-{number + 1}" if number else source, source, tensors
            )


class OtherSites:
    """What other sites say of the classes, which the plant finishes with its exact records."""

    name = POSTERIOR

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """See ``CandidateMaker``."""
        tensors = making.of_others()
        if tensors is not None:
            yield GeneratedCandidate(self.name, POSTERIOR, tensors)


MAKERS: tuple[CandidateMaker, ...] = (
    Catalogue(),
    OtherSites(),
)
"""All makers, in the order in which the server would try their candidates."""


def candidates(making: Making) -> tuple[GeneratedCandidate, ...]:
    """All candidates of a generation."""
    return tuple(candidate for maker in MAKERS for candidate in maker.make(making))
