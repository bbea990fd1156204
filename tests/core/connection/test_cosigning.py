"""A plant without a network and its server, by files alone: as many deliveries as it likes."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.client.conftest import MakePlant, TestPlant
from tests.core.ledger.decided import record_decision
from tests.server.enrolling import request_of
from tests.server.generators import install

from wg_client.fitting.linear_head import LinearHead
from wg_client.selection.delivery import apply_and_adopt_package, store_package_cosignature
from wg_common import weights_package
from wg_core.connection import cosigning
from wg_core.connection.cosigning import TooManyUncosignedCheckpoints
from wg_core.errors import VerificationError
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.witness import UNCOSIGNED_CHECKPOINTS_LIMIT, WitnessFork, WitnessRefused
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query
from wg_core.wire import canonical, signing
from wg_server.campaigns import airgap
from wg_server.fleet.enrolment import EnrolmentService, create_join_token
from wg_server.operation.initialise import create_home
from wg_server.operation.key_rotation import rotate_keys
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.server_store import ServerStore

NAME = "central/witness"


@dataclass(slots=True)
class World:
    """A plant, its server's home, and a folder between them."""

    plant: TestPlant
    server: ServerHome
    folder: Path
    head: LinearHead

    def statistics(self, epsilon: str) -> Path:
        """Charge and write one release to a file."""
        data = answer_query(self.plant.home, self.plant.query(epsilon=epsilon), witness=None)
        path = self.folder / f"{epsilon}.wgs"
        path.write_bytes(data)
        return path

    def generate(self, source: Path) -> bytes:
        """A package for the release in a file."""
        out = self.folder / "package.wgw"
        airgap.generate_from_file(
            self.server,
            source,
            out,
            make_package=lambda *_: self.plant.package({"base": (self.head, "diffusion")}),
        )
        return out.read_bytes()

    def cosign(self, source: Path) -> bytes:
        """The cosigned checkpoint in a package for the release in a file."""
        return weights_package.read_checkpoint(io.BytesIO(self.generate(source)))

    def releases(self) -> int:
        with ServerStore.open(self.server) as store:
            return len(
                store.newest_usable_release_ids(
                    encoder_sha256=self.plant.encoder, excluded_site="nobody"
                )
            )

    def ledger(self) -> Ledger:
        return Ledger.open(self.plant.home.ledger, signing.load(self.plant.home.ledger_key))

    def pin(self) -> None:
        """What a new enrolment does: the plant knows the server's keys of today."""
        key = signing.public_bytes(signing.load(self.server.witness_key))
        pinned = replace(
            self.plant.config.server, name="central", witness_name=NAME, witness_key=key.hex()
        )
        self.plant.configure(pin=pinned)
        with self.ledger() as ledger:
            ledger.enrol_witness(NAME, key)


@pytest.fixture
def world(make_plant: MakePlant, good_head: LinearHead, tmp_path: Path) -> World:
    return make_world(make_plant, good_head, tmp_path)


