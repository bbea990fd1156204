"""Heads of families: a site's own mean and spread are taken out, and files are read strictly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.inference import family_head
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_core.errors import DecodeError

LAYOUT = FeatureLayout(4, (6, 5))
SIZE, CLASSES = 11, 3


def _head(records: float = 0.0) -> FamilyHead:
    rng = np.random.default_rng(1)
    return FamilyHead(
        reference=np.stack([rng.normal(size=SIZE), rng.normal(0, 0.3, SIZE)]),
        records=np.array([records]),
        weight=rng.normal(size=(CLASSES, SIZE)),
        bias=rng.normal(size=CLASSES),
    )


def _records(n: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(3, 2, (n, 15)).astype(np.float32)


def _seen(head: FamilyHead, local: NDArray[np.float32]) -> NDArray[np.float64]:
    weight, bias = head.adapt_to_site(local, LAYOUT)
    return np.asarray(local @ weight.T + bias)


def test_another_gain_and_offset_of_a_site_change_nothing() -> None:
    head, local = _head(), _records(40)
    other = local.copy()
    other[:, 4:10] = 3 * local[:, 4:10] - 7
    other[:, 10:] = 0.2 * local[:, 10:] + 1
    np.testing.assert_allclose(_seen(head, other), _seen(head, local), atol=1e-4)


def test_a_few_records_are_shrunk_towards_the_typical_site() -> None:
    local = _records(40)
    own, typical, few = (_seen(_head(r), local) for r in (0.0, 1e12, 40.0))
    assert np.linalg.norm(few - typical) < np.linalg.norm(own - typical)
    assert np.isfinite(_seen(_head(2.0), local[:1])).all()


def test_without_blocks_the_features_of_public_scale_are_standardised() -> None:
    layout = FeatureLayout(15, ())
    assert (layout.first_head_feature, layout.head_block_sizes) == (0, (15,))
    assert family_head.site_moments(_records(9), layout).shape == (2, 15)


def test_what_is_written_is_read() -> None:
    head = _head(1.5).select_classes(np.array([2, 0]))
    again = family_head.family_head_from_tensors(head.tensors(), 2, LAYOUT)
    for name, value in head.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], value)
    np.testing.assert_allclose(again.weight[1], _head().weight[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": np.zeros((4, SIZE))}, "tensor 'weight'"),
        ({"bias": np.zeros((CLASSES, 1))}, "tensor 'bias'"),
        ({"reference": np.zeros((2, SIZE + 1))}, "tensor 'reference'"),
        ({"records": np.array([-1.0])}, "records -1"),
        ({"reference": np.full((2, SIZE), 51.0)}, "log spread 51"),
        ({"bias": np.array([0, np.nan, 0])}, "'bias' is not finite"),
        ({"records": np.zeros((1, 1))}, "tensor 'records'"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    change: dict[str, NDArray[np.float64]], words: str
) -> None:
    with pytest.raises(DecodeError, match=words):
        family_head.family_head_from_tensors(replace(_head(), **change).tensors(), CLASSES, LAYOUT)


def test_a_tensor_too_many_or_too_few_is_refused() -> None:
    tensors = _head().tensors()
    with pytest.raises(DecodeError, match="tensor 'more'"):
        family_head.family_head_from_tensors({**tensors, "more": np.zeros(1)}, CLASSES, LAYOUT)
    del tensors["weight"]
    with pytest.raises(DecodeError, match="tensor 'weight'"):
        family_head.family_head_from_tensors(tensors, CLASSES, LAYOUT)
