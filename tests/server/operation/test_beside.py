"""Several processes of one home; that they work together is a test of real processes."""

from __future__ import annotations

import threading

import pytest

from wg_core import locks
from wg_core.errors import ConfigError
from wg_server.operation.key_rotation import rotate_keys
from wg_server.operation.serve import hold_serving_locks, serve_home
from wg_server.site.home import ServerHome


def test_on_sqlite_one_process_serves(home: ServerHome) -> None:
    with pytest.raises(ConfigError, match="on PostgreSQL alone"):
        serve_home(home, stop_event=threading.Event(), additional_port=8543)


def test_keys_stay_while_any_process_serves(home: ServerHome) -> None:
    before = home.signing_key.read_bytes()
    path = home.root / "serve-8543.lock"
    with (
        locks.hold_lock(path, busy_message="x"),
        pytest.raises(ConfigError, match="another process serves this home"),
    ):
        rotate_keys(home)
    assert home.signing_key.read_bytes() == before
    with hold_serving_locks(home):  # what a killed process left keeps nobody out
        pass
