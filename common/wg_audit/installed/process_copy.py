"""Copies of this process that run a function and differ only in the system's randomness.

Clocks are frozen, and process ids and memory, including the state of random generators, are the
same in each copy. An adversary could know all of this, so noise must still differ between copies.
On request, the random bytes that Python draws from the system are fixed too; those that libraries
draw themselves are not.
"""

import multiprocessing
import os
import random
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from wg_audit.installed.audited_plant import FIXED_UNIX_TIME
from wg_core.errors import InternalError

_RANDOM_STATE = random.getstate()
_CLOCK_NAMES = ("time", "monotonic", "perf_counter", "process_time")


def run_in_process_copy(work: Callable[[], bytes], *, has_fixed_entropy: bool = False) -> bytes:
    """Run a function in a copy of this process, and return its result.

    Args:
        work: Function to run.
        has_fixed_entropy: True to replace the random bytes that Python draws from the system by a
            fixed stream.

    Raises:
        InternalError: The function failed, or the system cannot fork processes.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise InternalError("audit: this system makes no copies of processes; audit on Linux")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_and_send, args=(work, has_fixed_entropy, sender))
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


def _run_and_send(work: Callable[[], bytes], has_fixed_entropy: bool, sender: Connection) -> None:
    for name in _CLOCK_NAMES:
        setattr(time, name, lambda: float(FIXED_UNIX_TIME))
        setattr(time, f"{name}_ns", lambda: FIXED_UNIX_TIME * 10**9)
    process_id = os.getppid()
    random.setstate(_RANDOM_STATE)
    for name in ("getpid", "getppid"):
        setattr(os, name, lambda: process_id)
    if has_fixed_entropy:
        stream = np.random.default_rng(FIXED_UNIX_TIME)
        for module, name in ((os, "urandom"), (random, "_urandom")):
            setattr(module, name, stream.bytes)
    sender.send_bytes(work())
