"""Arrays side by side are read as one."""

import itertools

import numpy as np

from wg_client.fitting.joined_columns import JoinedColumns


def test_any_rows_and_columns_are_those_of_the_arrays_stacked() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(7, width)).astype(np.float32) for width in (3, 1, 4)]
    stacked, joined = np.hstack(parts), JoinedColumns((JoinedColumns(parts[:2]), parts[2]))
    assert joined.shape == stacked.shape and len(joined) == 7
    for start, stop in itertools.combinations(range(9), 2):
        for rows in (slice(None), slice(2, 5), np.array([6, 0])):
            np.testing.assert_array_equal(joined[rows, start:stop], stacked[rows, start:stop])
    np.testing.assert_array_equal(joined[:, :], stacked)
