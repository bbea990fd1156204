"""Exact check that a charge pays for the mechanism that it describes."""

from wg_core import number_parsers
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.entries import Charge
from wg_core.privacy.events import MU_SQUARED_UNIT


def check_mechanism_cost(entry: Charge) -> None:
    """Check that a charge pays exactly for the mechanism that it describes.

    The charged ``mu^2`` must be ``sensitivity^2 / sigma^2``, rounded up to a multiple of 2^-40.

    Raises:
        DecodeError: A number is malformed or not positive.
        VerificationError: The charge is too small or too large, or ``rho`` is not ``mu^2 / 2``.
    """
    mechanism = entry.mechanism
    sensitivity = number_parsers.parse_fraction(
        mechanism.sensitivity_squared, input_name="mechanism: squared sensitivity"
    )
    top, bottom = parse_sigma(mechanism.sigma).as_integer_ratio()
    rho = number_parsers.parse_decimal(mechanism.rho, input_name="mechanism: rho")
    if sensitivity <= 0:
        raise DecodeError(f"mechanism: squared sensitivity {sensitivity} is not positive")
    # Integers are faster than fractions: this runs for each charge of a long log.
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
    """Parse a mechanism's sigma, written by ``float.hex`` or as a decimal.

    Raises:
        DecodeError: The text has neither form, or is not positive.
    """
    value = number_parsers.parse_decimal_or_hex_float(text, input_name="mechanism: sigma")
    if not value > 0:
        raise DecodeError(f"mechanism: sigma {text!r} is not positive")
    return value
