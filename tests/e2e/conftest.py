"""Fixtures of the fleet tests: one running server, and one plant enrolled with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.fleet_support import Plant, enrol_plant, make_home, running
from tests.e2e.product import Packages

from wg_server.site.home import ServerHome


@pytest.fixture(autouse=True)
def quiet_flower(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "flwr")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerHome]:
    home = make_home(tmp_path / "server")
    with running(home):
        yield home


@pytest.fixture
def plant(server: ServerHome, tmp_path: Path) -> Plant:
    return enrol_plant(server, tmp_path / "plant-a", "plant-a")


@pytest.fixture(scope="session")
def packages() -> Packages:
    return Packages.make()
