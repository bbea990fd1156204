"""Pictures of records on the report: which are drawn, and what of one that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.client.selection.example_reports import ENGLISH, plant_of

from wg_client.models import novelty
from wg_client.selection import gallery
from wg_client.selection.gallery import draw_strangest_records
from wg_common.modalities.images import Images
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError

LABELS = np.arange(60) % len(ENGLISH)


class Gone(Sequence[Any]):
    """Records that changed since they were frozen."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: Any) -> Any:
        raise DataError("changed since it was frozen")


@pytest.mark.parametrize("kind", [Images(), Windows(), Texts()], ids=lambda kind: kind.name)
def test_each_kind_of_record_is_drawn_and_a_lost_one_is_named(kind: Any) -> None:
    plant = plant_of(ENGLISH, LABELS, kind)
    for picture in draw_strangest_records(plant):
        drawn = {
            Images.name: picture.image.startswith("data:image/jpeg;base64,"),
            Windows.name: picture.waveform is not None and picture.spectrum is not None,
            Texts.name: bool(picture.text),
        }
        assert [name for name, is_drawn in drawn.items() if is_drawn] == [kind.name]
    gone: Any = plant
    gone.data = replace(plant.data, records=Gone())
    for picture in draw_strangest_records(gone):
        assert picture.name and not (picture.image or picture.text or picture.waveform)


def test_the_strangest_record_is_the_one_that_is_far_from_all() -> None:
    features = np.random.default_rng(2).normal(size=(60, 8))
    features[17] += 12
    assert novelty.most_unlike_rows(features, None, None)[0] == 17
    assert novelty.most_unlike_rows(features[:1], None, None) == []


def test_a_window_is_drawn_by_the_channel_that_differs_and_a_typical_spectrum() -> None:
    rng = np.random.default_rng(3)
    records = [rng.normal(size=(3, 512)).astype(np.float32) for _ in range(9)]
    records[0][2] += 5 * np.sin(np.arange(512))
    picture = gallery.RecordPicture(name="a")
    drawn = gallery._add_curves(picture, records[0], records[1:])
    assert drawn.channel == 3
    assert drawn.spectrum is not None and len(drawn.spectrum.lines) == 2
    alone = gallery._add_curves(picture, records[0], [np.zeros((1, 8), np.float32)])
    assert alone.spectrum is not None and len(alone.spectrum.lines) == 1
