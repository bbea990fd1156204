"""Contributions in the zoo: verified against the enrolled site, kept with provenance, not mixed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.server.enrolling import UNSEEN

from wg_core.errors import ConfigError, DataError, DecodeError, VerificationError
from wg_core.privacy.events import dp_sgd_event
from wg_core.settings import parse
from wg_core.wire import canonical, signing
from wg_core.wire.contribution_file import ContributionManifest, encode_contribution
from wg_core.wire.protocol import EnrolmentRequest
from wg_core.wire.tensors import pack as pack_tensors
from wg_server.cli.zoo import zoo as group
from wg_server.operation.initialise import initialise
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.sites import Store
from wg_server.zoo import contribution_intake, contributions
from wg_server.zoo.build import build
from wg_server.zoo.plan import ZooPlan, tasks
from wg_server.zoo.store import Zoo

SITE = "plant-a"
D = 8
BASE = """
seed: 3
encoder: {pixels: 64, dimension: 8, images: 64}
sources:
"""
PUBLIC = "  - {kind: procedural, families: 2, sites: 1, per_class: 8, only: digits}\n"


def _plan(folder: Path | None, *, public: bool = True) -> ZooPlan:
    given = (
        f"  - {{kind: contributions, path: {folder}, name: plants, licence: agreement 7}}\n"
        if folder
        else ""
    )
    return parse((BASE + PUBLIC * public + given).encode(), ZooPlan, "plan")


def _silent(_done: int, _detail: str) -> None:
    return None


def _enrol(home: ServerHome, key: Ed25519PrivateKey) -> None:
    public = signing.public_bytes(key).hex()
    request = EnrolmentRequest(
        site=SITE,
        secret="s",
        csr_pem="",
        node_public_key="node",
        signing_key=public,
        ledger_origin="origin/plant-a",
        ledger_key=public,
        genesis="",
        checkpoint="",
    )
    with Store.open(home) as store:
        store.invite(SITE, "s", 2e9)
        store.enrol(request, "node", "tls", 1e9, lambda: ("f1", 2e9, None), UNSEEN)


@dataclasses.dataclass
class World:
    """A server with a built zoo and one enrolled site."""

    home: ServerHome
    key: Ed25519PrivateKey
    encoder: str

    def file(self, key: Ed25519PrivateKey | None = None, width: int = D, **changes: Any) -> bytes:
        tensors = pack_tensors(
            {
                "head.weight": np.arange(2 * width, dtype=np.float32).reshape(2, width),
                "head.bias": np.zeros(2, np.float32),
            }
        )
        fields: dict[str, Any] = {
            "site": SITE,
            "dataset": "line-3",
            "request_id": "r-1",
            "contribution_id": "00ff",
            "architecture": "lite0-head",
            "plan": "head",
            "encoder": self.encoder,
            "labels": ("good", "scratch"),
            "event": dp_sgd_event(0.05, 2.0, 20),
            "sampler": "poisson/os-csprng",
            "epsilon": "1.0",
            "delta": "1e-05",
            "purpose": "zoo",
            "tensors_sha256": canonical.sha256_hex(tensors),
        }
        manifest = ContributionManifest(**(fields | changes))
        return encode_contribution(manifest, tensors, key or self.key)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = ServerHome(tmp_path_factory.mktemp("server") / "home")
    initialise(home, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    key = signing.generate()
    _enrol(home, key)
    build(home, _plan(None), workers=1, progress=_silent)
    return World(home, key, home.encoder_id())


@pytest.fixture
def world(built: World) -> World:
    """The same server, without contributions."""
    for path in (built.home.zoo / "contributions").glob("*"):
        path.unlink()
    return built


def _take(world: World, folder: Path, *files: bytes) -> int:
    folder.mkdir(exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number}.wgc").write_bytes(data)
    return contribution_intake.take_in(world.home, _plan(folder), world.encoder)


def test_a_build_takes_contributions_in(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.wgc").write_bytes(world.file())
    done = build(world.home, _plan(tmp_path), workers=1, progress=_silent)
    assert (done.made, done.kept, done.contributions) == (0, 2, 1)


def test_a_contribution_is_kept_with_provenance_and_licence(world: World, tmp_path: Path) -> None:
    data = world.file()
    assert _take(world, tmp_path / "in", data) == 1
    (found,) = contributions.stored(world.home.zoo)
    assert found.sha256 == canonical.sha256_hex(data)
    assert (found.site, found.name, found.licence) == (SITE, "plants", "agreement 7")
    assert found.signing_key == signing.public_bytes(world.key).hex()
    assert found.labels == ("good", "scratch") and found.event == dp_sgd_event(0.05, 2.0, 20)
    tensors = contributions.read(world.home.zoo, found)
    assert np.array_equal(tensors["head.weight"], np.arange(2.0 * D).reshape(2, D))


def test_training_does_not_see_it(world: World, tmp_path: Path) -> None:
    before = [entry.key for entry in Zoo(world.home.zoo).entries()]
    _take(world, tmp_path / "in", world.file())
    assert [entry.key for entry in Zoo(world.home.zoo).entries()] == before
    assert len(tasks(_plan(tmp_path / "in"))) == len(before) == 2


def test_it_is_taken_in_once(world: World, tmp_path: Path) -> None:
    data = world.file()
    assert _take(world, tmp_path / "in", data, data) == 1
    assert _take(world, tmp_path / "in", data) == 0


def test_show_names_it(world: World, tmp_path: Path) -> None:
    _take(world, tmp_path / "in", world.file())
    words = ["show", "--home", str(world.home.root)]
    document = json.loads(CliRunner().invoke(group, [*words, "--json"]).stdout)
    (row,) = document["contributions"]
    assert row["licence"] == "agreement 7" and row["site"] == SITE and document["entries"] == 2
    assert "from plant-a, 2 classes, licence agreement 7" in CliRunner().invoke(group, words).stdout


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"encoder": "ab" * 32}, "encoder"),
        ({"architecture": "other"}, "architecture"),
        ({"plan": "other"}, "plan"),
        ({"labels": ("a", "b", "c")}, "tensors"),
        ({"width": D + 1}, "tensors"),
    ],
)
def test_one_that_does_not_fit_is_refused_and_nothing_is_kept(
    world: World, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(VerificationError, match=rf"1\.wgc: {field} is"):
        _take(world, tmp_path / "in", world.file(), world.file(**changes))
    assert contributions.stored(world.home.zoo) == []


def test_another_key_than_the_enrolled_one_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"0\.wgc: .*signature"):
        _take(world, tmp_path / "in", world.file(key=signing.generate()))


def test_a_site_that_is_not_known_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plant-b"):
        _take(world, tmp_path / "in", world.file(site="plant-b"))


def test_a_site_that_is_revoked_is_refused(tmp_path: Path, built: World) -> None:
    home = ServerHome(tmp_path / "home")
    initialise(home, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    _enrol(home, built.key)
    home.encoder.parent.mkdir(exist_ok=True)
    home.encoder.write_bytes(built.home.read_encoder())
    with Store.open(home) as store:
        store.revoke(SITE, 1e9)
    (tmp_path / "a.wgc").write_bytes(built.file())
    with pytest.raises(ConfigError, match="revoked"):
        contribution_intake.take_in(home, _plan(tmp_path), built.encoder)


def test_a_flipped_byte_is_found_on_the_way_in_and_in_the_zoo(world: World, tmp_path: Path) -> None:
    data = world.file()
    broken = bytearray(data)
    broken[-1] ^= 1
    with pytest.raises((VerificationError, DecodeError)):
        _take(world, tmp_path / "bad", bytes(broken))
    _take(world, tmp_path / "good", data)
    (found,) = contributions.stored(world.home.zoo)
    (world.home.zoo / "contributions" / f"{found.sha256}.wgc").write_bytes(bytes(broken))
    with pytest.raises(VerificationError, match="SHA-256"):
        contributions.read(world.home.zoo, found)


def test_an_empty_folder_is_an_error(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder of \.wgc files"):
        _take(world, tmp_path / "in")


def test_contributions_alone_fit_no_encoder(tmp_path: Path) -> None:
    home = ServerHome(tmp_path / "home")
    with pytest.raises(ConfigError, match="cannot fit an encoder"):
        build(home, _plan(tmp_path, public=False), workers=1, progress=_silent)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("path: x", "licence"),
        ("licence: x", "path"),
        ("path: x, licence: x, families: 2", "families"),
    ],
)
def test_a_wrong_plan_names_the_field(fields: str, message: str) -> None:
    text = f"seed: 1\nsources: [{{kind: contributions, {fields}}}]"
    with pytest.raises(ConfigError, match=message):
        parse(text.encode(), ZooPlan, "plan")
