"""Sampling weights from a denoiser, whatever it generates.

Noise of a class row belongs to its label's name and noise of a layer part to the part's name, so
permuting labels permutes rows and changes nothing else (``flow.named_noise``).
"""

from typing import Protocol, TypeVar

from torch import Tensor

from wg_server.generator.weights import flow
from wg_server.generator.weights.flow import State

B_contra = TypeVar("B_contra", contravariant=True)
S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


class Denoiser(Protocol[B_contra, S_co]):
    """What predicts clean latents, all of B episodes together."""

    def nothing(self, batch: B_contra) -> S_co:
        """Latents of zeros, for a batch of conditions."""

    def clean(self, noisy: State, time: Tensor, batch: B_contra) -> S_co:
        """Clean latents of noisy ones at times ``[B]``: 0 is clean and 1 is noise."""


def deterministic(denoiser: Denoiser[B_contra, S], batch: B_contra) -> S:
    """What the denoiser answers at time 1 without noise."""
    nothing = denoiser.nothing(batch)
    return denoiser.clean(nothing, nothing[0].new_ones(len(nothing[0])), batch)


def sample(denoiser: Denoiser[B_contra, State], batch: B_contra, noise: State) -> State:
    """Latents sampled from noise."""
    return flow.sample(lambda noisy, time: denoiser.clean(noisy, time, batch), noise)
