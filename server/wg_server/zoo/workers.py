"""Where independent jobs run: here, or in worker processes. One thread each.

Matrices here are small: more threads only wait for each other, and sums would depend on their
number.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

import scipy.linalg  # noqa: F401 - brings a BLAS of its own, which must be there to be bounded
import torch
from threadpoolctl import threadpool_limits

J = TypeVar("J")
R = TypeVar("R")


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


class Workers:
    """Runs jobs and gives their results back as they finish."""

    def __init__(self, processes: ProcessPoolExecutor | None) -> None:
        """In these processes; None: in this one."""
        self._processes = processes

    def run(
        self, work: Callable[[bytes, J], R], context: bytes, jobs: Sequence[J]
    ) -> Iterator[tuple[int, R]]:
        """Run ``work(shared, job)`` for every job.

        Args:
            work: A function of a module, so that another process can find it.

        Yields:
            A job's number and result, in any order.

        Raises:
            WgError: What a job raised; the others are given up.
        """
        if self._processes is None:
            for number, job in enumerate(jobs):
                with threads(1):
                    result = work(context, job)
                yield number, result
            return
        numbers = {self._processes.submit(work, context, job): n for n, job in enumerate(jobs)}
        for future in as_completed(numbers):
            yield numbers.pop(future), future.result()


@contextmanager
def open_workers(count: int) -> Iterator[Workers]:
    """So many workers; one works in this process."""
    if count == 1:
        yield Workers(None)
        return
    processes = pool(count)
    try:
        yield Workers(processes)
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


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
