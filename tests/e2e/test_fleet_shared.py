"""One plant at two servers: two homes, one ledger, one budget; each server a witness of one log."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.commands import document_of
from tests.e2e.fleet_support import (
    Plant,
    enrol_plant,
    finished,
    healthy,
    make_home,
    start_campaign,
    token,
)
from tests.e2e.test_fleet_processes import process
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_audit import verification
from wg_audit.cli import group as auditor
from wg_client.cli.main import group as client
from wg_client.fleet import reenrolment
from wg_core.errors import ConfigError
from wg_core.ledger.budget_ledger import DatasetRegistration
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.release.query_answers import open_ledger
from wg_core.site import config as configuration
from wg_core.wire import signing
from wg_server.cli.main import main_group as operator
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.server_store import ServerStore

_NUMBERS = itertools.count()


@contextmanager
def apart(home: ServerHome) -> Iterator[ServerHome]:
    """A server in a process of its own: Flower's identity of a task is global to a process."""
    with process("server", home.root) as other:
        wait_until(lambda: healthy(home), "the other server")
        yield home
        other.terminate()
        other.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHome]:
    with apart(make_home(tmp_path_factory.mktemp("other") / "server", name="windows")) as home:
        yield home


@pytest.fixture
def plant(server: ServerHome, tmp_path: Path) -> Plant:
    """A plant with a name of its own, since the other server serves all of these tests."""
    site = f"plant-{next(_NUMBERS)}"
    return enrol_plant(server, tmp_path / site, site)


@pytest.fixture
def second(other_server: ServerHome, plant: Plant, tmp_path: Path) -> Plant:
    """The plant's home at the other server."""
    return enrol_plant(other_server, tmp_path / "second", plant.site, budget_of=plant)


def campaign(server: ServerHome, plant: Plant, epsilon: str = "1") -> Campaign:
    with plant.running():
        return finished(server, start_campaign(server, [plant.site], epsilon=epsilon))


def witness_of(plant: Plant) -> TrustedWitness:
    server = configuration.load(plant.home).server
    return TrustedWitness(server.witness_name, bytes.fromhex(server.witness_key))


def test_two_servers_serve_one_plant_under_one_budget(
    server: ServerHome, other_server: ServerHome, plant: Plant, second: Plant, tmp_path: Path
) -> None:
    with plant.running(), second.running():  # at the same time, on one ledger
        here = start_campaign(server, [plant.site])
        there = start_campaign(other_server, [second.site])
        assert finished(server, here).state == finished(other_server, there).state == "done"
    assert not (second.home.root / "ledger.sqlite").exists()
    assert not (second.home.keys / "ledger.pem").exists()
    with plant.ledger() as ledger:
        spent, same = ledger.read_spending("line-1"), ledger.read_spending("line-2")
        assert (spent.lineage_id, spent.epsilon) == (same.lineage_id, same.epsilon)
        assert spent.charge_count == 2 and 1.4 < spent.epsilon < 1.6
    anchors = TrustAnchors(witnesses=(witness_of(plant), witness_of(second)), quorum=2)
    one, two = (verification.audit_log(each.home.root, anchors) for each in (plant, second))
    assert one.history.root == two.history.root
    assert len(one.accounts) == 1 and set(one.accounts[0].datasets) == {"line-1", "line-2"}
    for each, name in ((server, "here"), (other_server, "there")):
        folder = tmp_path / name
        document_of(operator, "export", "--home", each.root, "--out", folder, "--site", plant.site)
        found = document_of(auditor, "verify", plant.home.root, "--server", folder)
        assert found["verdict"]["word"] == "partly verified", found  # the other server's file
        assert len(found["received"]) == 1 and found["headline"]["files_missing"] == 1, found


def test_a_new_key_is_told_to_both_servers_before_anything_is_released(
    server: ServerHome, other_server: ServerHome, plant: Plant, second: Plant
) -> None:
    campaign(other_server, second)
    with pytest.raises(ConfigError, match="is done where the ledger is"):
        document_of(client, "keys", "--home", second.home.root, "--renew", "ledger")
    new = document_of(client, "keys", "--home", plant.home.root, "--renew", "ledger")["ledger_key"]
    with pytest.raises(ConfigError, match=r"keys --home .* --renew ledger"):
        open_ledger(second.home)
    open_ledger(plant.home).close()
    assert (
        document_of(client, "keys", "--home", second.home.root, "--renew", "ledger")["ledger_key"]
        == new
    )
    open_ledger(second.home).close()
    assert campaign(other_server, second, "0.5").state == "done"
    assert campaign(server, plant, "0.5").state == "done"
    with ServerStore.open(other_server) as store:
        assert store.require_site(plant.site).ledger_key == new and store.count_fork_evidence() == 0


def test_a_ledger_that_was_given_up_is_told_to_both_servers(
    server: ServerHome, other_server: ServerHome, plant: Plant, second: Plant
) -> None:
    campaign(other_server, second)
    with pytest.raises(ConfigError, match="is done where the ledger is"):
        reenrolment.replace_compromised_ledger(
            second.home, token(other_server, second.site), "stolen"
        )
    reenrolment.replace_compromised_ledger(plant.home, token(server, plant.site), "stolen")
    with pytest.raises(ConfigError, match="init --replace"):
        open_ledger(second.home)
    reenrolment.enrol_again(second.home, token(other_server, second.site))
    with open_ledger(second.home) as ledger:
        assert ledger.public_key == signing.public_bytes(signing.load(plant.home.ledger_key))
        ledger.register_dataset(
            DatasetRegistration(
                name="line-2",
                commitment="ab" * 32,
                cap_epsilon="8",
                cap_delta="1e-5",
                continued_dataset="line-1",
            )
        )
        assert ledger.read_spending("line-2").charge_count == 1  # what was spent on the old log
    assert campaign(other_server, second, "0.5").state == "done"
    with ServerStore.open(other_server) as store:
        assert store.count_fork_evidence() == 0


def test_a_second_server_of_the_same_name_is_refused(plant: Plant, tmp_path: Path) -> None:
    home = make_home(tmp_path / "twin", name="central")
    with apart(home), pytest.raises(ConfigError, match="two servers have this name"):
        enrol_plant(home, tmp_path / "second", plant.site, budget_of=plant)
    with plant.ledger() as ledger:
        assert ledger.size == 3  # genesis, witness, data set: nothing was written
