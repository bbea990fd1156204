"""Numbers that travel as text: what is read, what is refused, and that refusing is cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core import number_parsers
from wg_core.errors import DecodeError

PARSERS = (
    number_parsers.parse_decimal,
    number_parsers.parse_exact_decimal,
    number_parsers.parse_integer,
    number_parsers.parse_fraction,
    number_parsers.parse_hex_float,
    number_parsers.parse_decimal_or_hex_float,
)

# Each of these holds Python's own parser or arithmetic for seconds to hours, or is no number that
# two readers would read alike.
HOSTILE = (
    "1e30000000",
    "1e-30000000",
    "1e999999999",
    "9" * 100_000,
    "1/" + "9" * 100_000,
    "1e1000",
    "0." + "0" * 100_000 + "1",
    "0x1." + "0" * 100_000 + "p+0",
    "0x1.8p+100000",
    "0x1.8p+1024",
    "nan",
    "sNaN",
    "inf",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1_000",
    "1\n",
    "１",
    "²",
    "1/0",
    "1/2/3",
    "",
    "0x1.80p+0",
    "0X1.8P+0",
)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_numbers_are_refused(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(DecodeError) as error:
        parse(text)
    assert len(str(error.value)) < 200


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_a_float_survives_both_spellings(value: float) -> None:
    assert number_parsers.parse_decimal(repr(value)) == value
    assert number_parsers.parse_hex_float(value.hex()) == value
    assert (
        number_parsers.parse_decimal_or_hex_float(value.hex())
        == number_parsers.parse_decimal_or_hex_float(repr(value))
        == value
    )
    assert float(number_parsers.parse_exact_decimal(repr(value))) == value


@given(st.integers(0, 10**100 - 1), st.integers(1, 10**100 - 1))
def test_a_fraction_survives(top: int, bottom: int) -> None:
    value = Fraction(top, bottom)
    assert number_parsers.parse_fraction(str(value)) == value
    assert number_parsers.parse_integer(str(top)) == top


def test_the_longest_float_that_is_written_out_is_read() -> None:
    assert number_parsers.parse_decimal(format(math.ulp(0.0), ".399f")) > 0
    assert number_parsers.parse_decimal(format(1.7e308, "f")) == 1.7e308
