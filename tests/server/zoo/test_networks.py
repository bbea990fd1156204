"""Whole networks in the zoo, of either kind: bases, fine-tuning, what is kept of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wg_common.catalogue import known
from wg_common.inference.family_head import Layout
from wg_common.modalities.images import Images
from wg_common.nets import lite0_low
from wg_common.nets import network as whole_networks
from wg_common.nets.encoder.module import load_encoder
from wg_core.errors import ConfigError
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.network_zoo import load_networks
from wg_server.generator.weights.weight_plan import weight_plan
from wg_server.site.home import ServerHome
from wg_server.zoo import bases, fine_tuning, networks, sources
from wg_server.zoo.build import build, steps
from wg_server.zoo.plan import EncoderPlan, NetworksPlan, SourcePlan, ZooPlan
from wg_server.zoo.store import Zoo

PLANS = {
    "cnn-s": ZooPlan(
        seed=5,
        encoder=EncoderPlan(records=200),
        sources=(SourcePlan(kind="procedural", families=2, sites=2, per_class=8),),
        networks=NetworksPlan(
            architectures=("cnn-s",), sites=1, steps=2, base_tasks=3, base_images=8, base_steps=3
        ),
    ),
    "cnn1d-s": ZooPlan(
        seed=5,
        architecture="window-head",
        encoder=EncoderPlan(records=200),
        sources=(SourcePlan(kind="procedural-windows", families=2, sites=2, per_class=8),),
        networks=NetworksPlan(
            architectures=("cnn1d-s",), sites=1, steps=2, base_tasks=3, base_images=8, base_steps=3
        ),
    ),
    "lite0": ZooPlan(
        seed=5,
        encoder=EncoderPlan(records=200),
        sources=(SourcePlan(kind="procedural", families=2, sites=2, per_class=8),),
        networks=NetworksPlan(architectures=("lite0",), sites=1, steps=2),
    ),
}


@pytest.fixture(scope="module", params=list(PLANS))
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    home, told = ServerHome(tmp_path_factory.mktemp(request.param)), list[int]()
    plan = PLANS[request.param]
    build(home, plan, workers=1, progress=lambda done, _: told.append(done))
    assert told == [0, *range(steps(plan) + 1)]
    return home


def _architecture(home: ServerHome) -> str:
    (path,) = (home.zoo / "bases").iterdir()
    return path.stem


def test_objects_hold_the_network_and_the_records_held_out_of_it(built: ServerHome) -> None:
    architecture = _architecture(built)
    base, base_id = bases.read_base(built.zoo, architecture)
    zoo = Zoo(built.zoo)
    tasks = {entry.key: entry for entry in zoo.entries()}
    found = list(networks.networks(zoo, architecture, base_id))
    assert len(found) == 2
    features = whole_networks.feature_count(architecture)
    own = whole_networks.own(architecture, base)
    for entry in found:
        network = networks.read(zoo, entry)
        assert len(network.inputs) == len(network.held) > 0
        assert network.base_features.shape == (tasks[entry.task].records, features)
        again = whole_networks.features(
            whole_networks.load_trunk(architecture, base), network.inputs
        )
        np.testing.assert_allclose(again, network.base_features[network.held], atol=2e-2)
        assert set(network.tensors) == {*own, "head.weight", "head.bias"}
        assert all(np.any(network.tensors[name] != value) for name, value in own.items())


def test_loaded_networks_are_base_and_delta_exactly(built: ServerHome) -> None:
    architecture = _architecture(built)
    base, base_id = bases.read_base(built.zoo, architecture)
    zoo, plan = Zoo(built.zoo), weight_plan(architecture, known(architecture).widest("whole"))
    as_is, _ = load_networks(zoo, _tasks(zoo), plan, base, base_id)
    loaded = {network.task.key: network for network in as_is}
    for entry in networks.networks(zoo, architecture, base_id):
        delta = plan.delta(loaded[entry.task].tokens)
        tensors = networks.read(zoo, entry).tensors
        for name, value in whole_networks.own(architecture, base).items():
            np.testing.assert_array_equal(delta[name], tensors[name] - value)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cnn-s", "cnn-m"])
def test_own_images_have_networks_of_made_up_sites_too(tmp_path: Path, architecture: str) -> None:
    """With the one that stands beside families' heads comes what else stands there."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (40, 16, 16)).astype(np.uint8), np.repeat([0, 1], 20)
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(["a", "b"]))
    own = SourcePlan(
        kind="npz",
        families=1,
        sites=1,
        strength=0,
        path=str(tmp_path / "set.npz"),
        licence="test",
        network_steps=2,
    )
    plan = PLANS["cnn-s"]
    assert plan.networks is not None
    plan = replace(plan, networks=replace(plan.networks, architectures=(architecture,)))
    home = ServerHome(tmp_path / "home")
    told: list[tuple[int, str]] = []
    plan = replace(plan, sources=(*plan.sources, own))
    build(home, plan, workers=1, progress=lambda done, words: told.append((done, words)))
    said = [words for _, words in told]
    longest = said.index(
        f"{architecture} npz-0"
    )  # has two networks to train, and begins before the others
    assert said[longest - 1] in (f"base {architecture}", "head of npz-0")
    zoo = Zoo(home.zoo)
    base, base_id = bases.read_base(home.zoo, architecture)
    tasks = {entry.key: entry.task for entry in zoo.entries()}
    for entry in networks.networks(zoo, architecture, base_id):
        network = networks.read(zoo, entry)
        assert bool(network.shifted) == tasks[entry.task].own
        assert (network.site_head is None) == (not tasks[entry.task].own)
        assert bool(entry.at_sites) == tasks[entry.task].own
        first, *others = Images.family_networks
        beside = others if tasks[entry.task].own and architecture == first else []
        assert [each.architecture for each in network.beside] == beside
        for each in network.beside:
            before = lite0_low.base()
            assert each.trunk.keys() == before.keys()
            assert all(np.any(each.trunk[n] != before[n]) for n in before)
        if network.shifted:
            assert {n: v.shape for n, v in network.shifted.items()} == {
                n: v.shape for n, v in network.tensors.items()
            }
            different = [np.any(network.shifted[n] != network.tensors[n]) for n in base]
            assert all(different)
    loaded = _tasks(zoo)
    as_is, shifted = load_networks(zoo, loaded, weight_plan(architecture, "whole"), base, base_id)
    assert len(as_is) == 3
    assert [network.task.family for network in shifted] == ["npz-0"]


