"""Thread that applies weights packages while the node goes on polling and answering.

The time that applying takes depends on the records, so nothing visible to the server waits for it.
The inbox on disk is the queue: a package stays there until it was applied or set aside, so a crash
loses none.
"""

import contextvars
import errno
import logging
import threading
from pathlib import Path
from typing import Self

from wg_core.errors import InternalError, StorageError, WgError
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.node_interface import ApplyPackage
from wg_core.site.home import ClientHome

log = logging.getLogger(__name__)

DISK_ERROR_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class ApplierThread:
    """Thread that applies received weights packages; a context manager that starts and ends it.

    Attributes:
        failure: Error of the last package that was set aside; None: none was set aside.
        crash: Exception that ended the thread, if any.
    """

    def __init__(
        self,
        home: ClientHome,
        apply_package: ApplyPackage,
        stop: threading.Event,
        *,
        retry_seconds: float,
        stops_after_package: bool,
    ) -> None:
        """Prepare the thread that applies weights packages, without starting it.

        Args:
            stop: Event that ends the node; this thread sets it when it crashes.
            retry_seconds: Pause before a package that did not fit on the disk is tried again.
            stops_after_package: Set ``stop`` after the first package.
        """
        self._home = home
        self._apply_package = apply_package
        self._inbox = Inbox(home)
        self._stop = stop
        self._again_seconds = retry_seconds
        self._once = stops_after_package
        self._wake = threading.Event()
        self._end = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="wg-apply")
        self.failure: WgError | None = None
        self.crash: BaseException | None = None

    def __enter__(self) -> Self:
        self._wake.set()  # for packages that arrived before this process started
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Finish the weights package that is being applied, and end the thread."""
        self._end.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Tell the thread that a weights package may be waiting."""
        self._wake.set()

    def _run(self) -> None:
        pause: float | None = None
        try:
            while True:
                self._wake.wait(pause)
                self._wake.clear()
                if self._end.is_set():
                    return
                pause = self._apply_waiting_packages()
        except BaseException as error:  # noqa: BLE001 - it is raised again by ``run_node``
            self.crash = error
            self._stop.set()

    def _apply_waiting_packages(self) -> float | None:
        """Apply the inbox's weights packages; only the first with ``stops_after_package``.

        Returns:
            Seconds until the retry if a package did not fit on the disk, else None.
        """
        for path in self._inbox.waiting_packages():
            if self._end.is_set():
                return None
            try:
                self._apply_or_reject(path)
            except StorageError as error:
                log.error("package %s waits: %s", path.stem, error)
                return self._again_seconds
            if self._once:
                self._stop.set()
                self._end.set()
        return None

    def _apply_or_reject(self, path: Path) -> None:
        """Apply one weights package, or set it aside permanently if that fails."""
        try:
            self._apply_package(self._home, path)
        except StorageError:
            raise
        except OSError as error:
            if error.errno in DISK_ERROR_NUMBERS:
                raise StorageError(f"{path}: cannot be applied: {error.strerror}") from error
            self._reject_package(path, InternalError(f"{path}: {error}"))
        except WgError as error:
            self._reject_package(path, error)
        except Exception as error:  # otherwise it would end the node at every start
            log.exception("package %s", path.stem)
            self._reject_package(path, InternalError(f"{path}: {type(error).__name__}"))
        else:
            self._inbox.delete_applied_package(path)
            log.info("package %s applied", path.stem)

    def _reject_package(self, path: Path, error: WgError) -> None:
        rejected_file = self._inbox.reject_package(path)
        log.error("package %s not applied: %s (kept at %s)", path.stem, error, rejected_file)
        self.failure = error
