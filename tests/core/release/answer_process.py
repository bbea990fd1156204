"""Answers one query in a process of its own, and kills itself (-9) after a named step.

Usage: answer_process.py HOME QUERY_JSON STEP OUT
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from wg_core import atomic
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import witness as witnesses
from wg_core.ledger.witness import WitnessState
from wg_core.release.query_answers import ReleaseHooks, answer_query
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_core.wire.protocol import StatisticsQuery


def main() -> None:
    root, query, fatal, out = sys.argv[1:]
    home = ClientHome(Path(root))
    config = configuration.load(home)
    memory = home.root / "test-witness.state"
    log_key = signing.load(home.ledger_key).public_key()

    def witness(body: bytes) -> bytes:
        state = WitnessState(memory.read_bytes()) if memory.exists() else None
        origin = checkpoints.decode_text(witnesses.decode_request(body).note.text).origin
        signed = witnesses.cosign_extension(
            state,
            body,
            log=witnesses.KnownLog(origin, log_key),
            witness=witnesses.NamedKey(
                config.server.witness_name, signing.load(home.root / "test-witness.pem")
            ),
            current_time=int(time.time()),
        )
        atomic.write_bytes(memory, signed.new_state.signed_checkpoint)
        return signed.cosignature_lines

    def step(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    decoded = msgspec.json.decode(query.encode(), type=StatisticsQuery)
    Path(out).write_bytes(
        answer_query(home, decoded, witness=witness, hooks=ReleaseHooks(on_step=step))
    )


main()
