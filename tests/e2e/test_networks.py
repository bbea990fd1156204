"""Whole networks end to end, in files: bases, a zoo, a generator, one release, three packages."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.fleet_support import make_home, running

from wg_client.fleet.initialise import DataChoice, initialise
from wg_client.models import predict
from wg_client.release.query import answer_query
from wg_client.selection.apply import apply_package
from wg_client.site.config import PrivacyConfig
from wg_client.site.home import ClientHome
from wg_common.errors import PolicyRefused
from wg_common.wire import protocol
from wg_common.wire.protocol import StatisticsQuery
from wg_server.campaigns.airgap import generate_from_file
from wg_server.fleet.enrolment import make_token
from wg_server.generator.heads.generate import load_generator
from wg_server.generator.networks.generate import load_networks
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.pipeline import train
from wg_server.generator.plan import GeneratorPlan
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store
from wg_server.zoo.build import build
from wg_server.zoo.plan import EncoderPlan, NetworksPlan, SourcePlan, ZooPlan
from wg_server.zoo.procedural import families

ZOO = ZooPlan(
    seed=5,
    encoder=EncoderPlan(images=400),
    sources=(SourcePlan(kind="procedural", families=9, sites=2, per_class=8),),
    networks=NetworksPlan(
        architectures=("cnn-s", "cnn-m", "lite0"),
        families=6,
        steps=3,
        base_tasks=6,
        base_images=16,
        base_steps=20,
    ),
)
TRAINING = GeneratorPlan(
    steps=8,
    width=16,
    depth=1,
    evaluate_every=4,
    episodes=4,
    workers=0,
    networks=NetworkTraining(
        steps=4,
        batch=3,
        width=16,
        depth=1,
        latent=4,
        functional_episodes=1,
        evaluate_every=2,
        episodes=3,
    ),
)


@pytest.mark.slow
def test_whole_networks_go_all_the_way_without_a_network(tmp_path: Path) -> None:
    server = make_home(tmp_path / "server")
    server.encoder.unlink()
    words: list[str] = []
    build(server, ZOO, workers=1, progress=lambda _, said: words.append(said))
    assert {"base cnn-s", "base cnn-m", "base lite0"} <= set(words)
    before = {path: path.read_bytes() for path in server.zoo.rglob("*") if path.is_file()}
    build(server, ZOO, workers=1, progress=lambda *_: None)
    after = {path: path.read_bytes() for path in server.zoo.rglob("*") if path.is_file()}
    assert after == before  # what is done is not done again

    plant = ClientHome(tmp_path / "plant")
    labels = _plant_data(tmp_path / "data.npz")
    with running(server), Store.open(server) as store:
        token = protocol.encode_token(make_token(server, store, "mill-7", 600.0))
        choice = DataChoice(path=tmp_path / "data.npz", name="mill-7")
        initialise(plant, token, choice, PrivacyConfig(answer_slot_seconds=0.05))
    card = train(server, TRAINING, progress=lambda *_: None)["networks"]
    assert card["architectures"] == {"cnn-m": 12, "cnn-s": 12, "lite0": 12}
    heads = load_generator(server.generator)
    networks = load_networks(server.networks, heads)
    assert card["generator"] == networks.id

    statistics = tmp_path / "plant.wgs"
    statistics.write_bytes(answer_query(plant, _query(server), witness=None))
    if not card["passes"]:
        with pytest.raises(PolicyRefused, match="model card fails"):
            generate_from_file(server, statistics, tmp_path / "no.wgw", architecture="cnn-s")
    for architecture in ("cnn-s", "cnn-m", "lite0"):  # one release serves every size
        package = tmp_path / f"{architecture}.wgw"
        generate_from_file(
            server,
            statistics,
            package,
            architecture=architecture,
            accept_generator=networks.id,
        )
        applied = apply_package(plant, package)
        assert applied.manifest.architecture == architecture
        assert applied.manifest.generator == networks.id
        data = predict.load_records(tmp_path / "data.npz", labels, split=1)
        assert len(data) == 4 * len(labels)
    assert plant.report.is_file()


def _plant_data(path: Path) -> tuple[str, ...]:
    """Pictures of a plant that no zoo has seen."""
    family = families.draw_family((99, 2), "parts")
    site = families.draw_site(family, 1, strength=0.3)
    labels = np.arange(len(family.labels)).repeat(10)
    x = families.render(family, site, labels, np.random.default_rng(1))
    split = np.tile(np.repeat([0, 1], [6, 4]), len(family.labels))
    np.savez(path, x=x, y=labels, classes=np.array(family.labels), split=split)
    return family.labels


def _query(server: ServerHome) -> StatisticsQuery:
    return StatisticsQuery(
        request_id=secrets.token_hex(16),
        site="mill-7",
        encoder=server.encoder_id(),
        epsilon="4",
        delta="1e-5",
        purpose="file",
        expires=int(time.time()) + 600,
    )
