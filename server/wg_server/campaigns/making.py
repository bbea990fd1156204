"""Packages are made in processes of their own: what they take in memory is given back with them.

Generation needs torch and a generator, some 250 MB that the process which carries messages does
not have. There are half as many processes as cores, four at most. New ones take their place after
``PACKAGES_LIMIT`` packages, and all end when none was made for a minute.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from wg_core.errors import InternalError
from wg_server.campaigns.packaging import ReleasePools, make_package
from wg_server.campaigns.pools import StoredPools
from wg_server.campaigns.release import Recipient
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

PROCESSES = max(1, min(4, (os.cpu_count() or 1) // 2))
PACKAGES_LIMIT = 5000
IDLE_SECONDS = 60.0

_CONTEXT = multiprocessing.get_context("spawn")  # A fork would copy threads that hold locks


class MakingProcesses:
    """A ``MakePackage`` for as many threads at a time as there are processes."""

    def __init__(self, count: int = PROCESSES) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._executor: ProcessPoolExecutor | None = None
        self._idle: threading.Timer | None = None
        self._busy = self._made = 0
        self._records: Any = _CONTEXT.Queue()
        self._listener = logging.handlers.QueueListener(self._records, _Relay())

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_idle()
        self._listener.stop()

    def __call__(
        self,
        home: ServerHome,
        pools: ReleasePools,
        plant: Recipient,
        request_id: str,
        identity: str,
    ) -> bytes:
        """See ``packaging.make_package``; ``pools`` are the process's own.

        Raises:
            InternalError: The process was killed, twice: the system does so where memory is short.
        """
        try:
            try:
                return self._made_by(self._started(), home, plant, request_id, identity)
            except BrokenProcessPool as error:
                log.error("a process that makes packages was killed: %s", error)
                return self._made_by(self._started(), home, plant, request_id, identity)
        except BrokenProcessPool as error:
            raise InternalError(f"a process that makes packages was killed: {error}") from error

    def _made_by(self, executor: ProcessPoolExecutor, home: ServerHome, *asked: Any) -> bytes:
        with self._lock:
            self._busy += 1
        try:
            return executor.submit(_make, home.root, *asked).result()
        except BrokenProcessPool:
            with self._lock:
                self._executor = None if self._executor is executor else self._executor
            raise
        finally:
            with self._lock:
                self._busy -= 1
                self._wait_idle()

    def _started(self) -> ProcessPoolExecutor:
        """The processes, new ones where those of before made enough."""
        with self._lock:
            self._made += 1
            if self._executor is not None and self._made > PACKAGES_LIMIT:
                self._executor.shutdown(wait=False)  # what they are at is finished
                self._executor = None
            if self._executor is None:
                level = logging.getLogger("wg_server").getEffectiveLevel()
                self._made = 1
                self._executor = ProcessPoolExecutor(
                    self.count,
                    mp_context=_CONTEXT,
                    initializer=_begin,
                    initargs=(self._records, level),
                )
            return self._executor

    def _wait_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(IDLE_SECONDS, self._end_idle)
        self._idle.daemon = True
        self._idle.start()

    def _end_idle(self) -> None:
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            if self._executor is not None and not self._busy:
                self._executor.shutdown()
                self._executor = None


class _Relay(logging.Handler):
    """Says here what a process logged."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


def _begin(records: Any, level: int) -> None:
    """Make a process ready: it logs to the one that started it, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, handlers=[logging.handlers.QueueHandler(records)], force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _make(root: Path, plant: Recipient, request_id: str, identity: str) -> bytes:
    home, pools = _opened(root)
    return make_package(home, pools, plant, request_id, identity)


@lru_cache(1)
def _opened(root: Path) -> tuple[ServerHome, StoredPools]:
    home = ServerHome(root)
    return home, StoredPools(home, Store.open(home))
