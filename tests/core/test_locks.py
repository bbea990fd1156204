"""Locks between processes; a thread of its own stands for another process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wg_core import locks
from wg_core.errors import ConfigError

HOLDER = """
import pathlib, sys, time
from wg_core import locks
with locks.hold_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".work.lock"


def test_a_second_holder_is_told_so(path: Path) -> None:
    with (
        locks.hold_lock(path),
        pytest.raises(ConfigError, match=f"{path.parent}: somebody works"),
        locks.hold_lock(path, busy_message="somebody works"),
    ):
        pytest.fail("two hold one lock")
    with locks.hold_lock(path, busy_message="somebody works"):
        pass


def test_a_second_holder_waits_where_it_is_not_to_be_told(path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locks.hold_lock(path):
            order.append("second")

    other = threading.Thread(target=second)
    with locks.hold_lock(path):
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_the_lock_is_free_when_its_holder_is_killed_and_its_file_stays(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError), locks.hold_lock(path, busy_message="somebody works"):
            pytest.fail("two hold one lock")
        process.kill()
    with locks.hold_lock(path, busy_message="somebody works"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_is_let_go_leaves_its_file(path: Path) -> None:
    """Who waits for a file that is deleted would hold a lock that nobody else sees."""
    with locks.hold_lock(path):
        held = path.stat().st_ino
    assert path.stat().st_ino == held


def test_an_error_inside_frees_the_lock(path: Path) -> None:
    with pytest.raises(RuntimeError, match="work"), locks.hold_lock(path):
        raise RuntimeError("work")
    with locks.hold_lock(path, busy_message="somebody works"):
        pass


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not there"), locks.hold_lock(tmp_path / "none" / "lock"):
        pytest.fail("locked nothing")
    assert not (tmp_path / "none").exists()


def test_what_is_no_file_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(ConfigError, match="cannot be locked"), locks.hold_lock(tmp_path / "lock"):
        pytest.fail("locked a folder")
