"""Large packages: offered, fetched in ranges over the same TLS, resumed, and for one site only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.e2e.fleet_support import (
    Died,
    Plant,
    enrol_plant,
    finished,
    make_home,
    running,
    start_campaign,
)
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_core.connection import link, transport
from wg_core.errors import PeerError
from wg_core.fleet import answers, download
from wg_core.wire import fleet, protocol
from wg_server.campaigns import phases
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerHome:
    """A home whose packages of some hundred bytes count as large; not running yet."""
    monkeypatch.setattr(phases, "INLINE_LIMIT", 100)
    monkeypatch.setattr(phases, "CHUNK_LIMIT", 150)
    return make_home(tmp_path / "server")


def ranges(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[int], None]
) -> list[tuple[int, int]]:
    """Notes the ranges that plants ask for; ``trouble`` may raise before each."""
    asked: list[tuple[int, int]] = []
    original = link.Link.package

    def package(self: link.Link, request_id: str, start: int, stop: int) -> object:
        trouble(len(asked))
        asked.append((start, stop))
        return original(self, request_id, start, stop)

    monkeypatch.setattr(link.Link, "package", package)
    return asked


def test_a_large_package_arrives_whole_though_the_line_is_cut(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = 0

    def cut(count: int) -> None:
        nonlocal cuts
        if count == 2 and cuts < 3:
            cuts += 1
            raise PeerError("cut")

    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        asked = ranges(plant, monkeypatch, cut)
        with plant.running():
            done = finished(server, start_campaign(server, ["plant-a"]))
            wait_until(lambda: bool(plant.applied), "applying")
    assert done.state == "done" and plant.applied == [done.tasks[0].delivery_id]
    size = server.package(done.tasks[0].delivery_id).stat().st_size
    assert asked == [(at, min(at + 150, size)) for at in range(0, size, 150)]
    assert done.tasks[0].bytes_sent == size
    assert cuts == 3 and not list((plant.home.packages / "incoming").iterdir())


def test_a_large_package_survives_restarts_of_both_sides(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(count: int) -> None:
        if count == 2 and not again:
            raise Died

    again = False
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        asked = ranges(plant, monkeypatch, die)
        campaign = start_campaign(server, ["plant-a"])
        with plant.running() as node:
            node.join(PATIENCE_SECONDS)
    (part,) = (plant.home.packages / "incoming").iterdir()
    assert part.stat().st_size == 300
    again = True
    with running(server), plant.running():
        done = finished(server, campaign)
        wait_until(lambda: bool(plant.applied), "applying")
    assert done.state == "done" and len(plant.applied) == 1
    assert [start for start, _ in asked].count(0) == 1


def test_a_package_above_the_plants_limit_is_declined(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PACKAGE_LIMIT", 500)
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        with plant.running():
            done = finished(server, start_campaign(server, ["plant-a"]))
    assert (done.tasks[0].state, done.tasks[0].code) == ("refused", fleet.TOO_LARGE)
    assert not plant.applied and not (plant.home.packages / "incoming").exists()


def test_a_full_disk_is_said_and_the_package_comes_when_there_is_room(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        asked = ranges(plant, monkeypatch, lambda count: None)
        with plant.running(), Store.open(server) as store:
            queue = CampaignQueue(store.engine)
            with monkeypatch.context() as patch:
                patch.setattr(download, "_free", lambda folder: download.RESERVE)
                campaign = start_campaign(server, ["plant-a"])
                wait_until(
                    lambda: queue.show(campaign.id).tasks[0].code == "unavailable", "refusing"
                )
                assert asked == []
            done = finished(server, campaign)
            wait_until(lambda: bool(plant.applied), "applying")
    assert done.state == "done" and len(plant.applied) == 1


def test_a_package_that_changed_on_the_server_is_refused(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(count: int) -> None:
        if count == 1:
            (path,) = server.packages.iterdir()
            data = bytearray(path.read_bytes())
            data[200] ^= 1
            path.write_bytes(data)

    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        ranges(plant, monkeypatch, change)
        with plant.running():
            done = finished(server, start_campaign(server, ["plant-a"]))
    assert (done.tasks[0].state, done.tasks[0].code) == ("refused", "verification")
    assert not plant.applied and not list((plant.home.packages / "incoming").iterdir())


def packaged(server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    """A campaign whose package is made, and whose plant went away before it fetched it."""

    def die(count: int) -> None:
        raise Died

    with monkeypatch.context() as patch:
        ranges(plant, patch, die)
        campaign = start_campaign(server, [plant.site])
        with plant.running() as node:
            node.join(PATIENCE_SECONDS)
    with Store.open(server) as store:
        return CampaignQueue(store.engine).show(campaign.id)


def ask(
    plant: Plant, server: ServerHome, path: str, asked: str | None = "bytes=0-9"
) -> httpx.Response:
    with transport.open_client(
        server.config().fleet_url, link.client_context(plant.home)
    ) as client:
        return client.get(path, headers={} if asked is None else {"range": asked})


def test_a_package_is_there_for_its_own_site_alone(
    server: ServerHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        other = enrol_plant(server, tmp_path / "plant-b", "plant-b")
        campaign = packaged(server, plant, monkeypatch)
        path = f"{protocol.PACKAGE_PATH}/{campaign.tasks[0].delivery_id}"
        data = server.package(campaign.tasks[0].delivery_id).read_bytes()
        found = ask(plant, server, path)
        assert (found.status_code, found.content) == (206, data[:10])
        assert found.headers["content-range"] == f"bytes 0-9/{len(data)}"
        assert ask(other, server, path).status_code == 404
        for name in ("0" * 32, "..", "../keys/signing.key", "%2e%2e%2fserver.yaml", ""):
            assert ask(plant, server, f"{protocol.PACKAGE_PATH}/{name}").status_code == 404
        for asked in (None, "bytes=-5", "bytes=5-", "bytes=9-3", "bytes=0-1,3-4", "bytes=99999-"):
            assert ask(plant, server, path, asked).status_code == 416
        assert ask(plant, server, path, f"bytes={len(data)}-{len(data)}").status_code == 416
        with Store.open(server) as store:
            CampaignQueue(store.engine).cancel(campaign.id)
        assert ask(plant, server, path).status_code == 404
        with Store.open(server) as store:
            store.revoke("plant-a", 1.0)
        assert ask(plant, server, path).status_code == 403
