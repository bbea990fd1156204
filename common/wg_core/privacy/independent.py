"""The auditor's second opinion: what events cost, by code that shares nothing with ``accounting``.

The closed form of Gaussian differential privacy (Dong, Roth and Su 2022).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.privacy import calibration
from wg_core.privacy.events import PrivacyEvent


@dataclass(frozen=True, slots=True)
class Bounds:
    """A bracket of epsilon.

    Attributes:
        lower: Epsilon is at least this.
        estimate: In between.
        upper: Epsilon is at most this.
    """

    lower: float
    estimate: float
    upper: float


def epsilon_bounds(
    events: Sequence[PrivacyEvent],
    delta: float,
    *,
    # Relative error of the closed form in double precision (tested against mpmath)
    closed_form: float = 1e-9,
) -> Bounds:
    """Bracket the composed epsilon of events at ``delta``.

    Args:
        events: In any order.
        delta: In (0, 1).

    Raises:
        ConfigError: ``delta`` is out of range.
    """
    calibration.check_delta(delta)
    mu = math.sqrt(math.ldexp(sum(int(event.mu_squared) for event in events), -40))
    if mu == 0:
        return Bounds(0.0, 0.0, 0.0)
    value = calibration.gaussian_epsilon(mu, delta)
    return Bounds(value * (1 - closed_form), value, value * (1 + closed_form))
