"""Starts commands of ours as processes and kills them with SIGKILL at drawn moments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tests.patience import PATIENCE_SECONDS, wait_until

_WORDS = "from wg_server.cli.main import main; main()"


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """``wg-server WORDS`` as a process."""
    return subprocess.Popen(
        [sys.executable, "-c", _WORDS, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


_ENDS = {0, 6}  # 6: a training is done, and a card of a few steps fails


def kill_at(words: list[str], done: Callable[[], int], more: int, delay: float) -> bool:
    """Start a command, and kill it once ``done`` has grown by ``more`` and ``delay`` s are over.

    Returns:
        Whether it was killed; False if it ended by itself before.
    """
    before = done()
    process = start(words)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while done() < before + more:
        if process.poll() is not None:
            assert process.returncode in _ENDS
            return False
        assert time.monotonic() < deadline, "the command does nothing"
        time.sleep(0.002)
    time.sleep(delay)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(_lives, children)), "the end of a killed command's workers")
    return True


def kill_often(words: list[str], done: Callable[[], int], times: int, seed: int) -> int:
    """Kill a command ``times`` times at drawn moments, then let it finish; how often it was hit."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(times):
        hits += kill_at(words, done, int(rng.integers(1, 4)), float(rng.uniform(0, 0.3)))
    process = start(words)
    assert process.wait(PATIENCE_SECONDS) in _ENDS
    return hits


def files(folder: Path, pattern: str) -> Callable[[], int]:
    """Counts files."""
    return lambda: len(list(folder.glob(pattern)))


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.is_file() else []


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
