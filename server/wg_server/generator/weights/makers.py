"""The seam of candidates: where one comes from, and how it is made. In the server's order.

A maker is one source of candidates, as a plant's ``Method`` is one way to get a model. It sees a
generation (``Making``) and knows nothing of architectures: what a generation does not have, as a
whole network has no prior head of its own, a maker makes nothing of. To add a source: a module with
a maker, its line in ``MAKERS``, and a new word for the plant in ``wg_common.catalogue``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import POSTERIOR, SAME_FAMILY, CandidateSource

Tensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedCandidate:
    """One set of weights.

    Attributes:
        name: Unique among the candidates.
        source: As in ``wg_common.weights_package.Candidate``.
        tensors: Of the architecture. Of two sources they are what a plant finishes with its own
            records: of ``kin`` a ``wg_common.inference.family_head``'s, and a
            ``wg_common.nets.family_network``'s if there are any, of ``posterior`` those of a
            ``wg_common.inference.posterior.Posterior``.
        nearest_zoo_distance: Over the zoo's median distance between neighbours; 0 is a copy.
    """

    name: str
    source: CandidateSource
    tensors: Tensors
    nearest_zoo_distance: float


class Making(Protocol):
    """One generation, as makers see it. Weights are of whatever kind the generation is."""

    @property
    def answer(self) -> Any:
        """Weights of the deterministic network."""

    @property
    def answer_source(self) -> CandidateSource:
        """``network``, or that the plant's own kind is in it."""

    @property
    def mean(self) -> Any:
        """The mean of all samples."""

    @property
    def samples(self) -> Sequence[Any]:
        """Weights of each sample that is delivered."""

    @property
    def prior(self) -> Any | None:
        """What the network starts from, if that is weights of its own."""

    @property
    def closed_form(self) -> Any:
        """From noisy statistics by formula."""

    @property
    def retrieved(self) -> Any:
        """From the nearest entries of the zoo."""

    @property
    def base(self) -> Any:
        """The public base, under a head without a preference."""

    def candidate(self, name: str, source: CandidateSource, weights: Any) -> GeneratedCandidate:
        """Weights within their bounds, as tensors.

        Raises:
            VerificationError: They are not finite, or out of bounds.
        """

    def of_family(self) -> tuple[Tensors, float] | None:
        """Head and networks of the operator's family that the plant is of, and their novelty."""

    def of_others(self) -> tuple[Tensors, float] | None:
        """What other sites say of the classes, for the plant to finish, and its novelty."""


class CandidateMaker(Protocol):
    """One source of candidates."""

    @property
    def name(self) -> str:
        """Of its candidate, or what its candidates' names begin with."""

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """Its candidates of a generation; none where the generation has not what it needs.

        Raises:
            VerificationError: Weights are not finite, or out of bounds.
        """


@dataclass(frozen=True, slots=True)
class WeightsMaker:
    """A candidate that is weights of the generation's kind.

    Attributes:
        source: Of the candidate; None: as the generation says of its answer.
        weights: The weights; None where there are none.
    """

    name: str
    source: CandidateSource | None
    weights: Callable[[Making], Any | None]

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """See ``CandidateMaker``."""
        weights = self.weights(making)
        if weights is not None:
            yield making.candidate(self.name, self.source or making.answer_source, weights)


@dataclass(frozen=True, slots=True)
class SampleMaker:
    """Samples of the diffusion."""

    name: str = "sample"

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """See ``CandidateMaker``."""
        for number, weights in enumerate(making.samples):
            yield making.candidate(f"{self.name}-{number}", "diffusion", weights)


@dataclass(frozen=True, slots=True)
class FinishedOnSite:
    """A candidate that a plant finishes with all of its own records.

    Attributes:
        source: Of the candidate, and its name.
        tensors: With its novelty; None where there are none.
    """

    source: CandidateSource
    tensors: Callable[[Making], tuple[Tensors, float] | None]

    @property
    def name(self) -> str:
        """See ``CandidateMaker``."""
        return self.source

    def make(self, making: Making) -> Iterable[GeneratedCandidate]:
        """See ``CandidateMaker``."""
        weights = self.tensors(making)
        if weights is not None:
            yield GeneratedCandidate(self.name, self.source, *weights)


MAKERS: tuple[CandidateMaker, ...] = (
    FinishedOnSite(SAME_FAMILY, lambda making: making.of_family()),
    WeightsMaker("network", None, lambda making: making.answer),
    WeightsMaker("sample-mean", "diffusion", lambda making: making.mean),
    WeightsMaker("blend", "retrieval", lambda making: making.prior),
    WeightsMaker("closed-form", "closed-form", lambda making: making.closed_form),
    SampleMaker(),
    WeightsMaker("retrieval", "retrieval", lambda making: making.retrieved),
    WeightsMaker("base", "base", lambda making: making.base),
    FinishedOnSite(POSTERIOR, lambda making: making.of_others()),
)
"""All makers, in the order in which the server would try their candidates."""


def candidates(making: Making) -> tuple[GeneratedCandidate, ...]:
    """All candidates of a generation.

    Raises:
        VerificationError: Weights are not finite, or out of bounds.
    """
    return tuple(candidate for maker in MAKERS for candidate in maker.make(making))
