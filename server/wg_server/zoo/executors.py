"""Where independent tasks run: here, in worker processes, or on a Ray cluster. One interface.

Tasks take bytes and records and return bytes and records: whoever asked writes the results, so a
cluster needs no common disk. What it does need is the same version of weightgate, and the same
paths where a plan names files.

Moritz et al., *Ray: A Distributed Framework for Emerging AI Applications*, OSDI 2018.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from wg_core import __version__
from wg_core.errors import ConfigError, PeerError, WgError
from wg_server.zoo import workers as workers_of

J = TypeVar("J")
R = TypeVar("R")

AHEAD = 4  # Tasks handed out for each worker: enough to keep it busy, few enough to stop soon
_CONNECT_SECONDS = 10.0
_CUDA_SHARE = 0.25  # Part of a graphics card that Ray reserves for a task


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
        left = iter(enumerate(jobs))
        while True:
            for number, job in left:
                waiting[self._pool.submit(work, shared, job)] = number
                if len(waiting) >= AHEAD * self.workers:
                    break
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()


class Cluster:
    """A Ray cluster that is running already."""

    def __init__(self, ray: Any, device: str) -> None:
        self._ray = ray
        self._device = device
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(
        self, work: Callable[[bytes, J], R], shared: bytes, jobs: Sequence[J]
    ) -> Iterator[tuple[int, R]]:
        """See ``Executor.run``."""
        ray = self._ray
        gpus = _CUDA_SHARE if self._device == "cuda" else 0
        remote = ray.remote(_on_node).options(num_cpus=1, num_gpus=gpus)
        once = ray.put(shared)
        waiting: dict[Any, int] = {}
        left = iter(enumerate(jobs))
        try:
            while True:
                for number, job in left:
                    waiting[remote.remote(work, __version__, once, job)] = number
                    if len(waiting) >= AHEAD * self.workers:
                        break
                if not waiting:
                    return
                done, _ = ray.wait(list(waiting), num_returns=1)
                for one in done:
                    number, result = waiting.pop(one), ray.get(one)
                    if isinstance(result, WgError):
                        raise result
                    yield number, result
        except ray.exceptions.RayError as error:
            raise PeerError(f"ray: a task failed: {error}") from error
        finally:
            for one in waiting:
                ray.cancel(one, force=False)


@contextmanager
def opened(workers: int, ray: str | None = None, device: str = "cpu") -> Iterator[Executor]:
    """The executor of a build.

    Args:
        workers: Processes of this machine; not used on a cluster.
        ray: Address of a running Ray cluster; None for this machine.
        device: Of the encoder; on a cluster, ``cuda`` reserves graphics cards.

    Raises:
        ConfigError: Ray is not installed.
        PeerError: No cluster answers.
    """
    if ray is not None:
        with _connected(ray) as module:
            yield Cluster(module, device)
    elif workers == 1:
        yield Inline()
    else:
        pool = workers_of.pool(workers)
        try:
            yield Processes(pool, workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--ray needs the packages of weightgate's extra 'ray'") from error
    _check_open(address)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise PeerError(f"ray: no cluster at {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_open(address: str) -> None:
    """Ray tries for minutes to reach an address at which nothing listens; this does not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise PeerError(f"ray: no cluster at {address}: {error}") from error


def _on_node(work: Callable[[bytes, Any], Any], version: str, shared: bytes, job: Any) -> Any:
    """Runs on a node. Errors of ours are returned: Ray would wrap them."""
    if version != __version__:
        return ConfigError(f"ray: a node has weightgate {__version__}, expected {version}")
    try:
        with workers_of.threads(1):
            return work(shared, job)
    except WgError as error:
        return error
