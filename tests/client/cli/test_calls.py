"""``predict`` says what a call is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.cli.conftest import Json
from tests.client.conftest import LABELS, MakePlant, pictures

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import store
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.errors import VerificationError

Shown = Callable[..., tuple[str, str]]


def _save(path: Path, x: Any) -> Path:
    np.savez(path, x=x, y=np.zeros(len(x), np.int64), classes=np.array(LABELS))
    return path


def test_predict_says_what_a_call_is_worth(
    make_plant: MakePlant, good_head: LinearHead, here: Json, shown: Shown, tmp_path: Path
) -> None:
    plant = make_plant({0: 12, 1: 12, 2: 12})
    manifest = apply_and_adopt_package(
        plant.home, plant.package({"s": (good_head, "diffusion")})
    ).manifest
    rng = np.random.default_rng(5)
    own = np.concatenate([pictures(rng, label, 4) for label in range(3)])
    odd = np.where(rng.random((4, 32, 32)) < 0.5, 0, 255).astype(np.uint8)
    path = _save(tmp_path / "new.npz", np.concatenate([own, odd]))
    words = ("predict", "--home", plant.home.root, path)
    said = here(*words)
    rows = said["results"][0]["predictions"]
    assert {row["call"] for row in rows[:12]} <= {"sure", "unsure", "new"}
    assert sum(row["call"] == "new" for row in rows[:12]) <= 3
    assert all(row["call"] == "new" for row in rows[12:])
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"])
    line = shown(*words)[0].splitlines()[-1].split("\t")
    assert line[-2:] == ["new", "look"] and float(line[-3]) <= 0.05
    # the file is pinned by the manifest
    state = store.models_folder(plant.home, manifest.package_id) / "novelty.safetensors"
    assert state.stat().st_size < 2_000_000
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError, match="does not match its hash"):
        store.load_companion_tensors(plant.home, manifest, store.NOVELTY_NAME)
