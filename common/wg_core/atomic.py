"""Atomic file writes, and file reads with a size limit."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wg_core.errors import ConfigError, DecodeError, StorageError, reraise_os_errors

PRIVATE_FILE_MODE = 0o600
PUBLIC_FILE_MODE = 0o644
CHUNK_BYTES = 1 << 20  # Bytes of a file in memory at a time
_READ_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
"""Flags for reading, as far as the system has them; O_NONBLOCK keeps ``open`` from blocking."""


@contextmanager
def open_replacement(path: Path, *, mode: int = PUBLIC_FILE_MODE) -> Iterator[BinaryIO]:
    """Open a new file that replaces ``path`` on exit, or is discarded if an exception is raised.

    Atomic and durable: temporary file, fsync, rename, fsync of the folder.

    Raises:
        StorageError: The folder cannot be written or the disk is full; the old file stays.
    """
    with reraise_os_errors(StorageError, f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                set_file_mode(stream, mode)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_bytes(path: Path, data: bytes | bytearray, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Write a whole file, with the guarantees and errors of ``open_replacement``."""
    with open_replacement(path, mode=mode) as stream:
        stream.write(data)


def write_private_bytes(path: Path, data: bytes) -> None:
    """Write a whole file like ``write_bytes``, with mode 0600: only its owner can read it."""
    write_bytes(path, data, mode=PRIVATE_FILE_MODE)


def rename_file(source: Path, target: Path) -> None:
    """Move a file within one file system, so that the move survives a power cut.

    Raises:
        StorageError: The file cannot be moved; it stays in its old place.
    """
    with reraise_os_errors(StorageError, f"{target}: cannot be written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        _sync_folder(target.parent)


def remove_file(path: Path) -> None:
    """Delete a file, if it exists, so that the deletion survives a power cut.

    Raises:
        StorageError: The file cannot be removed.
    """
    with reraise_os_errors(StorageError, f"{path}: cannot be removed"):
        if path.exists():
            path.unlink()
            _sync_folder(path.parent)


def copy_file(source: Path, target: Path, *, mode: int = PUBLIC_FILE_MODE) -> None:
    """Copy a file of any size in constant memory, with the guarantees of ``open_replacement``."""
    with open_replacement(target, mode=mode) as stream, source.open("rb") as data:
        shutil.copyfileobj(data, stream, CHUNK_BYTES)


def open_regular_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever blocking on a pipe or device.

    Raises:
        ConfigError: The file is missing, cannot be read, or is a folder, pipe, socket or device.
    """
    with reraise_os_errors(ConfigError, f"{path}: cannot be read"):
        handle = os.open(path, _READ_FLAGS)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ConfigError(f"{path}: cannot be read: not a regular file")
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes.

    Raises:
        ConfigError: The file is missing, cannot be read, or is not a regular file.
        DecodeError: The file is larger than ``limit``.
    """
    with (
        reraise_os_errors(ConfigError, f"{path}: cannot be read"),
        open_regular_file(path) as stream,
    ):
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise DecodeError(f"{path}: larger than {limit} bytes")
    return data


def set_file_mode(stream: BinaryIO, mode: int) -> None:
    """Set the mode of an open file; do nothing on Windows, where files inherit permissions."""
    if hasattr(os, "fchmod"):
        os.fchmod(stream.fileno(), mode)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that renames in it survive a power cut; no effect on Windows."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
