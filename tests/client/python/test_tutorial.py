"""The blocks of ``docs/python.md`` run as they stand, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.client.conftest import LABELS, MakePlant, pictures
from tests.tutorial import blocks

from weightgate.classifier import Classifier
from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt_package

pytestmark = pytest.mark.slow


def test_the_blocks_of_the_page_run(
    make_plant: MakePlant,
    good_head: LinearHead,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant = make_plant({0: 4, 1: 4}, name="plant")
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    records = np.concatenate([pictures(rng, label, 4) for label in range(3)])
    (tmp_path / "new-pictures").mkdir()
    for row, picture in enumerate(records):
        Image.fromarray(picture).save(tmp_path / "new-pictures" / f"{row}.png")
    names: dict[str, Any] = {
        "records": records,
        "labels": np.repeat(LABELS, 4),
        "features": rng.normal(size=(12, 5)),
    }
    found = blocks("python", "python")
    assert len(found) == 3
    for block in found:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == len(records)
    assert names["plant"].labels == LABELS
    for one in ("in_use", "further", "alone"):
        assert isinstance(names[one], Classifier) and len(names[one].classes_) == 3
