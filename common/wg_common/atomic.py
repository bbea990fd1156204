"""Files that are either the old or the new one, never half of each; reads with a limit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wg_common.errors import ConfigError, DecodeError

PRIVATE = 0o600
PUBLIC = 0o644


def write_bytes(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Write a file atomically and durably: temporary file, fsync, rename, fsync of the folder.

    Raises:
        ConfigError: The folder cannot be written or the disk is full; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Read a whole file of at most ``limit`` bytes.

    Raises:
        ConfigError: The file is missing or cannot be read.
        DecodeError: The file is larger than ``limit``.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise DecodeError(f"{path}: larger than {limit} bytes")
    return data
