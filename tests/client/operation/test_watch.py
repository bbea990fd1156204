"""``wg-client watch`` on a plant: no alarm for its own kind, one for another, and its stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.cli.conftest import Json, here
from tests.client.conftest import LABELS, MakePlant, write_npz
from tests.client.families import beside, family_head

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.names import GENERATED, LOCAL
from wg_client.models import adoption, drift
from wg_client.operation import stages
from wg_client.selection.delivery import take_package
from wg_common.catalogue import SAME_FAMILY
from wg_common.nets import family_network
from wg_core import errors
from wg_core.errors import DecodeError
from wg_core.wire import canonical

__all__ = ["here"]


def test_a_plant_is_watched_with_and_without_a_model(
    make_plant: MakePlant,
    good_head: LinearHead,
    tmp_path: Path,
    here: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 499)
    plant = make_plant({0: 8, 1: 8, 2: 8})
    home, root = plant.home, plant.home.root
    alike = write_npz(tmp_path / "alike.npz", {0: 6, 1: 6, 2: 6}, seed=78, labels=LABELS)
    assert stages.stage(home) == "pilot"
    found = here("watch", "--home", root, alike, "--suggest", 3)
    assert not found["batch"]["alarm"] and found["batch"]["unsure"] == -1
    assert len(found["label_next"]) == 3 and found["called"] == {}
    assert found["release"]["after"] > found["release"]["spent"] == 0
    take_package(home, plant.package({"s": (good_head, "diffusion")}))
    assert stages.stage(home) == "in use"
    odd = tmp_path / "odd.npz"
    noise = np.random.default_rng(5).integers(0, 2, (18, 32, 32), dtype=np.uint8) * 255
    np.savez(odd, x=noise)
    found = here("watch", "--home", root, odd, code=errors.ExitCode.NOT_ACCEPTED)
    assert found["batch"]["alarm"] and found["batch"]["p_features"] < 0.01 / 3
    assert sum(found["called"].values()) == 18 and sum(found["frozen"].values()) == 24
    assert stages.stage(home) == "watched" and len(stages.read(home).batches) == 2
    told = here("status", "--home", root)
    assert told["stage"] == "watched" and "not like the frozen" in " ".join(told["problems"])
    empty = tmp_path / "empty"
    empty.mkdir()
    here("watch", "--home", root, empty, code=errors.ExitCode.CONFIG)
    path = root / stages.FILE
    path.write_bytes(canonical.encode(replace(stages.read(home), version=2)))
    with pytest.raises(DecodeError, match="version 2"):
        stages.read(home)


def test_a_model_beside_a_network_of_its_family_is_watched_too(
    make_plant: MakePlant,
    encoder_package: bytes,
    tmp_path: Path,
    here: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 99)
    plant = make_plant({0: 8, 1: 8, 2: 8})
    both = family_head(encoder_package, 3) | family_network.packed(beside(3))
    manifest = take_package(plant.home, plant.package({"kin": (both, SAME_FAMILY)})).manifest
    for number, name in enumerate((GENERATED, LOCAL)):
        adoption.use(plant.home, manifest, name, "test")
        path = write_npz(tmp_path / f"{name}.npz", {0: 6, 1: 6, 2: 6}, seed=number, labels=LABELS)
        found = here("watch", "--home", plant.home.root, path)
        assert sum(found["called"].values()) == 18
