"""A campaign on PostgreSQL, also when every connection to it is cut in the middle."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.e2e.fleet_support import enrol_plant, finished, make_home, running, start_campaign
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server import postgres

from wg_core.errors import ConfigError
from wg_core.site import config as configuration
from wg_server.operation.initialise import free_ports
from wg_server.operation.key_rotation import rotate_keys
from wg_server.operation.serve import serve_home
from wg_server.site.home import ServerHome

CUT = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    if not postgres.available():
        pytest.skip(postgres.MISSING)
    with postgres.cluster() as url:
        yield url


@pytest.fixture
def server(tmp_path: Path, cluster: str) -> ServerHome:
    home = make_home(tmp_path / "server")
    home.write_config(dataclasses.replace(home.read_config(), database=cluster))
    return home


def test_a_campaign_survives_the_loss_of_every_connection(
    server: ServerHome, tmp_path: Path, cluster: str
) -> None:
    admin = sa.create_engine(cluster)

    def cut() -> None:
        with admin.connect() as connection:
            connection.execute(CUT)

    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
        second = make_home(tmp_path / "second")
        second.write_config(dataclasses.replace(second.read_config(), database=cluster))
        with pytest.raises(ConfigError, match="another process serves this store"):
            serve_home(second, stop_event=threading.Event())
        plant.before_answer = cut
        with plant.running():
            campaign = start_campaign(server, ["plant-a"])
            wait_until(lambda: bool(plant.applied), "applying")  # not through the database
            done = finished(server, campaign)
    admin.dispose()
    assert done.state == "done" and plant.applied == [done.tasks[0].delivery_id]
    with plant.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1


BALANCER = """
defaults
  mode tcp
  option redispatch
listen fleet
  bind 127.0.0.1:{port}
  balance roundrobin
  server first 127.0.0.1:{first} check inter 200
  server second 127.0.0.1:{second} check inter 200
"""
"""Plants of a test have one address, so that connections take turns instead of going by it."""


@pytest.mark.slow
def test_plants_behind_a_balancer_are_served_by_two_processes_or_by_the_one_that_is_left(
    server: ServerHome, tmp_path: Path
) -> None:
    """One campaign over four plants; each release is there once, and the first process leads."""
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    (second, port), first = free_ports("127.0.0.1", 2), server.read_config().fleet_port
    (tmp_path / "haproxy.cfg").write_text(BALANCER.format(port=port, first=first, second=second))
    program = Path(sys.executable).with_name("wg-server")
    words: list[str | Path] = [program, "serve", "--home", server.root]
    names = [f"plant-{number}" for number in range(4)]
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "beside.log").open("wb"))
        stack.enter_context(running(server))
        beside = subprocess.Popen([*words, "--beside", str(second)], stderr=log)
        stack.callback(beside.wait, PATIENCE_SECONDS)
        stack.callback(beside.terminate)
        if haproxy is not None:
            balancer = subprocess.Popen([haproxy, "-db", "-f", tmp_path / "haproxy.cfg"])
            stack.callback(balancer.wait, PATIENCE_SECONDS)
            stack.callback(balancer.terminate)
        ports = (first, second) if haproxy is None else (port, port)
        plants = [enrol_plant(server, tmp_path / name, name) for name in names]
        said = (tmp_path / "beside.log").read_text
        wait_until(lambda: " ready" in said(), "the second process")

        def answering() -> None:
            if haproxy and "statistics sent to" in said():
                beside.kill()

        for number, plant in enumerate(plants):
            plant.before_answer = answering
            config = configuration.load(plant.home)
            url = f"https://127.0.0.1:{ports[number % 2]}"
            there = dataclasses.replace(config.server, fleet_url=url)
            configuration.save(plant.home, dataclasses.replace(config, pin=there))
            stack.enter_context(plant.running())
        campaign = start_campaign(server, names, grace_seconds=1)
        found = finished(server, campaign)
        with pytest.raises(ConfigError, match="another process serves this home"):
            rotate_keys(server)
    assert found.state == "done"
    for plant, task in zip(plants, found.tasks, strict=True):
        assert plant.applied[-1] == task.delivery_id and task.state == "delivered"
        with plant.ledger() as ledger:
            assert ledger.read_spending("line-1").charge_count == 1
    sent = [name for name in names if f"statistics sent to {name}" in said()]
    assert sent and set(sent) < set(names)
    assert "package of" not in said()  # the leader makes them
