"""New keys of the server for packages and cosignatures, under plants that follow, or cannot."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.commands import CutOff, document_of
from tests.e2e import fleet_support
from tests.e2e.fleet_support import (
    FAST,
    Plant,
    enrol_plant,
    expire,
    finished,
    make_home,
    running,
    start_campaign,
    token,
)
from tests.e2e.test_fleet_keys import audited, campaign
from tests.patience import wait_until

from wg_audit import verification
from wg_client.cli.main import group as client
from wg_client.operation import status
from wg_core.errors import ConfigError, StorageError
from wg_core.fleet import node
from wg_core.fleet import server_trust as believing
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.site import config as configuration
from wg_core.site import pinned_server, server_contact
from wg_core.site.home import ClientHome
from wg_server.cli.main import main_group as operator
from wg_server.fleet import trust
from wg_server.operation.key_rotation import rotate_keys
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


def wait_for_keys(server: ServerHome, *plants: Plant) -> None:
    today = trust.current_pins(server)

    def follow() -> bool:
        pinned = [configuration.load(plant.home).server for plant in plants]
        return all(
            (x.signing_key, x.witness_key) == (today.packages, today.witness) for x in pinned
        )

    wait_until(follow, "the plants")


def test_connected_plants_take_new_keys_over_and_one_that_was_away_two_changes(
    tmp_path: Path,
) -> None:
    """Nobody enrols again, a note in client.yaml stays, and it is known who is behind."""
    server = make_home(tmp_path / "server")
    with running(server):
        plant, away = (enrol_plant(server, tmp_path / name, name) for name in ("plant-a", "away"))
        first = campaign(server, plant)
        with pytest.raises(ConfigError, match="another process"):
            rotate_keys(server)
    note = b"# caps: agreed on with the works council\n"
    plant.home.config.write_bytes(note + plant.home.config.read_bytes())
    witness = TrustedWitness(
        "central/witness", bytes.fromhex(configuration.load(plant.home).server.witness_key)
    )
    waiting = start_campaign(server, [plant.site])
    with pytest.raises(ConfigError, match="still open"):
        rotate_keys(server)
    document_of(operator, "campaign", "cancel", "--home", server.root, waiting.id)
    with plant.running():
        for epsilon in ("1", "0.5"):
            made = document_of(operator, "keys", "--renew", "signing", "--home", server.root)
            assert {each["site"] for each in left_behind(server)} == {plant.site, "away"}
            with running(server):
                wait_for_keys(server, plant)
                wait_until(lambda: cosigned(plant), "the cosignature")
                assert {each["site"] for each in left_behind(server)} == {"away"}
                asked = start_campaign(server, [plant.site], epsilon=epsilon)
                assert finished(server, asked).state == "done"
                found = status.collect_status(plant.home)
                assert found.connected and not [x for x in found.problems if "cosign" in x]
        again = start_campaign(server, [plant.site, "away"])
        with running(server), away.running():
            done = finished(server, again)
        assert done.state == "done" and not left_behind(server)
    assert done.tasks[1].release_id == first.tasks[0].release_id  # set aside, and made anew
    assert plant.home.config.read_bytes().startswith(note)
    pinned = configuration.load(away.home).server
    assert (pinned.signing_key, pinned.witness_key) == (made["signing_key"], made["witness_key"])
    for each in (plant, away):
        finding = verification.audit_log(each.home.root, TrustAnchors(witnesses=(witness,)))
        (view,) = finding.verdict.witnesses
        assert (view.handovers, view.public_key) == (2, made["witness_key"])
        assert finding.history.witnessed_size == finding.history.state.size
        assert sum("by the word of the one before" in x for x in finding.remark_sentences) == 4
    folder = tmp_path / "for-auditors"
    assert document_of(
        operator, "export", "--home", server.root, "--site", "plant-a", "--out", folder
    )
    assert not verification.audit_log(
        plant.home.root, server=folder, max_age=86_400
    ).verdict.problems


def left_behind(server: ServerHome) -> list[Any]:
    rows = document_of(operator, "sites", "--home", server.root)["sites"]
    return [each for each in rows if each["old_keys"]]


def cosigned(plant: Plant) -> bool:
    budget = status.collect_status(plant.home).budget
    return budget is not None and budget.cosigned == budget.entries


def test_new_keys_are_adopted_while_packages_wait_under_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would see how long applying takes, which depends on the records."""
    server, full = make_home(tmp_path / "server"), threading.Event()
    full.set()

    def no_room() -> None:
        if full.is_set():
            raise StorageError("no room")

    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        plant.before_apply = no_room
        with plant.running():
            delivered = finished(server, start_campaign(server, [plant.site]))
            assert delivered.state == "done" and not plant.applied
    rotate_keys(server)
    monkeypatch.setattr(node, "_CHECK_IN_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(fleet_support, "FAST", replace(FAST, apply_retry_seconds=0.1))
    with running(server), plant.running():
        wait_for_keys(server, plant)
        asked = start_campaign(server, [plant.site], epsilon="0.5")
        second = finished(server, asked)
        assert second.state == "done" and not plant.applied
        full.clear()
        ids = [campaign.tasks[0].delivery_id for campaign in (delivered, second)]
        wait_until(lambda: plant.applied == ids, "both packages")
        assert not list((plant.home.packages / "rejected").glob("*"))
        wait_until(lambda: not list(plant.home.waiting_packages.glob("*")), "an empty inbox")


def reason(plant: Plant) -> str:
    word = server_contact.read(plant.home)
    return word.reason if word else ""


@pytest.mark.parametrize(
    "fatal",
    ["aside", *(pytest.param(each, marks=pytest.mark.slow) for each in ("recorded", "pinned"))],
)
def test_taking_keys_over_is_finished_after_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: str
) -> None:
    server = make_home(tmp_path / "server")
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
    rotate_keys(server)
    config, links = configuration.load(plant.home), list(trust.read_handovers(server))
    name = {"recorded": "archive_outbox", "aside": "save", "pinned": ""}[fatal]
    target = ClientHome if fatal == "recorded" else pinned_server
    with monkeypatch.context() as patched:
        if name:
            patched.setattr(target, name, cut_off)
            with pytest.raises(CutOff):
                believing.adopt_keys(plant.home, config, links)
            assert configuration.load(plant.home) == config
        else:
            believing.adopt_keys(plant.home, config, links)
    with running(server), plant.running():
        wait_for_keys(server, plant)
        assert finished(server, start_campaign(server, [plant.site])).state == "done"
    with plant.ledger() as ledger:
        kinds = [json.loads(ledger.entry_bytes(seq))["head"]["kind"] for seq in range(ledger.size)]
    assert kinds.count("handover") == 2


