"""Texts end to end, in files: a zoo of parts of MiniLM, generators, one release, packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e import file_support

from wg_client.fitting import network_tuning
from wg_client.models import predict, store
from wg_client.models.export import export_model
from wg_client.models.manifest import KEPT
from wg_client.selection.apply import apply_package
from wg_common.nets import minilm, network
from wg_common.wire import signing, weights_file
from wg_server.campaigns import packaging
from wg_server.campaigns.airgap import generate_from_file
from wg_server.generator.heads.generate import load_generator
from wg_server.generator.networks.generate import load_networks
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.networks.weight_plan import weight_plan
from wg_server.generator.pipeline import train
from wg_server.generator.plan import GeneratorPlan
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


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not minilm.installed(), reason=f"no {minilm.PACKAGE}")
def test_parts_of_a_transformer_go_all_the_way_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_tuning, "LENGTHS", {0: 0.0, 2: 0.0})
    server = file_support.without_encoder(tmp_path / "server")
    build(server, ZOO, workers=1, progress=lambda *_: None)
    data_file = tmp_path / "data.npz"
    labels = file_support.plant_data(data_file, families, "symptoms", shown=6, held=3)
    plant = file_support.enrolled(server, tmp_path / "plant", data_file)
    card = train(server, TRAINING, progress=lambda *_: None)
    assert card["architecture"] == "text-head"
    assert card["networks"]["architectures"] == {NET: 12}
    statistics, package = tmp_path / "plant.wgs", tmp_path / "plant.wgw"
    file_support.release(server, plant, statistics)
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
    data = predict.load_records(data_file, labels, split=1)
    inputs = predict.encode_records(plant, applied.manifest, data)
    assert inputs.shape == (3 * len(labels), minilm.TOKENS)
    rows = {row.model: row for row in predict.evaluate(plant, applied.manifest, inputs, data)}
    assert set(rows) >= {"local-only", "generated"} and plant.report.is_file()
    assert rows[applied.manifest.kept].accuracy > 1.2 / len(labels)
    for entry in applied.manifest.models:  # a model is parts and a head, as it was sent
        assert set(store.load_tensors(plant, applied.manifest, entry.name)) == set(found)
    metadata = export_model(plant, applied.manifest, KEPT, "safetensors", tmp_path / "m")
    assert metadata["trunk"] == f"wg_common.nets.minilm.prepared {minilm.PACKAGE}"
