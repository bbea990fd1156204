"""Locks of a plant's home, held by the kernel: free again however a process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from wg_client.site.home import ClientHome
from wg_common.errors import ConfigError, StorageError


@contextmanager
def only_node(home: ClientHome) -> Iterator[None]:
    """The lock under which one process runs this plant's node, or changes its identity.

    Raises:
        ConfigError: Another process has it.
        StorageError: The home cannot be written.
    """
    try:
        handle = os.open(home.root / ".node.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{home.root}: cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{home.root}: another process runs this plant's node") from error
        yield
    finally:
        os.close(handle)
