"""Locks between processes, held by the kernel and so released however a process ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wg_core.errors import ConfigError

BUSY_WAIT_SECONDS = 0.3
"""Seconds to wait for a busy lock, since ``wg-client status`` takes locks for a moment."""


@contextmanager
def hold_lock(path: Path, *, busy_message: str | None = None) -> Iterator[None]:
    """Hold a lock on a file for the duration of the context; the file itself stays.

    Args:
        path: Lock file; created with mode 0600 if it does not exist.
        busy_message: Error message if another process holds the lock for longer than
            ``BUSY_WAIT_SECONDS``; None: wait without limit.

    Raises:
        ConfigError: Another process holds the lock, or the file system cannot lock files.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: not there")
    # A soft lock would stay for ever if its process was killed; the kernel's lock does not.
    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(timeout=-1 if busy_message is None else BUSY_WAIT_SECONDS)
    except Timeout as error:
        raise ConfigError(f"{path.parent}: {busy_message}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
