"""Does a charge pay for the mechanism that it describes? Exact arithmetic on its own figures."""

from wg_core import numbers
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.entries import Charge
from wg_core.privacy.events import MU_SQUARED_UNIT


def check_mechanism(entry: Charge) -> None:
    """Check that a charge pays for the mechanism it describes.

    For a Gaussian release: ``mu^2 >= sensitivity^2 / sigma^2``, exactly, within one unit.

    Raises:
        VerificationError: It pays less (or more), or figures do not fit together.
    """
    mechanism = entry.mechanism
    sensitivity = numbers.fraction(
        mechanism.sensitivity_squared, subject="mechanism: squared sensitivity"
    )
    top, bottom = parse_sigma(mechanism.sigma).as_integer_ratio()
    rho = numbers.decimal(mechanism.rho, subject="mechanism: rho")
    if sensitivity <= 0:
        raise DecodeError(f"mechanism: squared sensitivity {sensitivity} is not positive")
    # Integers instead of fractions: this runs once for each charge of a long log.
    numerator = sensitivity.numerator * bottom**2 * MU_SQUARED_UNIT.denominator
    denominator = sensitivity.denominator * top**2 * MU_SQUARED_UNIT.numerator
    units = -(-numerator // denominator)
    if int(entry.event.mu_squared) != units:
        raise VerificationError(
            f"charges mu^2 = {entry.event.mu_squared} units, the mechanism costs {units}"
        )
    expected = numerator / (denominator * 2 * MU_SQUARED_UNIT.denominator)
    if not abs(rho - expected) <= expected * 1e-9:
        raise VerificationError(f"rho is {mechanism.rho}, expected {expected:.9g} (mu^2 / 2)")


def parse_sigma(text: str) -> float:
    """A standard deviation from ``float.hex`` or a decimal.

    Raises:
        DecodeError: It is neither, or zero.
    """
    value = numbers.either_float(text, subject="mechanism: sigma")
    if not value > 0:
        raise DecodeError(f"mechanism: sigma {text!r} is not positive")
    return value
