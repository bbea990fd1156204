"""Whole networks end to end, in files: bases, a zoo, a generator, one release, three packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e import file_support

from wg_client.data.survey import load_dataset
from wg_client.selection.delivery import take_package
from wg_core.errors import ConfigError
from wg_server.campaigns.airgap import generate_from_file
from wg_server.generator import versions
from wg_server.generator.pipeline import train
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.weights.head_generation import load_generator
from wg_server.generator.weights.network_generation import load_networks
from wg_server.generator.weights.network_plan import NetworkTraining
from wg_server.zoo.build import build
from wg_server.zoo.plan import EncoderPlan, NetworksPlan, SourcePlan, ZooPlan
from wg_server.zoo.procedural import families

ZOO = ZooPlan(
    seed=5,
    encoder=EncoderPlan(records=400),
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
    server = file_support.without_encoder(tmp_path / "server")
    words: list[str] = []
    build(server, ZOO, workers=1, progress=lambda _, said: words.append(said))
    assert {"base cnn-s", "base cnn-m", "base lite0"} <= set(words)
    before = {path: path.read_bytes() for path in server.zoo.rglob("*") if path.is_file()}
    build(server, ZOO, workers=1, progress=lambda *_: None)
    after = {path: path.read_bytes() for path in server.zoo.rglob("*") if path.is_file()}
    assert after == before  # what is done is not done again

    data_file = tmp_path / "data.npz"
    labels = file_support.plant_data(data_file, families, "parts", shown=6, held=4)
    plant = file_support.enrolled(server, tmp_path / "plant", data_file)
    card = train(server, TRAINING, progress=lambda *_: None)
    version = versions.read(server, card["version"])
    card = card["networks"]
    assert card["architectures"] == {"cnn-m": 12, "cnn-s": 12, "lite0": 12}
    networks = load_networks(version.networks, load_generator(version.heads))
    assert card["generator"] == networks.id

    statistics = tmp_path / "plant.wgs"
    file_support.release(server, plant, statistics)
    with pytest.raises(ConfigError, match="for another encoder"):
        generate_from_file(server, statistics, tmp_path / "no.wgw", architecture="cnn-s")
    versions.use(server, version)
    for architecture in ("cnn-s", "cnn-m", "lite0"):  # one release serves every size
        package = tmp_path / f"{architecture}.wgw"
        generate_from_file(server, statistics, package, architecture=architecture)
        applied = take_package(plant, package)
        assert applied.manifest.architecture == architecture
        assert applied.manifest.generator == networks.id
        data = load_dataset(data_file, labels, split=1)
        assert len(data) == 4 * len(labels)
    assert plant.report.is_file()
