"""A new modality and a new architecture, each one file and one line, at a plant and in the zoo.

The toy modality is counts: vectors of small integers of any length, of which a record's classes
differ in how often each value occurs. The toy architecture is a small network for them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.cli.conftest import Json, here
from tests.client.conftest import TestPlant, plant_maker
from tests.client.discriminants import fit_lda
from tests.common.nets.random_tensors import initial_tensors

from wg_client.fitting.linear_head import LinearHead, fit_standardisation
from wg_common import catalogue
from wg_common.catalogue import ArchitectureSpec
from wg_common.modalities.base import Modality
from wg_common.modalities.registry import MODALITIES
from wg_common.nets.encoder.package import read_modality
from wg_common.nets.encoder.projected_trunk import compute_raw_features, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import DecodeError
from wg_core.yaml_settings import parse_yaml
from wg_server.site.home import ServerHome
from wg_server.zoo import own_families
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import ZooPlan
from wg_server.zoo.store import ZooStore

__all__ = ["here"]

MODALITY = '''
from collections.abc import Mapping

import numpy as np
import torch

from wg_core.errors import DataError
from wg_common.modalities.base import Modality
from wg_common.nets.encoder.trunk import NamedTrunk

VALUES = 16


class Counts(Modality):
    """Vectors of integers from 0 to 15."""

    name = "counts"
    title = "vectors of counts"
    singular = "vector"
    layout = "int16 [n, length] (counts)"
    suffixes = frozenset({".counts"})
    file_limit = 1 << 16
    head_architecture = "counts-head"
    trunk_modules = (__name__,)

    def matches_array(self, x):
        return x.dtype == np.int16 and x.ndim == 2

    def check_record(self, record):
        if record.dtype != np.int16 or record.ndim != 1 or not len(record):
            raise DataError(f"{record.dtype} of shape {record.shape}, expected int16 (length,)")
        if record.min() < 0 or record.max() >= VALUES:
            raise DataError(f"values beyond 0 to {VALUES - 1}")

    def decode(self, data, file_name):
        try:
            record = np.array([int(word) for word in data.decode("ascii").split()], np.int16)
            self.check_record(record)
        except (ValueError, OverflowError, DataError) as error:
            raise DataError(f"{file_name}: {error}") from error
        return record

    def example_record(self, shape):
        return np.zeros(shape[0], np.int16)

    def augment_site(self, records, strength, rng):
        return [record[rng.random(len(record)) >= 0.3 * strength] for record in records]


def shares(records):
    """How often each value occurs, float32 ``[n, 16]``."""
    return np.stack(
        [np.bincount(record, minlength=VALUES) / len(record) for record in records]
    ).astype(np.float32)


class CountsTrunk(NamedTrunk):
    """Shares of values, and their sums from the lowest."""

    label = "counts-1"
    width = 2 * VALUES
    needs_process = False
    direction_count = 24

    @classmethod
    def digest(cls):
        return "c0" * 32

    @classmethod
    def released_fit_weights(cls):
        return np.ones(cls.width)

    def feature_bounds(self):
        return 1.01

    def prepare(self, records):
        return torch.from_numpy(shares(records))

    def forward(self, batch):
        return torch.cat([batch.sqrt(), batch.cumsum(dim=1)], dim=1)


TRUNK = CountsTrunk
'''

NETWORK = '''
from torch import nn

from toy_extension.counts import VALUES, shares
from wg_common.nets.network import NetworkKind


def trunk():
    """Two layers."""
    return nn.Sequential(nn.Linear(VALUES, 24), nn.SiLU(), nn.Linear(24, 8))


NETWORK = NetworkKind(make_trunk=trunk, prepare_records=shares, feature_count=8)
'''

PLAN = """
seed: 3
architecture: counts-head
encoder: {{dimension: 8, records: 48}}
own_sites: 10
sources: [{{kind: npz, families: 1, sites: 2, per_class: 8, path: {}, licence: own}}]
"""

LABELS = ("low", "middle", "high")


def draw(
    rng: np.random.Generator, label: int, number: int, length: int = 6
) -> list[NDArray[np.int16]]:
    """Vectors of a class: short ones can be told apart by somebody who saw many."""
    return [
        np.clip(rng.normal(5 + 3 * label, 3, length + n % 5), 0, 15).astype(np.int16)
        for n in range(number)
    ]


def write(path: Path, record: NDArray[np.int16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(map(str, record.tolist())), encoding="ascii")


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of two files, and the line in each registry."""
    folder = tmp_path / "site-packages" / "toy_extension"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "counts.py").write_text(MODALITY, encoding="utf-8")
    (folder / "network.py").write_text(NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    for name in [name for name in sys.modules if name.startswith("toy_extension")]:
        monkeypatch.delitem(sys.modules, name)
    found: Modality = importlib.import_module("toy_extension.counts").Counts()
    monkeypatch.setitem(MODALITIES, found.name, found)
    spec = ArchitectureSpec("counts-net", "counts", module="toy_extension.network")
    monkeypatch.setitem(catalogue.PACKAGE_NETWORKS, spec.name, spec)


@pytest.fixture
def package(extension: None) -> bytes:
    rng = np.random.default_rng(1)
    public = [one for label in range(3) for one in draw(rng, label, 80)]
    groups = np.arange(240) % 5
    return fit_encoder(
        compute_raw_features(public, modality="counts"), groups, modality="counts", dimension=8
    )


@pytest.fixture
def plant(tmp_path: Path, package: bytes) -> TestPlant:
    """A home whose data are a folder of classes, not frozen yet."""
    rng = np.random.default_rng(2)
    data = tmp_path / "data"
    for label, name in enumerate(LABELS):
        for number, record in enumerate(draw(rng, label, 4)):
            write(data / name / f"{number}.counts", record)
    made = plant_maker(tmp_path, package)
    return made(frozen=False, path=str(data), labels=LABELS)


def _head(package: bytes) -> LinearHead:
    """A head fitted on many records that the plant does not have."""
    rng = np.random.default_rng(3)
    records = [one for label in range(3) for one in draw(rng, label, 60)]
    features = load_encoder(package).encode(records).astype(np.float64)
    scale = fit_standardisation(features)
    return scale.to_unscaled_head(
        fit_lda(scale.apply(features), np.repeat(np.arange(3), 60), 3, 0.5)
    )


def _predictions(here: Json, plant: TestPlant, tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(4)
    folder = tmp_path / "new"
    for label in range(3):
        write(folder / f"{label}.counts", draw(rng, label, 1, length=60)[0])
    found = here("predict", folder, "--home", plant.home.root)
    return [row["label"] for row in found["results"][0]["predictions"]]


def test_a_plant_works_with_a_modality_of_one_file(
    plant: TestPlant, package: bytes, here: Json, tmp_path: Path
) -> None:
    write(tmp_path / "data" / "low" / "bad.counts", np.array([3, 99], np.int16))
    refused = here("freeze", "--home", plant.home.root, code=3)
    assert "values beyond 0 to 15" in json.dumps(refused)
    (tmp_path / "data" / "low" / "bad.counts").unlink()
    here("freeze", "--home", plant.home.root)
    seen = here("check", "--home", plant.home.root)["data"]
    assert (seen["modality"], seen["records"]) == ("counts", 12)
    weights = tmp_path / "head.wgw"
    made = {"sample-0": (_head(package), "diffusion")}
    weights.write_bytes(plant.package(made, architecture="counts-head"))
    applied = here("apply", weights, "--home", plant.home.root)
    assert applied["accepted"] and applied["kept"].startswith("generated")
    assert _predictions(here, plant, tmp_path) == list(LABELS)


def test_a_plant_works_with_an_architecture_of_one_file(
    plant: TestPlant, here: Json, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)  # With so many records labels show that it never learnt anything
    for label, name in enumerate(LABELS):
        for number, record in enumerate(draw(rng, label, 20), 4):
            write(tmp_path / "data" / name / f"{number}.counts", record)
    here("freeze", "--home", plant.home.root)
    base = initial_tensors("counts-net", 3, 8, np.random.default_rng(5))
    package = plant.package({"base": (base, "diffusion")}, architecture="counts-net")
    weights = tmp_path / "network.wgw"
    weights.write_bytes(package)
    applied = here("apply", weights, "--home", plant.home.root, code=(0, 6))
    assert applied["kept"] != "generated"  # but local-only, or its average with the network
    assert here("models", "show", "--home", plant.home.root)
    assert _predictions(here, plant, tmp_path) == list(LABELS)


def test_a_zoo_is_built_of_it(extension: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    x = np.stack([one for label in range(3) for one in draw(rng, label, 40)[::5]])
    y = np.repeat(np.arange(3), 8)
    np.savez(tmp_path / "own.npz", x=np.tile(x, (4, 1)), y=np.tile(y, 4), classes=np.array(LABELS))
    home = ServerHome(tmp_path / "server")
    plan = parse_yaml(PLAN.format(tmp_path / "own.npz").encode(), ZooPlan, "plan")
    build_zoo(home, plan, workers=1, progress=lambda done, words: None)
    zoo = ZooStore(home.zoo_folder)
    entries = list(zoo.read_entries())
    assert (
        len(entries) == 2 and len(list(own_families.family_entries(zoo, entries[0].encoder))) == 1
    )
    assert read_modality(home.read_encoder()) == "counts"


def test_a_modality_that_nobody_registered_is_refused(
    package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(MODALITIES, "counts")
    with pytest.raises(DecodeError, match="modality 'counts': this program knows images, windows"):
        load_encoder(package)
