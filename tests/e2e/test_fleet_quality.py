"""Quality reports between a real server and real nodes: asked, charged, verified, audited."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.e2e.fleet_support import (
    DIMENSION,
    LABELS,
    Plant,
    allow_quality,
    enrol_plant,
    finished,
    make_home,
    package_of,
    running,
    start_campaign,
)
from tests.patience import wait_until

from wg_audit import verification
from wg_client.release import freeze as freezing
from wg_client.release.quality import answer_quality
from wg_core.site import config as configuration
from wg_core.wire import fleet
from wg_server.campaigns import absence, auditors, quality, reasons
from wg_server.campaigns.release import Release
from wg_server.campaigns.starting import Order
from wg_server.generator.versions import Recipe
from wg_server.site.home import ServerHome
from wg_server.store import quality as table
from wg_server.store.campaigns import Campaign
from wg_server.store.sites import Store

RECORDS = 40


class Bands:
    """In the place of an encoder: the brightness of eight bands of a picture."""

    modality = "images"
    dimension = scaled_dimension = local_dimension = DIMENSION
    clip_radius = 1.0

    def encode_local(self, records: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        bands = [np.asarray(each, dtype=np.float32).reshape(DIMENSION, -1) for each in records]
        values = np.stack([each.mean(axis=1) for each in bands])
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def two_heads(
    home: ServerHome, own: Release, others: Sequence[Release], request_id: str, recipe: Recipe
) -> bytes:
    """A package with a head that is always right, and one that always calls the last class."""
    right = np.eye(len(LABELS), DIMENSION, dtype=np.float32)
    heads = {
        "right": {"head.weight": right, "head.bias": np.zeros(3, np.float32)},
        "last": {"head.weight": 0 * right, "head.bias": np.array([0, 0, 1], np.float32)},
    }
    return package_of(home, own, others, request_id, heads, "network")


def _freeze(plant: Plant) -> None:
    """Forty pictures, each of whose class its brightest band says."""
    rng = np.random.default_rng(3)
    labels = np.arange(RECORDS) % len(LABELS)
    pictures = rng.integers(0, 60, (RECORDS, 16, 16)).astype(np.uint8)
    for row, label in enumerate(labels):
        pictures[row, 2 * label : 2 * label + 2] = 250
    path = plant.home.root / "data.npz"
    np.savez(path, x=pictures, y=labels, classes=np.array(LABELS))
    config = configuration.load(plant.home)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(path)))
    configuration.save(plant.home, config)
    freezing.freeze(plant.home, load=lambda package: Bands())


def _ask(server: ServerHome, about: Campaign, **words: Any) -> Campaign:
    with Store.open(server) as store:
        order = Order(epsilon="2", purpose="pilot", collect_seconds=600.0, **words)
        found, left = quality.start(server, store, order, about=about.id)
        assert not left
    return found


@pytest.mark.slow
def test_plants_that_opted_in_report_and_an_auditor_proves_it(tmp_path: Path) -> None:
    server = make_home(tmp_path / "server")
    with running(server, two_heads):
        open_plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        shut_plant = enrol_plant(server, tmp_path / "plant-b", "plant-b")
        plants = open_plant, shut_plant
        for each in plants:
            _freeze(each)
            each.quality = answer_quality
            _keep_packages(each)
        allow_quality(open_plant)
        with open_plant.running(), shut_plant.running():
            campaign = finished(server, start_campaign(server, ["plant-a", "plant-b"]))
            wait_until(lambda: bool(open_plant.applied and shut_plant.applied), "applying")
            first = finished(server, _ask(server, campaign))
            again = finished(server, _ask(server, campaign, sites=("plant-a",)))
    assert first.state == "partial" and again.state == "done"
    assert first.task("plant-a").state == "answered"
    refused = first.task("plant-b")
    assert (refused.state, refused.code) == ("refused", fleet.TYPE_DENIED)
    with open_plant.ledger() as ledger, shut_plant.ledger() as other:
        # one release and one report, however often it is asked for; and the release alone
        assert (ledger.spent("line-1").charges, other.spent("line-1").charges) == (2, 1)
    with Store.open(server) as store:
        said = reasons.of_task(first, refused, absence.sights(store)["plant-b"], time.time())
        assert "does not answer messages of this type" in said.why
        (report,) = quality.reports(store, first)
        # eight standard deviations: false failure below 1e-14
        std = report.counts.std
        assert abs(report.counts.labelled - RECORDS) < 8 * std
        assert abs(report.counts.right["right"] - RECORDS) < 8 * std
        assert abs(report.counts.right["last"] - RECORDS // 3) < 8 * std
        assert std < 5 and report.conditioned
        assert len({each.data for each in table.reports(store.engine, "plant-a")}) == 1
    folder = tmp_path / "evidence"
    auditors.export(server, folder, ["plant-a"])
    with open_plant.ledger() as ledger:
        ledger.export(tmp_path / "plant-a.wgl")
    found = verification.verify(tmp_path / "plant-a.wgl", server=folder)
    assert sorted(Path(each.file).suffix for each in found.received) == [".wgq", ".wgs"]
    assert found.accounts[0].charges == 2


def _keep_packages(plant: Plant) -> None:
    """What ``apply`` of the product does first: a copy of the package, by its id."""
    real = plant.apply

    def apply(home: Any, source: Path) -> object:
        manifest = real(home, source)
        (plant.home.packages / f"{manifest.package_id}.wgw").write_bytes(source.read_bytes())  # type: ignore[attr-defined]
        return manifest

    plant.apply = apply  # type: ignore[method-assign]
