"""Rows matched with columns, each at most once."""

import numpy as np

from wg_client.fitting.linear_head import Floats, Ints


def best_columns(scores: Floats) -> Ints:
    """Column of each row of ``[r, c]``, r at most c, such that the sum of scores is the largest."""
    columns = np.asarray(scores.argmax(axis=1))
    if len(np.unique(columns)) == len(columns):  # no row gives way to another: nothing is larger
        return columns
    from scipy.optimize import linear_sum_assignment  # half a second to import, and seldom needed

    return np.asarray(linear_sum_assignment(scores, maximize=True)[1])
