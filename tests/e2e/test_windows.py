"""Sensor windows end to end, in files: a zoo, a generator, statistics, a package, predictions."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.fleet_support import make_home, running

from wg_client import config as configuration
from wg_client import model_store, predict
from wg_client.apply import apply_package
from wg_client.config import PrivacyConfig
from wg_client.home import ClientHome
from wg_client.initialise import DataChoice, initialise
from wg_client.release import answer_query
from wg_common import protocol
from wg_common.protocol import StatisticsQuery
from wg_server.airgap import generate_from_file
from wg_server.enrolment import make_token
from wg_server.generator.generate import load_generator
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.train import train
from wg_server.home import ServerHome
from wg_server.store import Store
from wg_server.zoo.build import build
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan
from wg_server.zoo.procedural_windows import families

ZOO = ZooPlan(
    seed=5,
    architecture="window-head",
    encoder=EncoderPlan(dimension=16, windows=400),
    sources=(SourcePlan(kind="procedural-windows", families=10, sites=2, per_class=8),),
)
TRAINING = GeneratorPlan(steps=8, width=16, depth=1, evaluate_every=4, episodes=4, workers=0)


def _plant_data(path: Path) -> tuple[str, ...]:
    """Windows of a machine that no zoo has seen."""
    family = families.draw_family((99, 2), "rotating")
    site = families.draw_site(family, 1, strength=0.3)
    labels = np.arange(len(family.labels)).repeat(12)
    x = families.render(family, site, labels, np.random.default_rng(1))
    split = np.tile(np.repeat([0, 1], [8, 4]), len(family.labels))
    np.savez(path, x=x, y=labels, classes=np.array(family.labels), split=split)
    return family.labels


@pytest.mark.slow
def test_windows_go_all_the_way_without_a_network(tmp_path: Path) -> None:
    server = make_home(tmp_path / "server")
    server.encoder.unlink()
    build(server, ZOO, workers=1, progress=lambda *_: None)
    labels = _plant_data(tmp_path / "data.npz")
    plant = ClientHome(tmp_path / "plant")
    with running(server), Store.open(server) as store:
        token = protocol.encode_token(make_token(server, store, "pump-7", 600.0))
        choice = DataChoice(path=tmp_path / "data.npz", name="pump-7")
        initialise(plant, token, choice, PrivacyConfig(answer_slot_seconds=0.05))
    card = train(server, TRAINING, progress=lambda *_: None)
    assert card["architecture"] == "window-head"
    statistics, package = tmp_path / "plant.wgs", tmp_path / "plant.wgw"
    statistics.write_bytes(answer_query(plant, _query(server), witness=None))
    made = generate_from_file(
        server, statistics, package, accept_generator=load_generator(server.generator).id
    )
    assert made.site == "pump-7"

    applied = apply_package(plant, package)
    assert applied.manifest.architecture == "window-head"
    assert applied.manifest.labels == labels == configuration.load(plant).data.labels
    data = predict.load_records(tmp_path / "data.npz", labels, split=1)
    features = predict.encode_records(plant, applied.manifest, data)
    rows = predict.predict(plant, applied.manifest, model_store.KEPT, features, data.names)
    assert len(rows) == 4 * len(labels)
    right = np.mean([row.label == labels[y] for row, y in zip(rows, data.labels, strict=True)])
    assert right > 1.2 / len(labels)
    assert plant.report.is_file()


def _query(server: ServerHome) -> StatisticsQuery:
    return StatisticsQuery(
        request_id=secrets.token_hex(16),
        site="pump-7",
        encoder=server.encoder_id(),
        epsilon="4",
        delta="1e-5",
        purpose="file",
        expires=int(time.time()) + 600,
    )
