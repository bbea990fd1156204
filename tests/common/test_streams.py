from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from wg_common import streams
from wg_common.streams import NUMBERS, Stream


def test_every_stream_has_a_number() -> None:
    assert set(NUMBERS) == set(Stream)


def test_streams_of_one_group_have_numbers_of_their_own() -> None:
    same = {
        frozenset(pair)
        for pair in combinations(Stream, 2)
        if NUMBERS[pair[0]] == NUMBERS[pair[1]]
        and pair[0].partition(".")[0] == pair[1].partition(".")[0]
    }
    assert not same


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (streams.key(Stream.EPISODE, 5, then=(2, 3)), (5, 15, 2, 3)),
        (streams.key(Stream.RECORDS, 5, 6, 7), (5, 6, 7, 4)),
        (streams.key(Stream.SELECTION_FOLDS), (20240501,)),
    ],
)
def test_keys_are_what_they_were(found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert found == expected


def test_a_name_is_a_stream_of_its_own_and_always_the_same() -> None:
    one = streams.rng(Stream.COPY_TEST, 1).random(4)
    np.testing.assert_array_equal(one, np.random.default_rng((1, 20)).random(4))
    assert not np.array_equal(one, streams.rng(Stream.HEAD_SCENARIO, 1).random(4))
