"""Changes of records give records of the same kind, and leave the given ones alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
def test_changes_keep_shape_and_type_and_do_something(name: str) -> None:
    kind = MODALITIES[name]
    changed = dict.fromkeys(kind.changes(), 0)
    for record in RECORDS[name]:
        kept = record.copy()
        for what, change in kind.changes().items():
            found = change(record, np.random.default_rng(1))
            kind.check(found)
            assert (found.shape, found.dtype) == (record.shape, record.dtype)
            changed[what] += not np.array_equal(found, record)
        np.testing.assert_array_equal(record, kept)
    assert min(changed.values()) > 0
