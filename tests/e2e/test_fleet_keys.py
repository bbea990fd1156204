"""Renewal, revocation, rotation and compromise, each by its command, with real certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.commands import CutOff, cut_after, document_of
from tests.e2e.fleet_support import Plant, enrol_plant, finished, start_campaign, token
from tests.patience import wait_until

from wg_audit import verification
from wg_client.cli.main import group as client
from wg_client.fleet import key_rotation, reenrolment
from wg_core.connection import server_link
from wg_core.errors import ConfigError, PeerError
from wg_core.fleet import certificate, node
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.site import config as configuration
from wg_core.wire import canonical, signing
from wg_core.wire.protocol import KeyRotation
from wg_server.cli.main import main_group as operator
from wg_server.site.home import ServerHome
from wg_server.store import site_refusals
from wg_server.store.campaigns import Campaign
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite


def site_of(server: ServerHome, plant: Plant) -> StoredSite:
    with ServerStore.open(server) as store:
        return store.require_site(plant.site)


def campaign(server: ServerHome, plant: Plant, epsilon: str = "1") -> Campaign:
    with plant.running():
        return finished(server, start_campaign(server, [plant.site], epsilon=epsilon))


def witness_once(plant: Plant) -> None:
    """Ask the server to cosign the plant's ledger as it is."""
    config = configuration.load(plant.home)
    with (
        plant.ledger() as ledger,
        server_link.ServerLink.open(plant.home, config.server.fleet_url) as wire,
    ):
        ledger.request_cosignature(config.server.witness_name, wire.cosign)


def audited(server: ServerHome, plant: Plant, previous: Path | None = None) -> Any:
    """The auditor's word, with the keys that the server knows."""
    config = configuration.load(plant.home)
    witness = TrustedWitness(config.server.witness_name, bytes.fromhex(config.server.witness_key))
    return verification.audit_log(
        plant.home.root,
        TrustAnchors(
            ledger_key=bytes.fromhex(site_of(server, plant).ledger_key), witnesses=(witness,)
        ),
        previous=[] if previous is None else [previous],
    )


def test_a_certificate_is_renewed_on_demand(server: ServerHome, plant: Plant) -> None:
    before = plant.home.certificate.read_bytes()
    done = document_of(client, "keys", "--home", plant.home.root, "--renew", "certificate")
    assert plant.home.certificate.read_bytes() != before
    assert done["certificate_expires"] == certificate.expiry_time(plant.home)
    witness_once(plant)
    with ServerStore.open(server) as store:
        status = site_refusals.site_statuses_by_name(store, site_names=[plant.site])[plant.site]
        assert status.certificate_expiry == done["certificate_expires"]


