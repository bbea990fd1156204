"""Worker processes of one thread each, and a bound on the threads of this one.

Matrices here are small: more threads only wait for each other, and sums would depend on their
number.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import scipy.linalg  # noqa: F401 - brings a BLAS of its own, which must be there to be bounded
import torch
from threadpoolctl import threadpool_limits


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use ``count`` threads in a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def pool(
    workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Freshly started processes; ``start`` is called once in each. They end with this process."""
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(start, arguments),
    )


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    threadpool_limits(1)
    if start is not None:
        start(*arguments)


def _follow_parent() -> None:
    """End this process with its parent, which may be killed and then cannot say so.

    The queue alone does not tell: each worker holds the end that others write to.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
