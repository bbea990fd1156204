"""What happened, apart from what it costs: the privacy events that a ledger stores.

A release by a Gaussian mechanism is kept as its exact ``mu^2`` (Gaussian differential privacy,
Dong, Roth and Su 2022: releases compose by adding ``mu^2``), in integer units of
2^-40, rounded up. A DP-SGD run is kept as its (q, sigma, T). Costs are computed in
``wg_core.privacy.accounting``, and again by other code in ``wg_core.privacy.independent``.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from wg_core import numbers
from wg_core.errors import DecodeError

MU_SQUARED_UNIT = Fraction(1, 1 << 40)  # The unit in which mu^2 is counted on a ledger

STEPS_LIMIT = 1 << 20
"""Most DP-SGD steps of one sampling probability and noise; an accountant's work grows with them."""

RUNS_LIMIT = 64
"""Most pairs of sampling probability and noise that one budget may hold: each is one numerical
distribution for an accountant to make and to compose."""

NOISE_MULTIPLIER_MINIMUM = 0.1
"""Below this sigma over sensitivity nothing is protected, and PLD accounting needs gigabytes."""

SAMPLING_MINIMUM = 1e-9  # Least sampling probability of a DP-SGD run

MULTIPLIER_RANGE = (1e-3, 1e6)
"""Noise multipliers of DP-SGD that an event may state. What protects too little is refused by
the accountant, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyEvent:
    """One charge against a privacy budget.

    Attributes:
        mechanism: ``gaussian`` or ``dp-sgd``.
        mu_squared: For ``gaussian``: mu^2 = sensitivity^2 / sigma^2 in units of 2^-40, rounded up,
            as a decimal integer string. Otherwise ``"0"``.
        sampling_probability: For ``dp-sgd``: Poisson sampling probability q, decimal string.
        noise_multiplier: For ``dp-sgd``: sigma over sensitivity, decimal string.
        steps: For ``dp-sgd``: number T of noisy steps.
    """

    mechanism: Literal["gaussian", "dp-sgd"]
    mu_squared: str = "0"
    sampling_probability: str = "0"
    noise_multiplier: str = "0"
    steps: int = 0

    def __post_init__(self) -> None:
        q = numbers.decimal(self.sampling_probability, what="privacy event: sampling probability")
        sigma = numbers.decimal(self.noise_multiplier, what="privacy event: noise multiplier")
        units = numbers.integer(self.mu_squared, what="privacy event: mu_squared")
        gaussian = units > 0 and q == 0 and sigma == 0 and self.steps == 0
        dp_sgd = (
            units == 0
            and SAMPLING_MINIMUM <= q <= 1
            and MULTIPLIER_RANGE[0] <= sigma <= MULTIPLIER_RANGE[1]
            and 0 < self.steps <= STEPS_LIMIT
        )
        if not (gaussian if self.mechanism == "gaussian" else dp_sgd):
            raise DecodeError(f"privacy event: fields do not describe a {self.mechanism} charge")


def gaussian_event(sensitivity_squared: int, sigma: float) -> PrivacyEvent:
    """The event of one Gaussian release, exact up to rounding up to the next 2^-40.

    Args:
        sensitivity_squared: Squared L2 sensitivity, in squared grid units.
        sigma: Standard deviation of the noise, in grid units.
    """
    mu_squared = Fraction(sensitivity_squared) / Fraction(sigma) ** 2
    return PrivacyEvent(
        mechanism="gaussian", mu_squared=str(math.ceil(mu_squared / MU_SQUARED_UNIT))
    )


def dp_sgd_event(sampling_probability: float, noise_multiplier: float, steps: int) -> PrivacyEvent:
    """The event of one DP-SGD run of ``steps`` Poisson-sampled noisy steps."""
    return PrivacyEvent(
        mechanism="dp-sgd",
        sampling_probability=repr(sampling_probability),
        noise_multiplier=repr(noise_multiplier),
        steps=steps,
    )
