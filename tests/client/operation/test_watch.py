"""``wg-client watch`` on a plant: no alarm for its own kind, and one for another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.client.cli.conftest import Json, here
from tests.client.conftest import LABELS, MakePlant, write_npz

from wg_client.models import drift
from wg_core import errors

__all__ = ["here"]


def test_a_plant_is_watched_without_a_model(
    make_plant: MakePlant, tmp_path: Path, here: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "PERMUTATION_COUNT", 499)
    root = make_plant({0: 8, 1: 8, 2: 8}).home.root
    alike = write_npz(tmp_path / "alike.npz", {0: 6, 1: 6, 2: 6}, seed=78, labels=LABELS)
    found = here("watch", "--home", root, alike)
    assert not found["alarm"] and found["records"] == 18 and found["shift"]["compared"] == 42
    odd = tmp_path / "odd.npz"
    noise = np.random.default_rng(5).integers(0, 2, (18, 32, 32), dtype=np.uint8) * 255
    np.savez(odd, x=noise)
    found = here("watch", "--home", root, odd, code=errors.ExitCode.NOT_ACCEPTED)
    assert found["alarm"] and found["p_features"] < found["false_alarms"] / 2
    empty = tmp_path / "empty"
    empty.mkdir()
    here("watch", "--home", root, empty, code=errors.ExitCode.CONFIG)
