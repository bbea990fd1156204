"""Which model is in use after several packages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.client.conftest import MakePlant, TestPlant

from wg_client.fitting.linear_head import LinearHead
from wg_client.models import store
from wg_client.models.manifest import KEPT, ModelsManifest
from wg_client.selection.apply import apply_package


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
    equal = _later(first, 2, accuracy)
    store.write(plant.home, equal, {})
    assert store.current(plant.home)[0] == equal
    unchecked = _later(first, 3, None)
    store.write(plant.home, unchecked, {})
    assert store.current(plant.home)[0] == unchecked


def test_with_one_architecture_the_larger_gain_stays_in_use(plant: TestPlant) -> None:
    first, _ = store.current(plant.home)
    smaller = replace(first, package_id="1" * 32, gain=first.gain - 0.01)
    larger = replace(first, package_id="2" * 32, gain=first.gain + 0.01)
    store.write(plant.home, smaller, {})
    assert store.current(plant.home)[0] == first
    store.write(plant.home, larger, {})
    assert store.current(plant.home)[0] == larger
    other = replace(first, package_id="3" * 32, gain=-1.0, commitment="00" * 32)
    store.write(plant.home, other, {})  # other records: gains cannot be compared
    assert store.current(plant.home)[0] == other
