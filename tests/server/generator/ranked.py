"""Starts ``wg-server train`` as several processes that meet on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.patience import PATIENCE_SECONDS

_WORDS = "from wg_server.cli.main import main; main()"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(
    words: Sequence[str], world: int, own: Mapping[str, Sequence[str]] | None = None
) -> list[subprocess.Popen[str]]:
    """``wg-server WORDS`` as ``world`` ranks, in the environment that torchrun makes.

    Args:
        words: Of the command line.
        world: How many.
        own: What each rank has in the place of a word.
    """
    own = own or {}
    return [
        subprocess.Popen(
            [sys.executable, "-c", _WORDS, *(own[w][rank] if w in own else w for w in words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank, environment in enumerate(environments(world))
    ]


def environments(world: int) -> list[dict[str, str]]:
    """What torchrun tells each of ``world`` ranks of one machine."""
    port = str(free_port())
    return [
        {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        for rank in range(world)
    ]


def ended(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each; one that hangs is killed and fails the test."""
    found = []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=PATIENCE_SECONDS)
            found.append((process.returncode, out, errors))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return found
