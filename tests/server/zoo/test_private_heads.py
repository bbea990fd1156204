"""Private kinds: what a plan may say of them, and what the zoo keeps of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.inference.family_head import FeatureLayout
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_core.errors import ConfigError
from wg_core.yaml_settings import parse_yaml
from wg_server.site.home import ServerHome
from wg_server.zoo import build, own_families, private_heads, sources
from wg_server.zoo.build import build_task, build_zoo, count_plan_entries
from wg_server.zoo.plan import EncoderPlan, SourcePlan, ZooPlan, list_tasks, private_families
from wg_server.zoo.store import ZooStore
from wg_server.zoo.task_spec import TaskSpec

RENDERED = "{kind: procedural, families: 2, sites: 2, per_class: 8}"
PRIVATE = "kind: npz, name: steel, families: 1, path: /d/x.npz, licence: own"
SUBSETS = PRIVATE.replace("families: 1", "families: 2")
PRICE = "private: {epsilon: 4, delta: 1.0e-5}"


def _plan(*parts: str, more: str = "") -> ZooPlan:
    text = f"seed: 1\n{more}\nsources: [{', '.join(parts)}]"
    return parse_yaml(text.encode(), ZooPlan, "plan")


def test_a_private_source_is_one_family_and_no_task() -> None:
    plan = _plan(RENDERED, f"{{{PRIVATE}, {PRICE}}}")
    assert all(spec.kind == "procedural" for spec in list_tasks(plan))
    (family,) = private_families(plan)
    assert (family.privacy.epsilon, family.privacy.delta) == ("4", "1e-05")
    assert count_plan_entries(plan) == len(list_tasks(plan)) + 1


def test_a_server_without_the_sampler_is_told_before_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = tmp_path / "x.npz"
    records.write_bytes(b"")
    plan = _plan(RENDERED, f"{{{PRIVATE.replace('/d/x.npz', str(records))}, {PRICE}}}")
    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"need opendp: pip install 'weightgate\[client\]'"):
        build_zoo(ServerHome(tmp_path), plan, workers=1, progress=lambda *_: None)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([f"{{kind: procedural, families: 1, {PRICE}}}"], "no records to protect; leave out"),
        ([RENDERED, f"{{{SUBSETS}, {PRICE}}}"], "set families: 1"),
        ([f"{{{PRIVATE}, {PRICE}}}"], "all are private; add one"),
        ([RENDERED, f"{{{PRIVATE}, {PRICE}}}", f"{{{PRIVATE}}}"], "another source, too"),
        ([RENDERED, *[f"{{{PRIVATE}, {PRICE}}}"] * 2], "another source, too"),
        ([RENDERED, f"{{{PRIVATE}, private: {{epsilon: 0, delta: 1.0e-5}}}}"], "private.epsilon"),
        ([RENDERED, f"{{{PRIVATE}, private: {{epsilon: 1, delta: 0.1}}}}"], "private.delta"),
        ([RENDERED, f"{{{PRIVATE}, private: {{epsilon: 1}}}}"], "delta"),
        ([RENDERED, f"{{{PRIVATE}, private: {{epsilon: 1, delta: 1.0e-5, n: 1}}}}"], "private.n"),
    ],
)
def test_what_cannot_be_private_is_refused(parts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _plan(*parts)
    with pytest.raises(ConfigError, match="set own_sites: 10"):
        _plan(RENDERED, f"{{{PRIVATE}, {PRICE}}}", more="own_sites: 0")


@pytest.fixture
def plan(tmp_path: Path) -> ZooPlan:
    """Rendered families, and three classes of private records that a mean tells apart."""
    rng, y = np.random.default_rng(0), np.arange(48) % 3
    x = np.clip(rng.normal(60 * y[:, None, None] + 40, 20, (48, 32, 32)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=y, classes=np.array(["a", "b", "c"]))
    rendered = SourcePlan(kind="procedural", families=2, sites=2, per_class=8)
    text = f"{{{PRIVATE.replace('/d', str(tmp_path))}, {PRICE}}}"
    (private,) = _plan(RENDERED, text).sources[1:]
    encoder = EncoderPlan(records=200, pixels=64)
    return ZooPlan(seed=5, own_sites=10, encoder=encoder, sources=(rendered, private))


def test_of_private_records_a_zoo_keeps_one_head(
    plan: ZooPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        private_heads, "SIMULATED_SITE_COUNT", 5
    )  # The fewest that figures can be measured at
    monkeypatch.setattr(private_heads, "_RENDERED_FAMILY_COUNT", 3)
    home, words = ServerHome(tmp_path / "home"), list[str]()
    build_zoo(home, plan, workers=1, progress=lambda _, said: words.append(said))
    assert words[-1] == "steel-0: private, a head alone"
    zoo = ZooStore(home.zoo_folder)
    assert not [entry for entry in zoo.read_entries() if entry.task.path]
    (entry,) = own_families.family_entries(zoo, home.encoder_sha256())
    assert (entry.privacy.epsilon, entry.labels) == ("4", ("a", "b", "c"))
    assert set(zoo.read_object(entry.sha256)) == {"weight", "bias", "reference", "records"}
    head, network, sites = own_families.read_family(zoo, entry)
    assert network is None and not sites.size
    assert (
        build_zoo(home, plan, workers=1, progress=lambda _, said: words.append(said)).new_entries
        == 0
    )
    assert words[-1] != "steel-0: private, a head alone"  # It is trained once
    assert head.records[0] > 0

    encoder, (family,) = load_encoder(home.read_encoder()), private_families(plan)
    _check_numbers(encoder, family.task)
    zoo.write_entry(*build_task(encoder, replace(family.task, sites=1)))
    with pytest.raises(ConfigError, match="make another home"):
        build_zoo(home, plan, workers=1, progress=lambda *_: None)


def _check_numbers(encoder: Encoder, spec: TaskSpec) -> None:
    """Compare a record's numbers beside some records and beside others, to the last bit."""
    task = sources.load_task(replace(spec, sites=1))
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    space = private_heads._fit_head_input_map(encoder, spec, task.modality, layout)

    def numbers(rows: list[int]) -> list[NDArray[np.float64]]:
        records = [task.records[row] for row in rows]
        views = private_heads._local_features_by_site(
            encoder.encode_local, records, task.modality, spec
        )
        return [space.map_to_inputs(site, local) for site, local in enumerate(views)]

    for whole, part in zip(numbers([*range(9)]), numbers([7, 2, 8]), strict=True):
        np.testing.assert_array_equal(whole[[7, 2, 8]], part)
