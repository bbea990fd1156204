"""From a data sheet to a kept network: no label, no release, nothing charged."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.client.conftest import MakePlant, TestPlant

from wg_client.methods.names import GENERATED
from wg_client.selection.delivery import take_package
from wg_core.errors import VerificationError
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.wire import canonical, signing
from wg_core.wire.data_sheet import DataSheet, RotatingMachine
from wg_server.campaigns import packaging, stated
from wg_server.campaigns.pools import StoredPools
from wg_server.campaigns.release import Recipient
from wg_server.generator import versions
from wg_server.generator.versions import Version
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import sheet_card, sheet_generation
from wg_server.generator.weights.sheet_networks import SheetModel, Sizes
from wg_server.site.home import ServerHome
from wg_server.store.database import open_engine
from wg_server.store.sites import Store

LABELS = ("normal", "ball", "inner", "outer")
SHEET = DataSheet(
    rotating_machine=RotatingMachine(
        shaft_speed_rpm=Decimal(1797),
        sampling_hz=Decimal(12000),
        rolling_elements=9,
        rolling_element_diameter_mm=Decimal("7.94"),
        pitch_diameter_mm=Decimal("39.04"),
        contact_angle_deg=Decimal(0),
    )
)


@pytest.fixture(scope="module")
def sheets() -> bytes:
    """An untrained generator of networks from data sheets."""
    model = SheetModel(Sizes(latent=3, rank=2, hidden=16)).eval()
    model.draw(torch.Generator().manual_seed(0))
    return sheet_generation.pack(sheet_card.fitted(model, simulation.Workshop(0).machines(40)))


def _version(home: ServerHome, sheets: bytes) -> Version:
    """A version of it; nobody asks for its heads here."""
    home.root.mkdir(exist_ok=True)
    card = {
        "generator": "0" * 64,
        "encoder": "0" * 64,
        "architecture": "window-head",
        "sheets": {"generator": canonical.sha256_hex(sheets)},
    }
    return versions.write(home, card, b"heads", sheets)


def _recipient(plant: TestPlant, **changes: Any) -> Recipient:
    words = {"site": plant.config.site, "encoder": plant.encoder, "labels": LABELS}
    return Recipient(**{**words, "data_sheet": SHEET, **changes})


def _machine_plant(make_plant: MakePlant, encoder: bytes) -> TestPlant:
    """A plant of windows without a label."""
    plant = make_plant(name="plant-m", frozen=False)
    plant.confirm(encoder)
    folder = plant.home.root / "data" / UNLABELLED_FOLDER
    folder.mkdir(parents=True)
    for number, window in enumerate(np.random.default_rng(1).normal(size=(24, 1, 1024))):
        np.save(folder / f"{number}.npy", window.astype(np.float32))
    data = replace(plant.config.data, path=str(folder.parent), labels=LABELS)
    plant.configure(data=data, data_sheet=SHEET)
    plant.freeze()
    return plant


def test_networks_for_a_stated_machine_are_kept_without_a_label(
    make_plant: MakePlant, window_encoder: bytes, sheets: bytes, tmp_path: Path
) -> None:
    plant, home = _machine_plant(make_plant, window_encoder), ServerHome(tmp_path / "server")
    version = _version(home, sheets)
    signing.save(home.signing_key, plant.server_key)
    with Store(open_engine(f"sqlite:///{tmp_path}/store")) as store:
        package = packaging.make_package(
            home, StoredPools(home, store), _recipient(plant), "ab" * 16, version.id
        )
    manifest = take_package(plant.home, package).manifest
    assert (manifest.kept, manifest.architecture) == (GENERATED, "spectrum-lines")
    assert manifest.generator == canonical.sha256_hex(sheets) and not manifest.own_release
    (kept,) = (entry for entry in manifest.models if entry.name == GENERATED)
    assert kept.origin.startswith("sheet-")
    assert len(manifest.candidates) == 18
    assert "states of its machine" in manifest.reason


def test_what_cannot_be_made_by_a_sheet_is_not(
    make_plant: MakePlant, sheets: bytes, tmp_path: Path
) -> None:
    plant, home = make_plant(name="plant-n", frozen=False), ServerHome(tmp_path / "server")
    version = _version(home, sheets)
    for changes in (
        {"data_sheet": None},
        {"labels": ("good", "scratch")},  # no condition of a bearing
        {"release": SimpleNamespace()},
    ):
        assert stated.networks(version, _recipient(plant, **changes), seed=1) is None
    version.sheets.write_bytes(b"another file")
    with pytest.raises(VerificationError, match="its model card names"):
        stated.networks(version, _recipient(plant), seed=1)
