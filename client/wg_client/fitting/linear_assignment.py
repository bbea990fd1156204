"""Linear assignment of rows to columns."""

import numpy as np

from wg_client.fitting.linear_head import Floats, Ints


def assign_columns(scores: Floats) -> Ints:
    """Return a distinct column for each row of ``[r, c]``, r <= c, with the largest total score."""
    columns = np.asarray(scores.argmax(axis=1))
    if len(np.unique(columns)) == len(columns):  # each row has its best column
        return columns
    from scipy.optimize import linear_sum_assignment  # half a second to import, and seldom needed

    return np.asarray(linear_sum_assignment(scores, maximize=True)[1])


def assign_likeliest_rows(logits: Floats, labels: Ints, class_count: int) -> Ints:
    """Return the likeliest of a head's R rows for each of K classes, ``[K]``, all distinct.

    A softmax's denominator is the same for all orders of rows, so the likeliest assignment is a
    linear assignment on sums of logits. Classes without records take the first free rows.

    Args:
        logits: Logits of labelled records, ``[n, R]``.
        labels: Labels of the records, ``[n]``.
        class_count: Number K of the plant's classes, at most R.
    """
    present = np.unique(labels)
    if not len(present):
        return np.arange(class_count)
    sums = np.stack([logits[labels == label].sum(axis=0) for label in present])
    rows = np.full(class_count, -1)
    rows[present] = assign_columns(sums)
    spare = np.setdiff1d(np.arange(logits.shape[1]), rows)
    rows[rows < 0] = spare[: int((rows < 0).sum())]
    return rows
