"""Networks of the operator's families in the zoo: training at made-up sites, store."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities.images import Images
from wg_common.nets import lite0_low
from wg_common.nets import network as whole_networks
from wg_server.site.home import ServerHome
from wg_server.zoo import heads, networks, own_families, sources
from wg_server.zoo.build import build_zoo, count_plan_entries
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan
from wg_server.zoo.store import ZooStore

NET = Images.family_network
PLAN = ZooPlan(
    seed=5,
    encoder=EncoderPlan(records=200, pixels=64),
    sources=(SourcePlan(kind="procedural", families=2, sites=2, per_class=8),),
    own_sites=10,
    networks=True,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that learns next to nothing."""
    monkeypatch.setattr(networks, "TRAINING_STEP_COUNT", 2)


@pytest.fixture
def own(tmp_path: Path) -> SourcePlan:
    """Records of the operator's."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 256, (40, 16, 16)).astype(np.uint8), np.repeat([0, 1], 20)
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(["a", "b"]))
    return SourcePlan(
        kind="npz", families=1, sites=1, strength=0, path=str(tmp_path / "set.npz"), licence="test"
    )


def test_own_families_have_a_network_and_rendered_ones_have_none(
    own: SourcePlan, tmp_path: Path
) -> None:
    home, told = ServerHome(tmp_path / "home"), list[int]()
    plan = replace(PLAN, sources=(*PLAN.sources, own))
    build_zoo(home, plan, workers=1, progress=lambda done, _: told.append(done))
    assert told == [0, *range(count_plan_entries(plan) + 1)]
    zoo = ZooStore(home.zoo_folder)
    (entry,) = own_families.family_entries(zoo, home.encoder_sha256())
    assert (entry.family, len(entry.labels)) == ("npz-0", 2)
    assert entry.architecture == Images.family_network
    assert 0 <= float(entry.network_at_sites) <= 1
    _, network, _ = own_families.read_family(zoo, entry)
    published = lite0_low.imagenet_tensors()
    assert network is not None and network.trunk_tensors.keys() == published.keys()
    assert all(np.any(network.trunk_tensors[name] != value) for name, value in published.items())
    assert len(network.head.weight) == 2
    document = (home.zoo_folder / "families" / f"{entry.task}.json").read_bytes()
    build_zoo(home, plan, workers=1, progress=lambda *_: None)  # what is there is not made again
    assert (home.zoo_folder / "families" / f"{entry.task}.json").read_bytes() == document


def _stripes(count: int, seed: int) -> sources.LabelledTask:
    """Two classes: stripes across, and along."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    lines = np.where(np.arange(24) // 4 % 2, 190, 60)
    x = np.where(labels[:, None, None], lines[:, None], lines[None, :])
    records = np.clip(x + rng.normal(0, 15, (count, 24, 24)), 0, 255).astype(np.uint8)
    return sources.LabelledTask(
        records=list(records),
        labels=labels,
        class_names=("across", "along"),
        family="stripes",
        licence="test",
        modality="images",
    )


def test_made_up_sites_see_each_class_as_often_and_no_record_twice_alike() -> None:
    task, rng = _stripes(30, 1), np.random.default_rng(2)
    sites = list(
        itertools.islice(networks.simulated_site_batches(NET, task, np.arange(20), rng), 5)
    )
    for _, labels in sites:
        assert (np.sort(labels) == np.repeat([0, 1], 12)).all()
    seen = {image.tobytes() for batch, _ in sites for image in batch}
    assert len(seen) == sum(len(batch) for batch, _ in sites)


@pytest.mark.slow
def test_a_network_of_made_up_sites_is_right_under_a_camera_that_it_has_not_seen() -> None:
    rng = np.random.default_rng(2)
    sites = networks.simulated_site_batches(NET, _stripes(60, 1), np.arange(60), rng)
    made, head = networks.fine_tune_at_sites(
        NET, lite0_low.imagenet_tensors(), sites, 2, step_count=60, rng=np.random.default_rng(4)
    )
    new, layout = _stripes(40, 3), FeatureLayout(whole_networks.feature_count(NET), ())
    trunk = whole_networks.load_trunk(NET, made)
    for gain in (1.0, 0.8):
        dark = [(gain * record).astype(np.uint8) for record in new.records]
        seen = whole_networks.prepare_batch(NET, dark)
        features = whole_networks.compute_trunk_features(trunk, seen)
        weight, bias = head.adapt_to_site(features, layout)
        assert heads.head_accuracy(weight, bias, features, new.labels) > 0.9
