"""A campaign on PostgreSQL, also when every connection to it is cut in the middle."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.e2e.fleet_support import enrol_plant, finished, make_home, running, start_campaign
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server import postgres

from wg_core.errors import ConfigError
from wg_core.site import config as configuration
from wg_server.operation.initialise import free_ports
from wg_server.operation.rotation import rotate_keys
from wg_server.operation.serve import serve
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
    home.write_config(dataclasses.replace(home.config(), database=cluster))
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
        second.write_config(dataclasses.replace(second.config(), database=cluster))
        with pytest.raises(ConfigError, match="another process serves this store"):
            serve(second, stop=threading.Event())
        plant.before_answer = cut
        with plant.running():
            campaign = start_campaign(server, ["plant-a"])
            wait_until(lambda: bool(plant.applied), "applying")  # not through the database
            done = finished(server, campaign)
    admin.dispose()
    assert done.state == "done" and plant.applied == [done.tasks[0].delivery_id]
    with plant.ledger() as ledger:
        assert ledger.spent("line-1").charges == 1


@pytest.mark.slow
def test_a_second_process_of_a_home_carries_messages_and_the_first_one_leads(
    server: ServerHome, tmp_path: Path
) -> None:
    """A plant of each, one campaign: both are served, and each release is there once."""
    (beside,) = free_ports("127.0.0.1", 1)
    log = (tmp_path / "beside.log").open("wb")
    program = str(Path(sys.executable).with_name("wg-server"))
    words = [program, "serve", "--home", str(server.root)]
    second = subprocess.Popen([*words, "--beside", str(beside)], stderr=log)
    try:
        with running(server):
            plants = [enrol_plant(server, tmp_path / name, name) for name in ("plant-c", "plant-d")]
            config = configuration.load(plants[1].home)
            there = dataclasses.replace(config.server, fleet_url=f"https://127.0.0.1:{beside}")
            configuration.save(plants[1].home, dataclasses.replace(config, server=there))
            with plants[0].running(), plants[1].running():
                campaign = start_campaign(server, ["plant-c", "plant-d"], grace_seconds=1)
                found = finished(server, campaign)
            with pytest.raises(ConfigError, match="another process serves this home"):
                rotate_keys(server)
    finally:
        second.send_signal(signal.SIGTERM)
        second.wait(PATIENCE_SECONDS)
        log.close()
    assert found.state == "done"
    assert [task.state for task in found.tasks] == ["delivered", "delivered"]
    sent = (tmp_path / "beside.log").read_text()
    assert "statistics sent to plant-d" in sent and "plant-c" not in sent
    assert "package of" not in sent  # the leader makes them
