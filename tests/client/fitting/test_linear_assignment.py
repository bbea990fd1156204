"""Rows matched with columns, against all ways to do so."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from wg_client.fitting.linear_assignment import assign_columns


def test_no_other_matching_has_a_larger_sum() -> None:
    rng = np.random.default_rng(5)
    for shared in (False, True):  # do two rows want the same column?
        scores = rng.normal(size=(3, 4)) + (0 if shared else 9 * np.eye(3, 4))
        scores[:, 1] += 3 * shared
        found = assign_columns(scores)
        assert len(set(found)) == 3
        best = max(scores[np.arange(3), list(order)].sum() for order in permutations(range(4), 3))
        assert scores[np.arange(3), found].sum() == best
