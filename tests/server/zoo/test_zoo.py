import json
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wg_common import cli
from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities.images import Images
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.yaml_settings import parse_yaml
from wg_server.cli.zoo import zoo
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore
from wg_server.zoo import heads, own_families, sources
from wg_server.zoo.build import build_zoo
from wg_server.zoo.plan import ZooPlan, list_tasks, read_plan
from wg_server.zoo.store import ZooStore

PLAN = b"""
seed: 3
encoder: {pixels: 64, dimension: 8, records: 64}
sources:
  - {kind: procedural, families: 2, sites: 2, per_class: 8, only: digits}
"""


def _plan() -> ZooPlan:
    return parse_yaml(PLAN, ZooPlan, "test plan")


def _silent(_done: int, _detail: str) -> None:
    return None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    place = ServerHome(tmp_path_factory.mktemp("server"))
    build_zoo(place, _plan(), workers=1, progress=_silent)
    return place


def test_every_task_has_an_entry_with_provenance(home: ServerHome) -> None:
    entries = list(ZooStore(home.zoo_folder).read_entries())
    assert len(entries) == 4
    for entry in entries:
        encoded = ZooStore(home.zoo_folder).read_encoded_task(entry)
        assert entry.licence
        assert entry.task.seed == 3
        assert encoded.features.shape == (entry.records, 8) == (80, 8)


def test_a_lost_entry_is_made_again_to_the_byte(home: ServerHome) -> None:
    path = sorted((home.zoo_folder / "entries").glob("*.json"))[0]
    before = path.read_bytes()
    path.unlink()
    done = build_zoo(home, _plan(), workers=1, progress=_silent)
    assert (done.new_entries, done.earlier_entries) == (1, 3)
    assert path.read_bytes() == before


def test_a_changed_object_is_found(home: ServerHome, tmp_path: Path) -> None:
    entry = next(ZooStore(home.zoo_folder).read_entries())
    broken = ZooStore(tmp_path)
    data = bytearray((home.zoo_folder / "objects" / f"{entry.sha256}.safetensors").read_bytes())
    data[-1] ^= 1
    broken.write_entry(bytes(data), entry)
    with pytest.raises(VerificationError, match="SHA-256"):
        broken.read_encoded_task(entry)


PACKAGED = sorted(
    Path(path.name).stem for path in (resources.files("wg_server.zoo") / "plans").iterdir()
)


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_plan_needs_nothing_but_what_pip_installs(name: str) -> None:
    plan = read_plan(Path(name))
    assert {source.kind for source in plan.sources} <= set(sources.PROCEDURAL_LIBRARIES)
    assert list_tasks(plan)


@pytest.mark.parametrize("name", ["own-data", "own-windows"])
def test_the_examples_of_own_data_can_be_read(name: str) -> None:
    plan = read_plan(Path(__file__).parents[3] / "docs" / "examples" / f"{name}.yaml")
    assert own_families.first_family_tasks(list_tasks(plan))
    assert plan.networks == (plan.modality == "images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed: 1\nsources: []", "sources"),
        (b"seed: 1", "sources"),
        (b"seed: 1\nsources: [{kind: procedural, families: 1, size: 2}]", "size"),
        (b"seed: 1\nsources: [{kind: npz, families: 1}]", "licence"),
    ],
)
def test_a_wrong_plan_names_the_field(text: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, ZooPlan, "test plan")


def test_a_head_separates_what_is_separable() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 5)) + 4 * np.eye(5)[y]
    weight, bias = heads.fit_head(x, y, 3)
    assert heads.head_accuracy(weight, bias, x, y) > 0.95
    np.testing.assert_allclose(weight.sum(axis=0), 0, atol=1e-9)


def test_the_head_of_an_own_family_is_made_once_and_read_again(
    home: ServerHome, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = np.clip(rng.normal(60 * y[:, None, None] + 40, 20, (48, 32, 32)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=np.array(["a", "b", "c"]))
    plan = parse_yaml(
        f"""
seed: 1
sources:
  - {{kind: procedural, families: 1, sites: 1}}
  - {{kind: npz, families: 1, sites: 2, per_class: 8, strength: 0.0,
      path: {tmp_path / "set.npz"}, licence: test}}
""".encode(),
        ZooPlan,
        "plan",
    )
    (spec,) = own_families.first_family_tasks(list_tasks(plan))
    assert spec.has_operator_records and spec.site == 0
    encoder, zoo = load_encoder(home.read_encoder()), ZooStore(tmp_path)
    assert not own_families.has_family(zoo, spec, encoder.id, 10)
    entry = own_families.build_family(zoo, encoder, spec, 10)
    assert own_families.has_family(zoo, spec, encoder.id, 10)
    assert not own_families.has_family(zoo, spec, encoder.id, 11)
    assert not own_families.has_family(zoo, spec, encoder.id, 10, Images.family_network)
    (found,) = own_families.family_entries(zoo, encoder.id)
    assert found == entry
    assert not list(own_families.family_entries(zoo, "another"))
    (path,) = (tmp_path / "families").glob("*.json")
    written = path.read_text()
    path.write_text('{"of":"other fields","version":9}')
    assert not own_families.has_family(zoo, spec, encoder.id, 10), (
        "what another version wrote is made anew"
    )
    assert not list(own_families.family_entries(zoo, encoder.id))
    path.write_text(written.replace('"labels"', '"label"'))
    with pytest.raises(DecodeError, match="json"):
        own_families.has_family(zoo, spec, encoder.id, 10)
    path.write_text(written)
    head, network, sites = own_families.read_family(zoo, entry)
    layout = entry.layout
    assert network is None
    assert sites.shape[::2] == (10, encoder.dimension)
    assert layout == FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    task = sources.load_task(spec)
    right = heads.head_accuracy(
        *head.adapt_to_site(local := encoder.encode_local(task.records), layout), local, task.labels
    )
    assert right > 0.9


def test_another_encoder_takes_the_place_of_the_home_s_while_no_campaign_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ServerHome(tmp_path / "server")
    home.encoder_file.parent.mkdir(parents=True)
    home.encoder_file.write_bytes(b"old")
    plan = tmp_path / "plan.yaml"
    plan.write_bytes(PLAN)
    queue: Any = set()
    monkeypatch.setattr(ServerStore, "open", lambda _: nullcontext(SimpleNamespace(engine=None)))
    monkeypatch.setattr(CampaignQueue, "generator_ids_in_use", lambda _: queue)
    monkeypatch.setattr("wg_server.cli.zoo.logged_action", lambda *_: nullcontext())
    words = ["build", "--home", str(home.root), "--plan", str(plan), "--new-encoder", "--json"]
    words += ["--workers", "1"]
    queue.add("a")
    with pytest.raises(SystemExit) as refusal:
        cli.run_program(zoo, words)
    assert refusal.value.code == 3 and home.encoder_file.read_bytes() == b"old"
    queue.clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.run_program(zoo, words)
    assert ended.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["encoder"] == home.encoder_sha256()
    assert {entry.encoder for entry in ZooStore(home.zoo_folder).read_entries()} == {
        home.encoder_sha256()
    }
