"""Locks between processes, held by the kernel: free again however a process ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from wg_core.errors import ConfigError


@contextmanager
def hold(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a lock file while this is entered. The file stays; only the lock goes.

    Args:
        path: The lock file; made, for its user alone, if it is not there.
        busy: What the error says when another process holds the lock; None: wait for it.

    Raises:
        ConfigError: Another process holds it, or this disk has no file that can be locked.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: not there")
    # Without the kernel's lock a file that a killed process left would lock for ever.
    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(blocking=busy is None)
    except Timeout as error:
        raise ConfigError(f"{path.parent}: {busy}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
