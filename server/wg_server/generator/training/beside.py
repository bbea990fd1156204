"""Work in a process of its own, while this one goes on: a training needs one core and no more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from wg_server.zoo.workers import pool

R = TypeVar("R")
Begin = Callable[..., Callable[[], Any]]
"""Begins ``work(*arguments)`` and gives what waits for its result."""


@contextmanager
def opened(workers: int) -> Iterator[Begin]:
    """What begins work beside this process, until the block ends.

    Args:
        workers: 0 does the work at once, in this process.
    """
    if workers == 0:
        yield _at_once
        return
    processes = pool(1)
    try:
        yield lambda work, *arguments: processes.submit(work, *arguments).result
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


def _at_once(work: Callable[..., R], *arguments: Any) -> Callable[[], R]:
    outcome = work(*arguments)
    return lambda: outcome