def cut_off(*words: object) -> None:
    raise CutOff


@pytest.mark.slow
def test_after_a_theft_a_plant_is_told_and_enrols_again(tmp_path: Path) -> None:
    server = make_home(tmp_path / "server")
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        first = campaign(server, plant)
    old = configuration.load(plant.home).server
    made = document_of(operator, "keys", "--renew", "signing", "--home", server.root, "--stolen")
    assert len(list((server.root / "keys" / "retired").iterdir())) == 2
    with running(server):
        with plant.running():
            asked = start_campaign(server, [plant.site])
            wait_until(lambda: "does not follow" in reason(plant), "the reason")
            assert "init --replace" in " ".join(status.collect_status(plant.home).problems)
            with ServerStore.open(server) as store:
                queue = CampaignQueue(store.engine)
                wait_until(
                    lambda: queue.find_campaign(asked.id).tasks[0].code == "unavailable",
                    "an answer",
                )
            expire(server, asked)  # it would be asked again until then
            unknown = finished(server, asked)
        assert unknown.state == "partial" and unknown.tasks[0].code == "unavailable"
        assert "do not vouch for the present ones" in left_behind(server)[0]["old_keys"]
        (plant.home.outbox).mkdir(exist_ok=True)
        (plant.home.outbox / "r.wgs").write_bytes(b"proofs under the old key")
        word = token(server, plant.site)
        document_of(client, "init", "--home", plant.home.root, "--replace", "--join", word)
        new = configuration.load(plant.home).server
        assert (new.signing_key, new.witness_key) == (made["signing_key"], made["witness_key"])
        assert new.signing_key != old.signing_key and not left_behind(server)
        assert not list(plant.home.outbox.glob("*.wgs"))
        again = campaign(server, plant)
    assert again.state == "done" and again.tasks[0].release_id == first.tasks[0].release_id
    assert audited(server, plant).to_json()["charges"] == 1
