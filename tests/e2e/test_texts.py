"""Texts end to end, in files: a zoo of parts of MiniLM, generators, one release, packages."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.fleet_support import make_home, running

from wg_client.fitting import network_tuning
from wg_client.fleet.initialise import DataChoice, initialise
from wg_client.models import predict, store
from wg_client.models.export import export_model
from wg_client.models.manifest import KEPT
from wg_client.release.query import answer_query
from wg_client.selection.apply import apply_package
from wg_client.site.config import PrivacyConfig
from wg_client.site.home import ClientHome
from wg_common.nets import minilm, network
from wg_common.wire import protocol, signing, weights_file
from wg_common.wire.protocol import StatisticsQuery
from wg_server.campaigns import packaging
from wg_server.campaigns.airgap import generate_from_file
from wg_server.fleet.enrolment import make_token
from wg_server.generator.heads.generate import load_generator
from wg_server.generator.networks.generate import load_networks
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.networks.weight_plan import weight_plan
from wg_server.generator.pipeline import train
from wg_server.generator.plan import GeneratorPlan
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store
from wg_server.zoo.build import build
from wg_server.zoo.plan import EncoderPlan, NetworksPlan, SourcePlan, ZooPlan
from wg_server.zoo.procedural_text import families

NET = "minilm"
ZOO = ZooPlan(
    seed=5,
    architecture="text-head",
    encoder=EncoderPlan(texts=300),
    sources=(SourcePlan(kind="procedural-texts", families=9, sites=2, per_class=8),),
    networks=NetworksPlan(architectures=(NET,), families=6, steps=2),
)
TRAINING = GeneratorPlan(
    steps=4,
    width=16,
    depth=1,
    evaluate_every=2,
    episodes=4,
    workers=0,
    networks=NetworkTraining(
        steps=2,
        batch=2,
        width=16,
        depth=1,
        latent=4,
        functional_episodes=1,
        evaluate_every=1,
        episodes=2,
    ),
)


def _plant_data(path: Path) -> tuple[str, ...]:
    """Notes of a plant that no zoo has seen."""
    family = families.draw_family((99, 2), "symptoms")
    site = families.draw_site(family, 1, strength=0.3)
    labels = np.arange(len(family.labels)).repeat(9)
    x = families.render(family, site, labels, np.random.default_rng(1))
    split = np.tile(np.repeat([0, 1], [6, 3]), len(family.labels))
    np.savez(path, x=np.array(x), y=labels, classes=np.array(family.labels), split=split)
    return family.labels


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not minilm.installed(), reason=f"no {minilm.PACKAGE}")
def test_parts_of_a_transformer_go_all_the_way_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 2: 0.0})
    server = make_home(tmp_path / "server")
    server.encoder.unlink()
    build(server, ZOO, workers=1, progress=lambda *_: None)
    labels = _plant_data(tmp_path / "data.npz")
    plant = ClientHome(tmp_path / "plant")
    with running(server), Store.open(server) as sites:
        token = protocol.encode_token(make_token(server, sites, "pump-7", 600.0))
        choice = DataChoice(path=tmp_path / "data.npz", name="pump-7")
        initialise(plant, token, choice, PrivacyConfig(answer_slot_seconds=0.05))
    card = train(server, TRAINING, progress=lambda *_: None)
    assert card["architecture"] == "text-head"
    assert card["networks"]["architectures"] == {NET: 12}
    statistics, package = tmp_path / "plant.wgs", tmp_path / "plant.wgw"
    statistics.write_bytes(answer_query(plant, _query(server), witness=None))
    networks = load_networks(server.networks, load_generator(server.generator))

    generated: list[Any] = []
    make = packaging._generate

    def kept(*arguments: Any, **more: Any) -> Any:
        generated.append(make(*arguments, **more))
        return generated[-1]

    monkeypatch.setattr(packaging, "_generate", kept)  # what was made, before it was packed
    generate_from_file(server, statistics, package, architecture=NET, accept_generator=networks.id)
    assert package.stat().st_size < 2 << 20  # no public weight is sent
    key = signing.load(server.signing_key).public_key()
    _, sent = weights_file.decode(package.read_bytes(), key)
    base, plan = networks.parts.bundles[NET].decoder.base, weight_plan(NET, "low-rank")
    for candidate in generated[0].generated.candidates:
        found = sent[candidate.name]
        assert set(found) == {*network.own_shapes(NET), "head.weight", "head.bias"}
        assert all(np.array_equal(found[n], v) for n, v in candidate.tensors.items())
        delta = {name: found[name] - base[name] for name in base}
        again = plan.delta(plan.tokens(delta))
        assert all(np.array_equal(again[name], delta[name]) for name in delta)
        if candidate.source == "diffusion":
            assert any(delta[name].any() for name in delta if name.endswith("core"))
            assert any(delta[name].any() for name in delta if name.endswith("norm.weight"))

    applied = apply_package(plant, package)
    assert applied.manifest.architecture == NET and applied.manifest.labels == labels
    data = predict.load_records(tmp_path / "data.npz", labels, split=1)
    inputs = predict.encode_records(plant, applied.manifest, data)
    assert inputs.shape == (3 * len(labels), minilm.TOKENS)
    rows = {row.model: row for row in predict.evaluate(plant, applied.manifest, inputs, data)}
    assert set(rows) >= {"local-only", "generated"} and plant.report.is_file()
    assert rows[applied.manifest.kept].accuracy > 1.2 / len(labels)
    for entry in applied.manifest.models:  # a model is parts and a head, as it was sent
        assert set(store.load_tensors(plant, applied.manifest, entry.name)) == set(found)
    metadata = export_model(plant, applied.manifest, KEPT, "safetensors", tmp_path / "m")
    assert metadata["trunk"] == f"wg_common.nets.minilm.prepared {minilm.PACKAGE}"


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
