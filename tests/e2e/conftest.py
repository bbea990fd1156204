"""Fixtures of the fleet tests: one running server, and one plant enrolled with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.fleet_support import Plant, enrol_plant, make_home, running
from tests.homes import make
from tests.tutorial import shell

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


@pytest.fixture
def in_this_process(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``homes.make`` starts no process for a command: README's walk has them."""
    run = shell(capfd)

    def command(*words: object, good: tuple[int, ...] = (0,)) -> Any:
        return json.loads(run([*words, "--json"], good))

    monkeypatch.setattr(make, "command", command)