def test_a_session_that_outlives_its_certificate_renews_it(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is never cut off must not be shut out on the day its certificate ends."""
    monkeypatch.setattr(node, "_RENEWAL_CHECK_SECONDS", 0.05)
    before = plant.home.certificate.read_bytes()
    with plant.running():
        wait_until(lambda: site_of(server, plant).last_seen > 0, "the node")
        monkeypatch.setattr(
            certificate,
            "is_renewal_due",
            lambda home, current_time: home.certificate.read_bytes() == before,
        )
        wait_until(lambda: plant.home.certificate.read_bytes() != before, "the renewal")
        assert finished(server, start_campaign(server, [plant.site])).state == "done"


def test_a_revoked_plant_is_out_at_once_and_comes_back_with_its_ledger(
    server: ServerHome, plant: Plant
) -> None:
    first = campaign(server, plant)
    assert document_of(operator, "revoke", "--home", server.root, plant.site)["state"] == "revoked"
    for ask in (
        lambda: witness_once(plant),
        lambda: document_of(client, "keys", "--home", plant.home.root, "--renew", "certificate"),
    ):
        with pytest.raises(PeerError, match="revoked this site"):
            ask()
    word = document_of(operator, "enroll", "--home", server.root, plant.site)["token"]
    old_key = plant.home.tls_key.read_bytes()
    done = document_of(client, "init", "--home", plant.home.root, "--replace", "--join", word)
    assert done["site"] == plant.site
    assert plant.home.tls_key.read_bytes() != old_key
    assert not (plant.home.root / "successor").exists()
    second = campaign(server, plant)
    assert (first.state, second.state) == ("done", "done")
    assert second.tasks[0].release_id == first.tasks[0].release_id
    with plant.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1


def test_enrolling_again_needs_a_token_of_the_same_site(server: ServerHome, plant: Plant) -> None:
    word = token(server, "plant-b")
    with pytest.raises(ConfigError, match="plant-b"):
        reenrolment.enrol_again(plant.home, word)
    witness_once(plant)  # and nothing changed
    other = enrol_plant(server, plant.home.root.parent / "plant-b", "plant-b")  # token unspent
    witness_once(other)


def test_a_rotated_key_signs_on_and_everybody_knows_it(server: ServerHome, plant: Plant) -> None:
    first = campaign(server, plant)
    old = site_of(server, plant).ledger_key
    (plant.home.outbox).mkdir(exist_ok=True)
    (plant.home.outbox / "r.wgs").write_bytes(b"proofs under the old key")
    done = document_of(client, "keys", "--home", plant.home.root, "--renew", "ledger")
    assert done["ledger_key"] == site_of(server, plant).ledger_key != old
    assert not list(plant.home.outbox.glob("*.wgs"))
    assert len(list(plant.home.outbox.glob("*/r.wgs"))) == 1
    assert sorted(path.name for path in plant.home.keys.glob("ledger*")) == ["ledger.pem"]
    again, more = campaign(server, plant), campaign(server, plant, epsilon="0.5")
    assert (first.state, again.state, more.state) == ("done", "done", "done")
    assert again.tasks[0].release_id == first.tasks[0].release_id
    assert audited(server, plant).to_json()["charges"] == 2
    second = document_of(client, "keys", "--home", plant.home.root, "--renew", "ledger")
    assert second["entry"] > done["entry"]
    assert audited(server, plant).to_json()["charges"] == 2


def test_a_home_that_rotated_enrols_again_with_its_log(server: ServerHome, plant: Plant) -> None:
    document_of(client, "keys", "--home", plant.home.root, "--renew", "ledger")
    before = site_of(server, plant)
    reenrolment.enrol_again(plant.home, token(server, plant.site))
    after = site_of(server, plant)
    assert (after.ledger_origin, after.ledger_key) == (before.ledger_origin, before.ledger_key)
    assert after.node_key != before.node_key
    assert campaign(server, plant).state == "done"


def test_a_plants_identity_does_not_change_while_its_node_runs(
    server: ServerHome, plant: Plant
) -> None:
    word = token(server, plant.site)
    with plant.running():
        wait_until(lambda: site_of(server, plant).last_seen > 0, "the node")
        with pytest.raises(ConfigError, match="node"):
            reenrolment.enrol_again(plant.home, word)
        with pytest.raises(ConfigError, match="node"):
            reenrolment.replace_compromised_ledger(plant.home, word, "test")
    reenrolment.enrol_again(plant.home, word)  # the token was not spent


@pytest.mark.parametrize("fatal", ["saved", "rotated", "installed", "told"])
def test_a_rotation_that_was_cut_off_is_finished_by_running_it_again(
    server: ServerHome, plant: Plant, fatal: str
) -> None:
    def step(name: str) -> None:
        if name == fatal:
            raise CutOff

    with pytest.raises(CutOff):
        key_rotation.rotate_ledger_key(plant.home, on_step=step)
    done = key_rotation.rotate_ledger_key(plant.home)
    assert site_of(server, plant).ledger_key == done.public_key
    with plant.ledger() as ledger:
        assert ledger.newest_rotation_seq == done.entry_index  # one rotation, not two
    assert campaign(server, plant).state == "done"


def test_a_plant_that_went_on_between_rotating_and_telling_is_heard(
    server: ServerHome, plant: Plant
) -> None:
    def step(name: str) -> None:
        if name == "installed":
            raise CutOff

    with pytest.raises(CutOff):
        key_rotation.rotate_ledger_key(plant.home, on_step=step)
    witness_once(plant)  # the rotation's own checkpoint has both signatures
    with plant.ledger() as ledger:
        ledger.enrol_witness("another", signing.public_bytes(signing.generate_key()))
    with pytest.raises(PeerError, match="403"):
        witness_once(plant)
    done = key_rotation.rotate_ledger_key(plant.home)
    assert site_of(server, plant).ledger_key == done.public_key
    witness_once(plant)


def test_a_rotation_without_the_old_key_is_refused(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    before = site_of(server, plant)
    config = configuration.load(plant.home)
    key, new = signing.generate_hybrid_key(), signing.generate_hybrid_key()
    path = tmp_path / "forged.sqlite"
    with Ledger.create(path, origin=before.ledger_origin, key=key, site=plant.site) as forged:
        forged.enrol_witness(config.server.witness_name, bytes.fromhex(config.server.witness_key))
        seq = forged.rotate_key(new)
        entry = forged.entry_bytes(seq).decode()
        proof = forged.newest_checkpoint_proof(seq, witness=config.server.witness_name).decode()
    notices = [
        canonical.encode(KeyRotation(entry=entry, proof=proof)),
        canonical.encode(KeyRotation(entry="{}", proof=proof)),
        canonical.encode(KeyRotation(entry=entry, proof="")),
        b"nonsense",
    ]
    with server_link.ServerLink.open(plant.home, config.server.fleet_url) as wire:
        for notice in notices:
            with pytest.raises(PeerError, match="400"):
                wire.announce_key_rotation(notice)
    assert site_of(server, plant).ledger_key == before.ledger_key


def test_a_plant_cannot_take_another_plants_key(server: ServerHome, plant: Plant) -> None:
    other = enrol_plant(server, plant.home.root.parent / "plant-b", "plant-b")
    victim = signing.load(other.home.ledger_key)
    signing.save(plant.home.keys / "ledger.next.pem", victim)
    with pytest.raises(PeerError, match="another site"):
        key_rotation.rotate_ledger_key(plant.home)


def test_a_rotation_needs_a_server_that_is_there(server: ServerHome, plant: Plant) -> None:
    with ServerStore.open(server) as store:
        store.revoke_site(plant.site, 1.0)
    with plant.ledger() as ledger:
        size = ledger.size
    with pytest.raises(PeerError):
        key_rotation.rotate_ledger_key(plant.home)
    with plant.ledger() as ledger:
        assert ledger.size == size


def test_after_a_compromise_the_spend_stands_on_a_new_log(server: ServerHome, plant: Plant) -> None:
    campaign(server, plant)
    before = site_of(server, plant)
    keys = {path.name: path.read_bytes() for path in plant.home.keys.iterdir()}
    word = document_of(operator, "enroll", "--home", server.root, plant.site, "--replace")["token"]
    done = document_of(
        client,
        "keys",
        "--home",
        plant.home.root,
        "--renew",
        "ledger",
        "--stolen",
        "--join",
        word,
        "--reason",
        "stolen",
    )
    (old,) = map(Path, done["old_ledgers"])
    assert done["epsilon_spent"] > 0
    after = site_of(server, plant)
    assert after.ledger_origin != before.ledger_origin
    for field in ("node_key", "signing_key", "ledger_key"):
        assert getattr(after, field) != getattr(before, field)
    changed = {p.name for p in plant.home.keys.iterdir() if p.read_bytes() != keys[p.name]}
    assert changed == set(keys) - {"site.secret"}
    assert campaign(server, plant).state == "done"
    with plant.ledger() as ledger:
        spent = ledger.read_spending("line-1")
        assert spent.charge_count == 2 and spent.epsilon > done["epsilon_spent"]
    finding = audited(server, plant, previous=old).to_json()
    assert finding["origin"] == after.ledger_origin
    # With the server's export nothing is left but what no log can show.
    folder = plant.home.root.parent / "for-auditors"
    assert document_of(
        operator, "export", "--home", server.root, "--out", folder, "--site", plant.site
    )
    found = verification.audit_log(
        plant.home.root, server=folder, previous=[old], max_age=86_400
    ).verdict
    assert found.word == "verified" and found.succession.checked and found.received == 2
    assert len(found.not_checked) == 2  # proofs within files, and the past
    assert verification.audit_log(old, server=folder).verdict.word == "superseded"


@pytest.mark.parametrize("moves", [0, 1, 2, 6, 9])  # of ten pieces
def test_a_compromise_that_was_cut_off_is_finished_by_running_it_again(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    with plant.ledger() as ledger:
        old = ledger.origin
    witness_once(plant)
    cut_after(monkeypatch, moves)
    with pytest.raises(CutOff):
        reenrolment.replace_compromised_ledger(plant.home, token(server, plant.site), "test")
    monkeypatch.undo()
    spent = token(server, plant.site, replace=True)
    config = reenrolment.replace_compromised_ledger(plant.home, spent, "test")
    assert config.site == plant.site
    assert not (plant.home.root / "successor").exists()
    with plant.ledger() as ledger:
        assert ledger.origin == site_of(server, plant).ledger_origin != old
    witness_once(plant)
    (kept,) = plant.home.root.glob("ledger-*.sqlite")
    assert audited(server, plant, previous=kept).to_json()["origin"] != old


def test_the_command_that_runs_while_a_node_does_waits_for_its_release(
    server: ServerHome, plant: Plant
) -> None:
    with plant.running():
        queued = start_campaign(server, [plant.site])
        wait_until(lambda: "recorded" in plant.steps, "the release")
        key_rotation.rotate_ledger_key(plant.home)
        assert finished(server, queued).finished is not None
    assert campaign(server, plant, epsilon="0.25").state == "done"
