"""Which model is in use after several packages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import MakePlant, TestPlant

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import store
from wg_client.models.manifest import KEPT, ModelsManifest
from wg_client.selection.apply import apply_package
from wg_common import atomic
from wg_common.errors import StorageError


def _later(manifest: ModelsManifest, number: int, accuracy: float | None) -> ModelsManifest:
    """A later package's manifest, of a whole network with this out-of-fold accuracy."""
    kept = replace(manifest.entry(KEPT), accuracy=accuracy)
    return replace(
        manifest, package_id=f"{number:032x}", architecture="cnn-s", gain=0.0, models=(kept,)
    )


@pytest.fixture
def plant(make_plant: MakePlant, good_head: LinearHead) -> TestPlant:
    plant = make_plant({0: 4, 1: 4})
    apply_package(plant.home, plant.package({"s": (good_head, "diffusion")}))
    return plant


def test_between_architectures_the_more_accurate_model_stays_in_use(plant: TestPlant) -> None:
    first, _ = store.current(plant.home)
    accuracy = first.entry(KEPT).accuracy
    assert accuracy is not None
    store.write(plant.home, _later(first, 1, accuracy - 0.1), {})
    assert store.current(plant.home)[0] == first
    store.write(plant.home, _later(first, 2, accuracy), {})  # as good is no reason
    assert store.current(plant.home)[0] == first
    better = _later(first, 4, accuracy + 0.1)
    store.write(plant.home, better, {})
    assert store.current(plant.home)[0] == better
    unchecked = replace(_later(first, 3, None), architecture="cnn-m")
    store.write(plant.home, unchecked, {})
    assert store.current(plant.home)[0] == unchecked


def test_a_model_that_a_crash_kept_out_of_use_is_put_in_use_when_its_package_comes_again(
    make_plant: MakePlant, good_head: LinearHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = make_plant({0: 4, 1: 4})
    first, second = (plant.package({"s": (good_head, "diffusion")}) for _ in range(2))
    apply_package(plant.home, first, now=lambda: time.time() - 60)
    monkeypatch.setattr(store, "_replaces", lambda new, old: new.applied > old.applied)
    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(atomic, "write_bytes", _full_at(store.CURRENT, atomic.write_bytes))
        apply_package(plant.home, second)
    before, _ = store.current(plant.home)
    again = apply_package(plant.home, second)
    now, _ = store.current(plant.home)
    assert again.already and before != now == again.manifest
    assert apply_package(plant.home, first).already  # an earlier one's coming again changes nothing
    assert store.current(plant.home)[0] == now


def _full_at(name: str, write: Callable[..., None]) -> Callable[..., None]:
    """A disk that is full when a file of this name is written."""

    def written(path: Path, data: bytes, **words: Any) -> None:
        if path.name == name:
            raise StorageError(f"{path}: cannot be written: No space left on device")
        write(path, data, **words)

    return written


def test_with_one_architecture_the_larger_gain_stays_in_use(plant: TestPlant) -> None:
    first, _ = store.current(plant.home)
    store.write(plant.home, replace(first, package_id="0" * 31 + "1"), {})
    assert store.current(plant.home)[0] == first  # the same campaign again
    smaller = replace(first, package_id="1" * 32, gain=first.gain - 0.01)
    larger = replace(first, package_id="2" * 32, gain=first.gain + 0.01)
    store.write(plant.home, smaller, {})
    assert store.current(plant.home)[0] == first
    store.write(plant.home, larger, {})
    assert store.current(plant.home)[0] == larger
    other = replace(first, package_id="3" * 32, gain=-1.0, commitment="00" * 32)
    store.write(plant.home, other, {})  # other records: gains cannot be compared
    assert store.current(plant.home)[0] == other
