"""Production of packages in separate processes, whose memory is free again when they end.

A package needs torch and a generator, about 250 MB of memory, so the process that carries messages
never loads them.
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
from typing import Any

from wg_core.errors import InternalError
from wg_server.campaigns.packaging import ReleasePools, make_package
from wg_server.campaigns.release import PackageRecipient
from wg_server.campaigns.release_pools import StoredReleasePools
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore

log = logging.getLogger(__name__)

PACKAGING_PROCESS_COUNT = max(1, min(4, (os.cpu_count() or 1) // 2))

_PROCESS_TRIES_LIMIT = 2  # A process killed for lack of memory may succeed after others end

_SPAWN_CONTEXT = multiprocessing.get_context("spawn")  # A fork could copy locks held by threads


class PackagingProcess:
    """Maker of packages in a process of its own, started on demand; for use by one thread."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._records: Any = _SPAWN_CONTEXT.Queue()
        self._listener = logging.handlers.QueueListener(self._records, _LogRelay())

    def __call__(
        self,
        home: ServerHome,
        pools: ReleasePools,
        plant: PackageRecipient,
        request_id: str,
        generator_version_id: str,
    ) -> bytes:
        """Make a package, see ``packaging.make_package``; the process opens its own release pools.

        Raises:
            InternalError: The process was killed, for instance by the system for lack of memory.
        """
        task = home.root, plant, request_id, generator_version_id
        for _ in range(_PROCESS_TRIES_LIMIT):
            try:
                return self._start_process().submit(_make_package_in_process, *task).result()
            except BrokenProcessPool as error:
                log.error("the process that makes packages was killed: %s", error)
                self.stop_process()
        raise InternalError("the process that makes packages was killed again")

    def stop_process(self) -> None:
        """Stop the process, if one runs."""
        if self._executor is not None:
            self._executor.shutdown()
            self._listener.stop()
            self._executor = None

    def _start_process(self) -> ProcessPoolExecutor:
        if self._executor is None:
            level = logging.getLogger("wg_server").getEffectiveLevel()
            self._executor = ProcessPoolExecutor(
                1,
                mp_context=_SPAWN_CONTEXT,
                initializer=_prepare_process,
                initargs=(self._records, level),
            )
            self._listener.start()
        return self._executor


class _LogRelay(logging.Handler):
    """Log handler in a packaging process that passes log records on to the server's process."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


def _prepare_process(log_queue: Any, log_level: int) -> None:
    """Prepare a packaging process: it logs to its parent process, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(
        level=log_level, handlers=[logging.handlers.QueueHandler(log_queue)], force=True
    )
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _make_package_in_process(
    home_folder: Path, plant: PackageRecipient, request_id: str, generator_version_id: str
) -> bytes:
    home, pools = _open_home_and_pools(home_folder)
    return make_package(home, pools, plant, request_id, generator_version_id)


@lru_cache(1)
def _open_home_and_pools(home_folder: Path) -> tuple[ServerHome, StoredReleasePools]:
    home = ServerHome(home_folder)
    return home, StoredReleasePools(home, ServerStore.open(home))
