"""A campaign on PostgreSQL, also when every connection to it is cut in the middle."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.e2e.fleet_support import (
    enrol_plant,
    finished,
    make_home,
    running,
    start_campaign,
    wait_until,
)
from tests.server import postgres

from wg_common.errors import ConfigError
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
            campaign = start_campaign(server, ["plant-a"], seconds=120)
            wait_until(lambda: bool(plant.applied), "applying")  # not through the database
            done = finished(server, campaign)
    admin.dispose()
    assert done.state == "done" and plant.applied == [done.tasks[0].delivery_id]
    with plant.ledger() as ledger:
        assert ledger.spent("line-1").charges == 1
