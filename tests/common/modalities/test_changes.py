"""Changes and marks of records give records of the same kind, and leave the given ones alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.modalities import triggers
from wg_common.modalities.registry import MODALITIES

RNG = np.random.default_rng(2)
RECORDS: dict[str, list[NDArray[Any]]] = {
    "images": [
        RNG.integers(0, 256, shape).astype(np.uint8)
        for shape in ((8, 8), (33, 20), (16, 40, 3), (1, 1))
    ],
    "windows": [RNG.normal(size=shape).astype(np.float32) for shape in ((1, 8), (5, 64), (128, 9))],
}


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_changes_and_marks_keep_shape_and_type_and_do_something(name: str) -> None:
    kind = MODALITIES[name]
    marks = {
        f"{mark} {seed}": draw(np.random.default_rng(seed))
        for mark, draw in kind.triggers().items()
        for seed in range(3)
    }
    changed = dict.fromkeys([*kind.changes(), *marks], 0)
    for record in RECORDS[name]:
        kept = record.copy()
        for what, change in kind.changes().items():
            found = change(record, np.random.default_rng(1))
            kind.check(found)
            assert (found.shape, found.dtype) == (record.shape, record.dtype)
            changed[what] += not np.array_equal(found, record)
        for what, mark in marks.items():
            found = mark(record)
            kind.check(found)
            assert (found.shape, found.dtype) == (record.shape, record.dtype)
            changed[what] += not np.array_equal(found, record)
        np.testing.assert_array_equal(record, kept)
    assert min(changed.values()) > 0


def test_a_patch_lies_where_it_is_put_and_nowhere_else() -> None:
    image: NDArray[np.uint8] = np.full((20, 30), 100, np.uint8)
    found = triggers.patch(np.ones((1, 1)), 0.25, (1.0, 0.0))(image)
    assert (found[15:, :5] == 255).all()
    found[15:, :5] = 100
    assert (found == 100).all()
