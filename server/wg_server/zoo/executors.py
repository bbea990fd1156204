"""Where independent tasks run: here, or in worker processes. One interface.

Tasks take bytes and records and return bytes and records: whoever asked writes the results.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Protocol, TypeVar

from wg_server.zoo import workers as workers_of

J = TypeVar("J")
R = TypeVar("R")

AHEAD = 4  # Tasks handed out for each worker: enough to keep it busy, few enough to stop soon


class Executor(Protocol):
    """Runs tasks and gives their results back as they finish."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""

    def run(
        self, work: Callable[[bytes, J], R], shared: bytes, jobs: Sequence[J]
    ) -> Iterator[tuple[int, R]]:
        """Run ``work(shared, job)`` for every job on one thread each.

        Args:
            work: A function of a module, so that another process can find it.

        Yields:
            A job's number and result, in any order.

        Raises:
            WgError: What a task raised; the others are given up.
        """


class Inline:
    """One task after another, in this process."""

    workers = 1

    def run(
        self, work: Callable[[bytes, J], R], shared: bytes, jobs: Sequence[J]
    ) -> Iterator[tuple[int, R]]:
        """See ``Executor.run``; in order."""
        for number, job in enumerate(jobs):
            with workers_of.threads(1):
                result = work(shared, job)
            yield number, result


class Processes:
    """Worker processes of this machine."""

    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool = pool
        self.workers = workers

    def run(
        self, work: Callable[[bytes, J], R], shared: bytes, jobs: Sequence[J]
    ) -> Iterator[tuple[int, R]]:
        """See ``Executor.run``."""
        waiting: dict[Future[R], int] = {}
        pending = iter(enumerate(jobs))
        while True:
            for number, job in pending:
                waiting[self._pool.submit(work, shared, job)] = number
                if len(waiting) >= AHEAD * self.workers:
                    break
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()


@contextmanager
def opened(workers: int) -> Iterator[Executor]:
    """The executor of a build on this many processes."""
    if workers == 1:
        yield Inline()
        return
    pool = workers_of.pool(workers)
    try:
        yield Processes(pool, workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