def make_world(make_plant: MakePlant, good_head: LinearHead, tmp_path: Path) -> World:
    """A plant that is enrolled with a server's home."""
    plant = make_plant({0: 4, 1: 4})
    server = ServerHome(tmp_path / "server")
    create_home(server, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    signing.save(server.signing_key, plant.server_key)
    server.encoder_file.parent.mkdir()
    server.encoder_file.write_bytes(plant.home.encoder.read_bytes())
    install(server)
    found = World(plant, server, tmp_path, good_head)
    found.pin()
    with ServerStore.open(server) as store, found.ledger() as ledger:
        request = request_of(plant.home, create_join_token(server, store, "plant-a", 60).secret)
        reply = EnrolmentService(server, server.read_config(), store).enrol_site(
            canonical.encode(request)
        )
        ledger.add_cosignature(ledger.first_entry_checkpoint() + reply.cosignature.encode(), NAME)
    return found


def test_deliveries_and_packages_alternate_for_as_long_as_they_like(world: World) -> None:
    for epsilon in ("0.1", "0.2", "0.3"):
        package = world.generate(world.statistics(epsilon))
        assert store_package_cosignature(world.plant.home, package) == world.ledger().size


def test_deliveries_without_a_package_in_between_are_taken(world: World) -> None:
    for epsilon in ("0.1", "0.2", "0.3", "0.4"):
        world.cosign(world.statistics(epsilon))
    assert read_plant_spending(world.plant.home, world.plant.config).charge_count == 4


def test_files_that_never_arrive_stop_nothing(world: World) -> None:
    files = [world.statistics(epsilon) for epsilon in ("0.1", "0.2", "0.3", "0.4", "0.5")]
    for arrived in (files[0], files[3], files[4]):
        world.cosign(arrived)


def test_a_file_that_comes_after_a_later_one_is_made_anew(world: World) -> None:
    early, late = world.statistics("0.1"), world.statistics("0.2")
    world.cosign(late)
    with pytest.raises(WitnessRefused, match="make it anew"):
        world.cosign(early)
    before = early.read_bytes()
    assert world.statistics("0.1") == early and early.read_bytes() != before
    world.cosign(early)
    assert read_plant_spending(world.plant.home, world.plant.config).charge_count == 2


def test_a_file_that_the_server_has_already_is_the_same_until_the_ledger_grows(
    world: World,
) -> None:
    source = world.statistics("0.1")
    before = source.read_bytes()
    assert world.statistics("0.1").read_bytes() == before
    cosigning.store_cosignature(world.plant.home, world.cosign(source))
    cosigned = world.statistics("0.1").read_bytes()
    assert cosigned != before  # it carries the server's own cosignature now
    world.cosign(source)
    world.statistics("0.2")
    assert world.statistics("0.1").read_bytes() == cosigned


def test_what_cannot_be_covered_is_refused_before_the_charge(world: World) -> None:
    with world.ledger() as ledger:
        for _ in range(UNCOSIGNED_CHECKPOINTS_LIMIT - 1):
            ledger.mark_checkpoint_sent()
            record_decision(ledger)
    last = world.statistics("0.1")
    before = read_plant_spending(world.plant.home, world.plant.config)
    with pytest.raises(TooManyUncosignedCheckpoints, match="Apply a weights package"):
        world.statistics("0.2")
    after = read_plant_spending(world.plant.home, world.plant.config)
    assert (
        (after.charge_count, after.ledger_entry_count)
        == (before.charge_count, before.ledger_entry_count)
        == (1, after.ledger_entry_count)
    )
    assert cosigning.store_cosignature(world.plant.home, world.cosign(last))
    world.cosign(world.statistics("0.2"))


def test_a_ledger_that_was_rolled_back_is_told_by_its_next_package(world: World) -> None:
    home = world.plant.home
    package = world.generate(world.statistics("0.1"))
    store_package_cosignature(home, package)
    shutil.copytree(home.root, world.folder / "backup")
    package = world.generate(world.statistics("0.2"))
    shutil.rmtree(home.root)
    shutil.copytree(world.folder / "backup", home.root)
    with pytest.raises(VerificationError, match="rolled back"):
        store_package_cosignature(home, package)


def test_a_ledger_that_was_rolled_back_and_grew_again_is_a_fork(world: World) -> None:
    home = world.plant.home
    first = world.statistics("0.1")
    shutil.copytree(home.root, world.folder / "backup")
    world.cosign(first)
    world.cosign(world.statistics("0.2"))
    shutil.rmtree(home.root)
    shutil.copytree(world.folder / "backup", home.root)
    with world.ledger() as ledger:
        record_decision(ledger)
        record_decision(ledger)
        ledger.mark_checkpoint_sent()  # of the size that the server saw last, with another root
    with pytest.raises(WitnessFork):
        world.cosign(world.statistics("0.3"))
    with ServerStore.open(world.server) as store:
        assert store.count_fork_evidence() == 1


def test_a_server_with_a_new_key_goes_on_from_what_its_old_key_cosigned(world: World) -> None:
    cosigning.store_cosignature(world.plant.home, world.cosign(world.statistics("0.1")))
    rotate_keys(world.server)
    world.pin()
    cosigning.store_cosignature(world.plant.home, world.cosign(world.statistics("0.2")))
    with world.ledger() as ledger:
        assert ledger.is_entry_cosigned(ledger.size - 1, NAME)


def test_a_checkpoint_of_another_ledger_in_a_package_is_left_alone(
    world: World, make_plant: MakePlant
) -> None:
    package = world.generate(world.statistics("0.1"))
    other = make_plant({0: 2}, name="plant-b")
    assert store_package_cosignature(other.home, package) is None


def test_a_cosignature_under_another_key_is_not_kept(world: World) -> None:
    signed = world.cosign(world.statistics("0.1"))
    with world.ledger() as ledger:
        size = ledger.size
    world.plant.configure(pin=replace(world.plant.config.server, witness_name="stranger"))
    with pytest.raises(VerificationError, match="not enrolled"):
        cosigning.store_cosignature(world.plant.home, signed)
    with world.ledger() as ledger:
        assert ledger.size == size and not ledger.is_entry_cosigned(size - 1, NAME)


def test_applying_a_package_keeps_the_cosignature(world: World) -> None:
    apply_and_adopt_package(world.plant.home, world.generate(world.statistics("0.1")))
    with world.ledger() as ledger:
        assert ledger.uncosigned_checkpoint_sizes(NAME) == [] and ledger.is_entry_cosigned(
            ledger.size - 1, NAME
        )
