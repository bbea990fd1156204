"""Parsers of numbers given as text, with bounds on the work; the only ones of the project.

Python's own parsers may do far more work than a short text suggests: ``Fraction("1e30000000")``
builds an integer of twelve megabytes, ``Decimal("1e999999999")`` is cheap until it is compared
exactly, ``int`` of a long text takes quadratic time, and ``float`` accepts ``nan``, ``_`` and
non-ASCII digits. Every parser here first matches a grammar of ASCII characters of bounded length,
so that a number costs at most microseconds and 4,000 bits. No other module passes text from outside
to ``int``, ``float``, ``Decimal`` or ``Fraction``; a test checks the sources.

Not guaranteed: that a value makes sense in its context; the caller checks its range.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction

from wg_core.errors import DecodeError, excerpt

DECIMAL_DIGITS_LIMIT = 400
"""Most digits before and after the point of a decimal; ``1e-300`` written out fits."""
EXPONENT_DIGITS_LIMIT = 3  # Most digits of a decimal's exponent; a 64-bit float has up to three
INTEGER_DIGITS_LIMIT = 100
"""Most digits of an integer, or of either side of a fraction. A squared sensitivity has 52."""
SIGNIFICANT_DIGITS_LIMIT = 17
"""Most significant digits of a number that a person writes, and most zeros before them."""
HEX_FLOAT_CHARACTERS_LIMIT = 32
"""Most characters of a ``float.hex`` text: 13 hex digits after the point, 4 of the exponent."""

_DECIMAL_PATTERN = re.compile(
    rf"[0-9]{{1,{DECIMAL_DIGITS_LIMIT}}}(\.[0-9]{{1,{DECIMAL_DIGITS_LIMIT}}})?"
    rf"([eE][+-]?[0-9]{{1,{EXPONENT_DIGITS_LIMIT}}})?"
)
_INTEGER_PATTERN = re.compile(rf"0|[1-9][0-9]{{0,{INTEGER_DIGITS_LIMIT - 1}}}")
_HEX_FLOAT_PATTERN = re.compile(r"0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,4}")


def parse_decimal(text: str, *, input_name: str = "number") -> float:
    """Read a text as a finite decimal number: ASCII digits, no sign, no white space.

    Raises:
        DecodeError: The text does not match this grammar, or is too long.
    """
    value = float(text) if _DECIMAL_PATTERN.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise DecodeError(f"{input_name}: found {excerpt(text)}, expected a decimal number")
    return value


def parse_exact_decimal(text: str, *, input_name: str = "number") -> Decimal:
    """Read a decimal number exactly, with the grammar and the range of ``parse_decimal``.

    Raises:
        DecodeError: The text does not match the grammar of ``parse_decimal``.
    """
    parse_decimal(text, input_name=input_name)
    return Decimal(text)


def check_decimal_range(
    value: Decimal | int, low: str, high: str, *, input_name: str = "number"
) -> Decimal:
    """Check that a number lies from ``low`` to ``high``; return it in canonical spelling.

    Raises:
        DecodeError: The number is out of range, not finite, or has more digits than a 64-bit float.
    """
    number, least, largest = Decimal(value), Decimal(low), Decimal(high)
    if not (number.is_finite() and least <= number <= largest):
        raise DecodeError(f"{input_name}: {str(number)[:40]}, expected {least:f} to {largest:f}")
    if not number:
        return Decimal(0)
    if max(len(number.as_tuple().digits), -number.adjusted()) > SIGNIFICANT_DIGITS_LIMIT:
        raise DecodeError(f"{input_name}: more than {SIGNIFICANT_DIGITS_LIMIT} digits; round it")
    return Decimal(format(number.normalize(), "f"))


def parse_integer(text: str, *, input_name: str = "number") -> int:
    """Read a text as a non-negative integer without leading zeros.

    Raises:
        DecodeError: The text does not match this grammar, or is too long.
    """
    if not _INTEGER_PATTERN.fullmatch(text):
        raise DecodeError(
            f"{input_name}: found {excerpt(text)}, expected a whole number of at most"
            f" {INTEGER_DIGITS_LIMIT} digits"
        )
    return int(text)


def parse_fraction(text: str, *, input_name: str = "number") -> Fraction:
    """Read a text as a non-negative integer, or a fraction ``numerator/denominator``.

    Raises:
        DecodeError: The text does not match this grammar, is too long, or divides by zero.
    """
    top, slash, bottom = text.partition("/")
    numerator = parse_integer(top, input_name=input_name)
    denominator = parse_integer(bottom, input_name=input_name) if slash else 1
    if not denominator:
        raise DecodeError(f"{input_name}: found {excerpt(text)}, which divides by zero")
    return Fraction(numerator, denominator)


def parse_hex_float(text: str, *, input_name: str = "number") -> float:
    """Read a non-negative float exactly as ``float.hex`` writes it.

    Raises:
        DecodeError: The text is spelt differently, or not finite.
    """
    try:
        good = len(text) <= HEX_FLOAT_CHARACTERS_LIMIT and _HEX_FLOAT_PATTERN.fullmatch(text)
        value = float.fromhex(text) if good else math.nan
    except OverflowError:
        value = math.nan
    if not math.isfinite(value) or value.hex() != text:
        raise DecodeError(
            f"{input_name}: found {excerpt(text)}, expected a number as float.hex writes it"
        )
    return value


def parse_decimal_or_hex_float(text: str, *, input_name: str = "number") -> float:
    """Read a number by ``parse_hex_float`` if it starts with ``0x``, else by ``parse_decimal``.

    Raises:
        DecodeError: The text matches neither grammar.
    """
    parse = parse_hex_float if text.startswith("0x") else parse_decimal
    return parse(text, input_name=input_name)
