from __future__ import annotations

import numpy as np

from wg_common import streams
from wg_common.streams import Stream


def test_keys_are_what_they_were() -> None:
    assert streams.stream_seed(Stream.HEAD_SCENARIO, 5, indices=(2, 3)) == (5, 21, 2, 3)
    assert streams.stream_seed(Stream.RECORDS, 5, 6, 7) == (5, 6, 7, 4)
    assert streams.stream_seed(Stream.SELECTION_FOLDS) == (20240501,)


def test_a_name_is_a_stream_of_its_own_and_always_the_same() -> None:
    one = streams.stream_generator(Stream.FAMILY_SPLIT, 1).random(4)
    np.testing.assert_array_equal(one, np.random.default_rng((1, 13)).random(4))
    assert not np.array_equal(one, streams.stream_generator(Stream.HEAD_SCENARIO, 1).random(4))