def _tasks(zoo: Zoo) -> list[ZooTask]:
    return [
        ZooTask(e.key, e.family, e.labels, w.features, w.labels, w.weight, w.bias)
        for e in zoo.entries()
        for w in [zoo.read(e)]
    ]


def test_the_base_of_lite0_is_the_encoder_s_network(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    build(home, PLANS["lite0"], workers=1, progress=lambda *_: None)
    base, base_id = bases.read_base(home.zoo, "lite0")
    encoder = load_encoder(home.encoder.read_bytes())
    expected = whole_networks.public_base("lite0", encoder)
    assert all(np.array_equal(base[name], value) for name, value in expected.items())
    path = bases.base_path(home.zoo, "lite0")
    path.unlink()
    build(home, PLANS["lite0"], workers=1, progress=lambda *_: None)
    assert bases.read_base(home.zoo, "lite0")[1] == base_id  # the same bytes again
    (first, *_) = networks.networks(Zoo(home.zoo), "lite0", base_id)
    sizes = [path.stat().st_size for path in (home.zoo / "objects").iterdir()]
    assert first.architecture == "lite0" and max(sizes) < 1 << 20  # no ImageNet weights


@pytest.mark.slow
def test_a_base_of_another_encoder_is_refused(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    build(home, PLANS["lite0"], workers=1, progress=lambda *_: None)
    home.encoder.unlink()
    other = replace(PLANS["lite0"], seed=6)
    with pytest.raises(ConfigError, match="stands on another encoder"):
        build(home, other, workers=1, progress=lambda *_: None)


def test_an_encoder_of_another_dimension_cannot_teach(tmp_path: Path) -> None:
    plan = replace(PLANS["cnn1d-s"], encoder=EncoderPlan(dimension=8, records=200))
    with pytest.raises(ConfigError, match="the encoder has 8 features"):
        build(ServerHome(tmp_path), plan, workers=1, progress=lambda *_: None)


def test_networks_of_the_other_kind_are_refused() -> None:
    sources = PLANS["cnn-s"].sources
    with pytest.raises(ConfigError, match=r"cnn1d-m is for windows.*cnn-s, cnn-m, cnn-l"):
        ZooPlan(seed=1, sources=sources, networks=NetworksPlan(architectures=("cnn1d-m",)))


def _stripes(count: int, seed: int) -> sources.Task:
    """Two classes: stripes across, and along."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    lines = np.where(np.arange(24) // 4 % 2, 190, 60)
    x = np.where(labels[:, None, None], lines[:, None], lines[None, :])
    records = np.clip(x + rng.normal(0, 15, (count, 24, 24)), 0, 255).astype(np.uint8)
    return sources.Task(
        records=list(records),
        labels=labels,
        names=("across", "along"),
        family="stripes",
        licence="test",
        modality="images",
    )


def test_made_up_sites_see_each_class_as_often_and_some_see_records_as_they_are() -> None:
    task, rng = _stripes(30, 1), np.random.default_rng(2)
    sites = list(itertools.islice(fine_tuning.made_up_sites("cnn-s", task, np.arange(20), rng), 11))
    for _, labels in sites:
        assert (np.sort(labels) == np.repeat([0, 1], 12)).all()
    seen = {image.tobytes() for image in whole_networks.prepared("cnn-s", task.records[:20])}
    as_they_are = [all(image.tobytes() in seen for image in batch) for batch, _ in sites]
    assert as_they_are == [True, *[False] * 9, True]


def test_a_network_of_made_up_sites_is_right_under_a_camera_that_it_has_not_seen() -> None:
    base = whole_networks.draw_trunk("cnn-s", np.random.default_rng(0))
    rng = np.random.default_rng(2)
    sites = fine_tuning.made_up_sites("cnn-s", _stripes(60, 1), np.arange(60), rng)
    made, head = fine_tuning.fine_tune_at_sites(
        "cnn-s", base, sites, 2, steps=60, rng=np.random.default_rng(4)
    )
    new, layout = _stripes(40, 3), Layout(64, ())
    trunk = whole_networks.load_trunk("cnn-s", made)
    for gain in (1.0, 0.8):
        dark = [(gain * record).astype(np.uint8) for record in new.records]
        seen = whole_networks.prepared("cnn-s", dark)
        assert fine_tuning.accuracy("cnn-s", made, seen, new.labels) > 0.9
        features = whole_networks.features(trunk, seen)
        weight, bias = head.at(features, layout)
        assert ((features @ weight.T + bias).argmax(axis=1) == new.labels).mean() > 0.9
    plain = head.typical(layout)
    for name, part in zip(("head.weight", "head.bias"), plain, strict=True):
        np.testing.assert_allclose(made[name], part, rtol=1e-5)
