"""The auditor's second opinion: what events cost, by code that shares nothing with ``accounting``.

Gaussians alone: the closed form of Gaussian differential privacy. With DP-SGD runs: the bracket of
``prv-accountant`` (Gopi, Lee and Wutschitz 2021), another numerical method by other
people than dp-accounting's. Opacus' PRV accountant derives from it and would be no second opinion;
Opacus' GDP accountant can underestimate.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wg_core.errors import VerificationError
from wg_core.privacy import calibration
from wg_core.privacy.events import PrivacyEvent

_UNIT_BITS = 40
"""mu^2 is counted in 2^-40; said again here, so that one wrong constant is not believed twice."""

_RELATIVE_DELTA_ERROR = 1e-3

BINS_LIMIT = 1 << 22
"""Most bins of all distributions together that the numerical bracket may use (half a minute and a
gigabyte). Where a finer one would need more, the bracket is wider instead."""

_WIDEST = 0.1
"""Half a bracket's width over one plus epsilon, above which it would be no second opinion."""


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


def epsilon_bounds(events: Sequence[PrivacyEvent], delta: float) -> Bounds:
    """Bracket the composed epsilon of events at ``delta``.

    Args:
        events: In any order.
        delta: In (0, 1).

    Raises:
        ConfigError: ``delta`` is out of range.
        VerificationError: There are so many steps and kinds of runs that a bracket within
            ``BINS_LIMIT`` would say nothing.
    """
    calibration.check_delta(delta)
    mu = math.sqrt(math.ldexp(sum(int(event.mu_squared) for event in events), -_UNIT_BITS))
    runs: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.mechanism == "dp-sgd":
            runs[event.sampling_probability, event.noise_multiplier] += event.steps
    if runs:
        return _mixed(mu, runs, delta)
    if mu == 0:
        return Bounds(0.0, 0.0, 0.0)
    value = calibration.gaussian_epsilon(mu, delta)
    return Bounds(value * (1 - _CLOSED_FORM), value, value * (1 + _CLOSED_FORM))


_CLOSED_FORM = 1e-9  # Relative error of the closed form in double precision (tested against mpmath)
_ERROR = 0.01  # Half of the width of a bracket of DP-SGD runs


def _mixed(mu: float, runs: Counter[tuple[str, str]], delta: float) -> Bounds:
    from prv_accountant import GaussianMechanism, PoissonSubsampledGaussianMechanism, PRVAccountant

    mechanisms = [
        PoissonSubsampledGaussianMechanism(
            sampling_probability=float(q), noise_multiplier=float(sigma)
        )
        for q, sigma in runs
    ]
    steps = list(runs.values())
    if mu:
        mechanisms.append(GaussianMechanism(1 / mu))
        steps.append(1)
    delta_error = delta * _RELATIVE_DELTA_ERROR
    error = max(_ERROR, _affordable(mechanisms, steps, _ERROR, delta_error))
    accountant = PRVAccountant(
        prvs=mechanisms, max_self_compositions=steps, eps_error=error, delta_error=delta_error
    )
    lower, estimate, upper = accountant.compute_epsilon(delta, steps)
    if error > _WIDEST * (1 + estimate):
        raise VerificationError(
            f"DP-SGD: {sum(steps)} steps in {len(steps)} kinds of runs: other code can bracket"
            f" their epsilon to {error:.3g} either side only, which checks nothing"
        )
    return Bounds(float(lower), float(estimate), float(upper))


def _affordable(
    mechanisms: Sequence[object], steps: Sequence[int], error: float, delta_error: float
) -> float:
    """The least half width of a bracket whose bins number at most ``BINS_LIMIT``.

    Bins lie ``error / sqrt(T/2 ln(12/delta_error))`` apart (Gopi et al. 2021, Theorem 5.5) on a
    domain whose size hardly depends on ``error``.
    """
    from prv_accountant.accountant import compute_safe_domain_size

    half = compute_safe_domain_size(mechanisms, steps, error, delta_error)
    dense = math.sqrt(sum(steps) / 2 * math.log(12 / delta_error))
    return float(2 * half * dense * len(steps) / BINS_LIMIT)
