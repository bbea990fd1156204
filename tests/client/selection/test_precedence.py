"""A delivered network's head start shrinks with the labels if its sheet is doubted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import SHEET_FIT_LIMIT, PlantRecords, PreparedPackage
from wg_client.selection import precedence
from wg_client.selection.gain import UNKNOWN_GAIN

CLASSES = 3


def head_start(labels: int, fit: float | None) -> float:
    """The head start of a network, with so many labels of the rarest class."""
    counts = [labels, labels + 4, labels + 9]
    records = PlantRecords(
        all_labels=np.repeat(np.arange(CLASSES), counts),
        class_count=CLASSES,
        encoder_features=TrunkFeatures(np.zeros((sum(counts), 2))),
    )
    return precedence.head_start(
        PreparedPackage(candidates=[], other_sites_released=False, sheet_fit=fit), records
    )


@pytest.mark.parametrize("fit", [None, SHEET_FIT_LIMIT, 1.0])
def test_labels_change_nothing_of_the_head_start_of_a_sheet_that_nothing_doubts(
    fit: float | None,
) -> None:
    assert {head_start(labels, fit) for labels in (0, 5, 50)} == {precedence.HEAD_START_SCORE}


def test_a_doubted_head_start_loses_a_tenth_with_each_label_of_the_rarest_class() -> None:
    shares = [
        head_start(labels, SHEET_FIT_LIMIT - 0.01) / precedence.HEAD_START_SCORE
        for labels in (0, 3, 10, 40)
    ]
    assert shares == pytest.approx([1.0, 0.7, 0.0, 0.0])


def test_units_and_not_records_weigh_against_the_word() -> None:
    gain = replace(UNKNOWN_GAIN, log_loss=-0.3, accuracy_gain=-0.1)
    assert precedence.selection_score(gain, 4, precedence.HEAD_START_SCORE) > 0
    assert precedence.selection_score(gain, 6, precedence.HEAD_START_SCORE) < 0
