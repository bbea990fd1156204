"""Privacy events: costs of releases as a ledger stores them, before conversion to epsilon.

A release by a Gaussian mechanism is stored as its exact ``mu^2`` (Gaussian differential privacy,
Dong, Roth and Su 2022: releases compose by adding ``mu^2``), in integer units of 2^-40, rounded up.
Costs are computed in ``wg_core.privacy.accounting``, and independently in the auditor's code
(``wg_audit.composition``).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from wg_core import number_parsers, text_grammars
from wg_core.errors import DecodeError

MU_SQUARED_UNIT = Fraction(1, 1 << 40)  # Unit of mu^2 on a ledger
NOISE_MULTIPLIER_MINIMUM = 0.1  # Smallest sigma / sensitivity; less would protect nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyEvent:
    """Privacy cost of one release, or of several composed ones: mechanism and ``mu^2``.

    Attributes:
        mechanism: Kind of mechanism, always ``gaussian``.
        mu_squared: mu^2 = sensitivity^2 / sigma^2 in units of 2^-40, rounded up, as a decimal
            integer string.
    """

    mechanism: Literal["gaussian"]
    mu_squared: text_grammars.Number

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        if (
            not number_parsers.parse_integer(
                self.mu_squared, input_name="privacy event: mu_squared"
            )
            > 0
        ):
            raise DecodeError(f"privacy event: mu_squared is {self.mu_squared}, not positive")


def gaussian_event(sensitivity_squared: int, sigma: float) -> PrivacyEvent:
    """Return the privacy event of a Gaussian release, with ``mu^2`` rounded up to 2^-40.

    Args:
        sensitivity_squared: Squared L2 sensitivity, in squared grid units.
        sigma: Standard deviation of the noise, in grid units.
    """
    mu_squared = Fraction(sensitivity_squared) / Fraction(sigma) ** 2
    units = math.ceil(mu_squared / MU_SQUARED_UNIT)
    return PrivacyEvent(mechanism="gaussian", mu_squared=str(units))
