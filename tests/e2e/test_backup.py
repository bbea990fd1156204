"""The drill of the operator's guide: a server and plants are lost, and come back from backups."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyrage
import pytest
from tests.commands import document_of
from tests.e2e.fleet_support import (
    Plant,
    enrol_plant,
    finished,
    make_home,
    running,
    start_campaign,
    token,
)
from tests.patience import wait_until
from tests.server.campaigns.test_auditor_export import newest_checkpoint

from wg_audit import verification
from wg_client.cli.main import group as client
from wg_client.fleet import reenrolment
from wg_client.operation import backup as plant_backup
from wg_common.auditor_record import BUDGET_UNKNOWN
from wg_common.backup.archive import DecryptionKey, EncryptionTarget
from wg_core.errors import ConfigError, VerificationError
from wg_core.fleet import certificate
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_server.campaigns import auditor_export
from wg_server.operation import backup as server_backup
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession
from wg_server.store.campaigns import Campaign
from wg_server.store.operators import Actor
from wg_server.store.server_store import ServerStore

IDENTITY = pyrage.x25519.Identity.generate()
SEAL = EncryptionTarget(recipients=(str(IDENTITY.to_public()),))
KEY = DecryptionKey(identity=str(IDENTITY))
ACTOR = Actor("aiko", "command")


def renew(plant: Plant) -> None:
    certificate.renew(plant.home, configuration.load(plant.home))


def lost_and_restored(
    folder: Path, moment: float, names: Sequence[str]
) -> tuple[ServerHome, list[Plant], Campaign]:
    """A campaign, backed up ``moment`` seconds after its start; its server is lost, and restored.

    The plants run all the time; one renews its certificate between backup and loss.
    """
    first = make_home(folder / "server")
    with ExitStack() as stack:
        with running(first):
            plants = [enrol_plant(first, folder / name, name) for name in names]
            for plant in plants:
                stack.enter_context(plant.running())
            campaign = start_campaign(first, names)
            time.sleep(moment)
            server_backup.back_up_home(first, folder / "backup", SEAL)
            original = finished(first, campaign)
            renew(plants[0])
        second = ServerHome(folder / "restored" / "server")
        server_backup.restore_home(folder / "backup", second, KEY, ACTOR)
        with running(second):
            again = finished(second, campaign)
            renew(plants[0])  # its certificate is newer than the backup
            wait_until(lambda: all(plant.applied for plant in plants), "applying")
    assert original.state == again.state == "done"
    assert [task.release_id for task in again.tasks] == [t.release_id for t in original.tasks]
    return second, plants, again


def check_nothing_lost_or_double(
    server: ServerHome, plants: Sequence[Plant], campaign: Campaign
) -> None:
    tasks = {task.site: task for task in campaign.tasks}
    with ServerStore.open(server) as store:
        assert store.count_fork_evidence() == 0
        logs = store.logs_of_sites(tasks)
    for plant in plants:
        assert plant.applied == [tasks[plant.site].delivery_id]
        with plant.ledger() as ledger:
            assert ledger.read_spending("line-1").charge_count == 1
            (log,) = logs[plant.site]
            assert log.checkpoint is not None
            assert ledger_succession.checkpoint_size(log.checkpoint) == ledger.size


def test_a_server_lost_in_a_campaign_comes_back_from_its_backup(tmp_path: Path) -> None:
    check_nothing_lost_or_double(*lost_and_restored(tmp_path, 0.1, ["plant-a"]))


@pytest.mark.slow
def test_nothing_is_lost_or_double_whenever_the_backup_was_made(tmp_path: Path) -> None:
    names = ("plant-a", "plant-b", "plant-c")
    _, _, measured = lost_and_restored(tmp_path / "measured", 0.0, names)
    assert measured.finished is not None
    life = measured.finished - measured.created
    for number, moment in enumerate(np.random.default_rng(17).uniform(0, life, 20)):
        found = lost_and_restored(tmp_path / str(number), float(moment), names)
        check_nothing_lost_or_double(*found)


def released(server: ServerHome, plant: Plant, epsilon: str = "1") -> Campaign:
    with plant.running():
        return finished(server, start_campaign(server, [plant.site], epsilon=epsilon))


@pytest.mark.slow
def test_a_plant_comes_back_from_its_newest_backup_and_goes_on(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(str(IDENTITY))
    with plant.running():  # the node need not stop
        first = finished(server, start_campaign(server, [plant.site]))
        words = ("--out", tmp_path / "b", "--recipient", IDENTITY.to_public())
        made = document_of(client, "backup", "--home", plant.home.root, *words)
    assert "ledger.sqlite" in {each["path"] for each in made["files"]}
    shutil.rmtree(plant.home.root)
    words = ("--backup", tmp_path / "b", "--identity", tmp_path / "key")
    done = document_of(client, "restore", "--home", tmp_path / "new", *words)
    again = Plant(plant.site, ClientHome(tmp_path / "new"))
    with again.ledger() as ledger:
        assert done["ledger_entries"] == ledger.size
    assert released(server, again).tasks[0].release_id == first.tasks[0].release_id
    with again.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1


def test_an_older_plant_is_refused_with_what_to_do(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    plant_backup.back_up_home(plant.home, tmp_path / "b", SEAL)
    released(server, plant)
    (tmp_path / "note").write_bytes(newest_checkpoint(server, plant.site))
    new = ClientHome(tmp_path / "new")
    for checkpoint in (None, tmp_path / "note"):  # over the network, and without one
        with pytest.raises(VerificationError, match="Restore the newest backup") as refused:
            plant_backup.restore_home(tmp_path / "b", new, KEY, note_path=checkpoint)
        assert (
            "wg-client keys --renew ledger --stolen" in str(refused.value)
            and refused.value.exit_code == 5
        )
        assert not new.root.exists()
    with ServerStore.open(server) as store:
        assert store.count_fork_evidence() == 0


@pytest.mark.slow
def test_an_older_plant_without_another_backup_gives_its_ledger_up(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    plant_backup.back_up_home(plant.home, tmp_path / "b", SEAL)
    released(server, plant)
    shutil.rmtree(plant.home.root)
    again = Plant(plant.site, ClientHome(tmp_path / "new"))
    plant_backup.restore_home(tmp_path / "b", again.home, KEY, give_up_ledger=True)
    with pytest.raises(ConfigError):
        again.ledger()  # no key: nothing can be charged on it
    reenrolment.replace_compromised_ledger(
        again.home, token(server, plant.site), "restored from an old backup"
    )
    with ServerStore.open(server) as store:
        said = ledger_succession.classify_successions_by_site(
            list(store.sites()), store.logs_of_sites([plant.site])
        )
    assert said[plant.site] == BUDGET_UNKNOWN
    assert released(server, again).state == "done"
    evidence = tmp_path / "evidence"
    auditor_export.export_for_auditors(server, evidence, [plant.site])
    with pytest.raises(VerificationError, match="what was spent in between is left out"):
        verification.audit_log(again.home.root, server=evidence)


def test_a_note_that_is_old_or_of_another_ledger_proves_nothing(
    server: ServerHome, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    plant_backup.back_up_home(plant.home, tmp_path / "b", SEAL)
    new, note = ClientHome(tmp_path / "new"), tmp_path / "note"
    note.write_bytes(newest_checkpoint(server, other.site))
    with pytest.raises(VerificationError, match="another ledger"):
        plant_backup.restore_home(tmp_path / "b", new, KEY, note_path=note)
    note.write_bytes(newest_checkpoint(server, plant.site))
    later = time.time() + 2 * plant_backup.NOTE_LIFETIME_SECONDS
    with monkeypatch.context() as patched:
        patched.setattr("wg_core.connection.cosigning.time.time", lambda: later)
        with pytest.raises(VerificationError, match="48 h ago"):
            plant_backup.restore_home(tmp_path / "b", new, KEY, note_path=note)
    assert not new.root.exists()
    plant_backup.restore_home(tmp_path / "b", new, KEY, note_path=note)


def test_a_folder_that_was_copied_back_charges_nothing(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    """Not a restore, but what a snapshot of a machine does: the node finds it out, and ends."""
    shutil.copytree(plant.home.root, tmp_path / "snapshot")
    released(server, plant)
    old = Plant(plant.site, ClientHome(tmp_path / "snapshot"))
    start_campaign(server, [plant.site], epsilon="0.5")
    with old.running() as node:
        wait_until(lambda: not node.is_alive(), "the node's end")
    assert "Restore the newest copy" in str(old.behind[0]) and old.behind[0].exit_code == 5
    with old.ledger() as ledger, ServerStore.open(server) as store:
        assert ledger.read_spending("line-1").charge_count == 0
        assert store.count_fork_evidence() == 0
