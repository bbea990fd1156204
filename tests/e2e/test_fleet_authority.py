"""A new certificate authority under plants that are connected, and under one that is away."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.commands import CutOff, cut_after, document_of
from tests.e2e.fleet_support import Plant, enrol_plant, finished, start_campaign
from tests.patience import wait_until

from wg_client.fleet import enrolment
from wg_core import atomic
from wg_core.errors import ConfigError, VerificationError
from wg_core.fleet import certificate, node
from wg_core.site.home import ClientHome
from wg_core.wire import protocol
from wg_server.cli.main import main_group
from wg_server.fleet.enrolment import create_join_token
from wg_server.operation import authority_rotation as operation
from wg_server.operation import serve
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_RENEWAL_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(node, "_CHECK_IN_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(serve, "CERTIFICATE_CHECK_INTERVAL_SECONDS", 0.02)


def rotate(server: ServerHome) -> Any:
    return document_of(main_group, "keys", "--renew", "authority", "--home", server.root)


def knows(server: ServerHome, plant: Plant) -> bool:
    """Whether a plant trusts the authority of today, and that one alone."""
    return plant.home.ca_certificate.read_bytes() == server.ca_cert.read_bytes()


def moved(server: ServerHome, plant: Plant) -> bool:
    """Whether it has a certificate of that authority as well."""
    return knows(server, plant) and not certificate.is_renewal_due(plant.home, time.time())


@pytest.mark.slow
def test_connected_plants_move_to_a_new_authority_and_nobody_enrols_again(
    server: ServerHome, tmp_path: Path
) -> None:
    names = ("plant-a", "plant-b", "plant-c")
    plants = [enrol_plant(server, tmp_path / name, name) for name in names]
    away = enrol_plant(server, tmp_path / "away", "away")
    with ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant.running())
        first = finished(server, start_campaign(server, names))
        rotate(server)
        wait_until(lambda: all(moved(server, plant) for plant in plants), "the plants")
        rotate(server)  # the plant that is away follows two links
        wait_until(lambda: all(knows(server, plant) for plant in plants), "the plants again")
        second = finished(server, start_campaign(server, names, epsilon="0.5"))
        stack.enter_context(away.running())
        wait_until(lambda: moved(server, away), "the plant that was away")
        newest = enrol_plant(server, tmp_path / "new", "new")
        everybody = (*names, "away", "new")
        stack.enter_context(newest.running())
        third = finished(server, start_campaign(server, everybody))
    assert [each.state for each in (first, second, third)] == ["done"] * 3
    assert {t.site: t.release_id for t in third.tasks}.items() >= {
        (t.site, t.release_id) for t in first.tasks
    }
    with ServerStore.open(server) as store:
        assert all(site.enrolled < third.created for site in store.sites())
        assert store.count_fork_evidence() == 0
    assert len(pki.root_certificate_files(server)) == 3


def test_a_token_of_before_names_another_authority(server: ServerHome, tmp_path: Path) -> None:
    with ServerStore.open(server) as store:
        token = protocol.encode_join_token(create_join_token(server, store, "plant-a", 60.0))
    rotate(server)
    with pytest.raises(VerificationError, match="the join token names"):
        enrolment.enrol(ClientHome(tmp_path / "plant-a"), token)


@pytest.mark.parametrize(
    "moves", [2, *(pytest.param(each, marks=pytest.mark.slow) for each in (0, 1, 3))]
)
def test_a_change_that_was_cut_off_is_finished_by_running_it_again(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    before = pki.certificate_sha256(pki.load_certificate(server.ca_cert))
    with monkeypatch.context() as patched:
        cut_after(patched, moves)
        with pytest.raises(CutOff):
            operation.rotate_authority(server)
    found = operation.rotate_authority(server)
    assert found.before == before != found.after  # one change, not two
    assert (
        not server.next_authority_folder.exists() and len(pki.read_link_certificates(server)) == 1
    )
    assert [path.name for path in server.ca_cert.parent.iterdir() if path.name[0] == "."] == []
    with plant.running():
        wait_until(lambda: moved(server, plant), "the plant")
        assert finished(server, start_campaign(server, [plant.site])).state == "done"


def test_a_half_changed_authority_makes_no_certificates(
    server: ServerHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = server.ca_key.read_bytes()
    operation.rotate_authority(server)
    atomic.write_bytes(server.ca_key, key, mode=atomic.PRIVATE_FILE_MODE)
    monkeypatch.setattr(pki, "_PAIR_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="keys --renew authority"):
        pki.renew_server_certificate(server, server.read_config())
