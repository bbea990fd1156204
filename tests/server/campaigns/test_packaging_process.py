"""Packages are made in other processes: what they raise and log comes here, and they may die."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from tests.patience import wait_until

from wg_core.errors import ConfigError
from wg_server.campaigns import packaging_process
from wg_server.campaigns.packaging_process import PackagingProcess
from wg_server.campaigns.release import PackageRecipient
from wg_server.site.home import ServerHome

PLANT = PackageRecipient(
    site="plant-a", encoder_sha256="ab" * 32, labels=("good", "bad"), data_sheet=None
)


@pytest.fixture
def processes() -> Iterator[PackagingProcess]:
    made = PackagingProcess()
    yield made
    made.stop_process()


def asked(processes: PackagingProcess, home: ServerHome) -> None:
    """Ask for a package of a generator that is not there."""
    with pytest.raises(ConfigError, match="generator 00000000"):
        processes(home, None, PLANT, "cd" * 16, "0" * 64)  # type: ignore[arg-type]


def pids(processes: PackagingProcess) -> list[int]:
    executor = processes._executor
    return [] if executor is None else list(executor._processes)


def test_one_that_is_killed_is_followed_by_another(
    processes: PackagingProcess, home: ServerHome
) -> None:
    asked(processes, home)
    (pid,) = pids(processes)
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the process")
    asked(processes, home)
    assert pids(processes) != [pid]


def test_one_that_is_let_go_ends(processes: PackagingProcess, home: ServerHome) -> None:
    asked(processes, home)
    (pid,) = pids(processes)
    processes.stop_process()
    assert not alive(pid)
    asked(processes, home)
    assert pids(processes) != [pid]


def test_what_they_log_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    record = logging.makeLogRecord({"name": "wg_server.x", "levelno": 30, "msg": "odd"})
    packaging_process._LogRelay().handle(record)
    assert caplog.messages == ["odd"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
