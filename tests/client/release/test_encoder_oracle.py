"""An encoder that was made to fail on one record does not tell whether a plant holds that record.

Whoever sends the encoder knows the record that is asked about, and computes from it where the
projection must overflow. The answers of two plants that differ in that record alone must not be
told apart but by what was charged: same kind, same size, and sums that differ by that record.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from tests.client.conftest import LABELS, MakePlant, TestPlant, pictures

from wg_client.data import plant_data as plants
from wg_common.nets.encoder import package as encoder_package
from wg_common.nets.encoder.projected_trunk import compute_raw_features
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import ReleaseHooks, answer_query
from wg_core.wire import bundle, signing
from wg_core.wire.statistics_file import decode_release

Raw = Callable[[Any], NDArray[np.float32]]
Records = list[NDArray[Any]]


def _images() -> tuple[Records, NDArray[Any]]:
    rng = np.random.default_rng(21)
    return [*pictures(rng, 0, 4), *pictures(rng, 1, 4)], pictures(rng, 2, 1)[0]


def _windows() -> tuple[Records, NDArray[Any]]:
    rng = np.random.default_rng(22)
    found = rng.normal(size=(9, 2, 64)).astype(np.float32)
    return list(found[:8]), found[8]


def _hostile(package: bytes, raw: NDArray[np.float32]) -> bytes:
    """The package, with tensors that overflow on the last row of raw features alone."""
    tensors = safetensors.numpy.load(package)
    away = np.abs(raw - raw[:-1].mean(axis=0))
    column = int((away[-1] - 2 * away[:-1].max(axis=0)).argmax())
    assert away[-1, column] > 1.5 * away[:-1, column].max()
    tensors["mean"] = raw[:-1].mean(axis=0)
    large = 1.2 * float(np.finfo(np.float32).max) / float(away[-1, column])
    for name in ("projection", "local"):
        tensors[name] = np.zeros_like(tensors[name])
        tensors[name][column] = large
    size = int.from_bytes(package[:8], "little")
    metadata = json.loads(package[8 : 8 + size])["__metadata__"]
    return safetensors.numpy.save(tensors, metadata=metadata)


def _write(plant: TestPlant, records: Records) -> None:
    # One class for all, so that the record that is asked about is in the class of others.
    np.savez(
        Path(plant.config.data.path),
        x=np.stack(records),
        y=np.zeros(len(records), np.int64),
        classes=np.array(LABELS),
    )


@pytest.fixture(autouse=True)
def any_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an encoder is not even loaded; here the wall behind that one is tested."""
    monkeypatch.setattr(encoder_package, "FEATURE_MAGNITUDE_BOUND", np.inf)


@pytest.fixture(params=["images", "windows"])
def pair(
    request: pytest.FixtureRequest, make_plant: MakePlant, encoder_package: bytes
) -> tuple[TestPlant, TestPlant]:
    """Two plants that hold the hostile encoder; the second has the record that it fails on."""
    found: list[TestPlant] = []
    raw: Raw
    if request.param == "images":
        (others, target), raw, package = _images(), compute_raw_features, encoder_package
    else:
        (others, target), raw = _windows(), partial(compute_raw_features, modality="windows")
        package = request.getfixturevalue("window_encoder")
    encoder = _hostile(package, raw([*others, target]))
    for name, records in (("plant-a", others), ("plant-b", [*others, target])):
        plant = make_plant(name=name, frozen=False)
        plant.confirm(encoder)
        _write(plant, records)
        plant.freeze()
        found.append(plant)
    return found[0], found[1]


def test_answers_differ_by_the_record_alone(pair: tuple[TestPlant, TestPlant]) -> None:
    sizes, counts, sums, spent = [], [], [], []
    for plant in pair:
        data = answer_query(
            plant.home,
            plant.query(),
            witness=plant.witness,
            hooks=ReleaseHooks(sampler=lambda exact, _: exact),
        )
        _, statistics = decode_release(
            bundle.decode_statistics(data).release,
            signing.load(plant.home.signing_key).public_key(),
        )
        sizes.append((len(data), plant.witness.asked))
        counts.append(statistics.counts())
        sums.append(statistics.sums())
        spent.append(read_plant_spending(plant.home, plant.config).charge_count)
    assert sizes[0] == sizes[1] and spent == [1, 1]
    np.testing.assert_array_equal(counts[1] - counts[0], [1, 0, 0])
    np.testing.assert_array_equal(sums[1], sums[0])  # the record overflowed, and counts as zeros


def test_local_features_are_finite_too(pair: tuple[TestPlant, TestPlant]) -> None:
    for plant in pair:
        assert np.isfinite(plants.open_plant_data(plant.home).features.local_features).all()
