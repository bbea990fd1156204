"""The page of limits says what the sources say."""

from __future__ import annotations

from tests.common import limits_page


def test_the_page_of_limits_is_that_of_the_sources() -> None:
    found = limits_page.PAGE.read_text("utf-8")
    assert found == limits_page.page(), "run 'make limits'"


def test_limits_are_read_with_their_values_and_words() -> None:
    source = (
        'A_LIMIT = 3 << 20\n"""Most lines of\nit."""\n_B_SECONDS = 2\nC_LIMIT = A_LIMIT + 1  # c\n'
    )
    assert list(limits_page.limits_of(source)) == [
        limits_page.Limit("A_LIMIT", "3 Mi", "Lines of it."),
        limits_page.Limit("C_LIMIT", "3,145,729", "C"),
    ]
