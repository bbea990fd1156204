"""Work in a process of its own that is equal to this one in all but what the system draws.

Clocks stand still, and what is in memory is the same, generators included: what two such processes
have in common, an adversary can have, too. Only Python's ``random`` is seeded anew in each.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from wg_core.errors import InternalError

_NOW = 1_700_000_000
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time")


def run_in_copy(work: Callable[[], bytes]) -> bytes:
    """Return what the work gives in a copy of this process.

    Raises:
        InternalError: The work failed, or the system makes no copies of processes.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise InternalError("audit: this system makes no copies of processes; audit on Linux")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(work, sender))
    process.start()
    sender.close()
    try:
        result: bytes = receiver.recv_bytes()
    except EOFError as error:
        raise InternalError("audit: a copy of the process ended without an answer") from error
    finally:
        process.join()
        receiver.close()
    return result


def _run(work: Callable[[], bytes], sender: Connection) -> None:
    for name in _CLOCKS:
        setattr(time, name, lambda: float(_NOW))
        setattr(time, f"{name}_ns", lambda: _NOW * 10**9)
    sender.send_bytes(work())
