"""Networks of the operator's families in the zoo: base, training at made-up sites, store."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wg_common.inference.family_head import Layout
from wg_common.modalities.images import Images
from wg_common.nets import lite0_low
from wg_common.nets import network as whole_networks
from wg_core.errors import ConfigError
from wg_server.site.home import ServerHome
from wg_server.zoo import bases, fine_tuning, heads, networks, own_families, sources
from wg_server.zoo.build import build, steps
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan
from wg_server.zoo.store import Zoo

PLAN = ZooPlan(
    seed=5,
    encoder=EncoderPlan(records=200, pixels=64),
    sources=(SourcePlan(kind="procedural", families=2, sites=2, per_class=8),),
    own_sites=10,
    networks=True,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that learn next to nothing."""
    monkeypatch.setattr(networks, "STEPS", 2)
    for name, value in (("TASKS", 3), ("RECORDS", 8), ("STEPS", 3)):
        monkeypatch.setattr(bases, name, value)


@pytest.fixture
def own(tmp_path: Path) -> SourcePlan:
    """Records of the operator's."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (40, 16, 16)).astype(np.uint8), np.repeat([0, 1], 20)
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(["a", "b"]))
    return SourcePlan(
        kind="npz", families=1, sites=1, strength=0, path=str(tmp_path / "set.npz"), licence="test"
    )


def test_own_families_have_networks_and_rendered_ones_have_none(
    own: SourcePlan, tmp_path: Path
) -> None:
    home, told = ServerHome(tmp_path / "home"), list[int]()
    plan = replace(PLAN, sources=(*PLAN.sources, own))
    build(home, plan, workers=1, progress=lambda done, _: told.append(done))
    assert told == [0, *range(steps(plan) + 1)]
    zoo = Zoo(home.zoo)
    (entry,) = own_families.entries(zoo, home.encoder_id())
    assert (entry.family, entry.classes) == ("npz-0", 2)
    assert entry.architectures == Images.family_networks
    assert 0 <= float(entry.network_at_sites) <= 1
    _, (first, second), _ = own_families.read(zoo, entry)
    base = bases.read_base(home.zoo, first.architecture)
    for member, before in ((first, base), (second, lite0_low.base())):
        assert member.trunk.keys() == before.keys()
        assert all(np.any(member.trunk[name] != value) for name, value in before.items())
        assert len(member.head.weight) == 2
    made = (home.zoo / "families" / f"{entry.task}.json").read_bytes()
    build(home, plan, workers=1, progress=lambda *_: None)  # what is there is not made again
    assert (home.zoo / "families" / f"{entry.task}.json").read_bytes() == made


def test_without_own_families_there_is_no_base(tmp_path: Path) -> None:
    home = ServerHome(tmp_path)
    build(home, PLAN, workers=1, progress=lambda *_: None)
    assert not (home.zoo / "bases").exists()
    with pytest.raises(ConfigError, match="no base of cnn-m"):
        bases.read_base(home.zoo, "cnn-m")


def test_an_encoder_of_another_dimension_cannot_teach(own: SourcePlan, tmp_path: Path) -> None:
    encoder = EncoderPlan(dimension=8, records=200, pixels=64)
    plan = replace(PLAN, encoder=encoder, sources=(*PLAN.sources, own))
    with pytest.raises(ConfigError, match="the encoder has 8 features"):
        build(ServerHome(tmp_path / "home"), plan, workers=1, progress=lambda *_: None)


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
    sites = list(itertools.islice(fine_tuning.made_up_sites("cnn-m", task, np.arange(20), rng), 11))
    for _, labels in sites:
        assert (np.sort(labels) == np.repeat([0, 1], 12)).all()
    seen = {image.tobytes() for image in whole_networks.prepared("cnn-m", task.records[:20])}
    as_they_are = [all(image.tobytes() in seen for image in batch) for batch, _ in sites]
    assert as_they_are == [True, *[False] * 9, True]


def test_a_network_of_made_up_sites_is_right_under_a_camera_that_it_has_not_seen() -> None:
    base = whole_networks.draw_trunk("cnn-m", np.random.default_rng(0))
    rng = np.random.default_rng(2)
    sites = fine_tuning.made_up_sites("cnn-m", _stripes(60, 1), np.arange(60), rng)
    made, head = fine_tuning.fine_tune_at_sites(
        "cnn-m", base, sites, 2, steps=60, rng=np.random.default_rng(4)
    )
    new, layout = _stripes(40, 3), Layout(64, ())
    trunk = whole_networks.load_trunk("cnn-m", made)
    for gain in (1.0, 0.8):
        dark = [(gain * record).astype(np.uint8) for record in new.records]
        seen = whole_networks.prepared("cnn-m", dark)
        features = whole_networks.features(trunk, seen)
        weight, bias = head.at(features, layout)
        assert heads.accuracy(weight, bias, features, new.labels) > 0.9
