"""Fetching a large package in ranges: bounded memory, resumed after a cut, verified before use.

What is there of it lies in ``packages/incoming/HASH.part``, a name that no reader of packages
looks at. It goes on growing from where it stopped, whatever ended the last try, and is renamed
into the inbox only when the whole file has the hash that was offered. One package is fetched at a
time: parts of others are given up, so that half a package never fills the disk for good.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from wg_core import atomic
from wg_core.errors import PeerError, StorageError, VerificationError, raised_as
from wg_core.wire.protocol import PackageOffer

log = logging.getLogger(__name__)

CHUNK_LIMIT = 8 << 20  # Most bytes asked for at a time, whatever the server likes
TRIES = 5  # Tries in a row that bring nothing, before the message is given back
RESERVE = 64 << 20  # Bytes that stay free on the disk, for ledger and reports

GetRange = Callable[[int, int], Iterator[bytes]]
"""Yields bytes ``[start, stop)`` of the package, or a beginning of them; raises ``PeerError``."""


def fetch(
    offer: PackageOffer,
    folder: Path,
    get: GetRange,
    *,
    pause: Callable[[int], bool],
    free: Callable[[Path], int] | None = None,
) -> Path:
    """Fetch a package into ``folder``, and return its verified file.

    Args:
        folder: Where parts lie; made if it is not there.
        get: Asks the server for a range.
        pause: Waits before a try of this number; true if the node is to stop.
        free: Free bytes of the disk of a folder; the operating system's word by default.

    Raises:
        StorageError: The disk has no room for it, or cannot be written.
        PeerError: The line is bad for too long, or the node stops; what came is kept.
        VerificationError: The whole has another hash than was offered; it is deleted.
    """
    part = folder / f"{offer.package_sha256}.part"
    with raised_as(StorageError, f"{part}: cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.part"):
            if stale != part:
                stale.unlink()
        digest, size = _resume(part, offer.size)
        room = (free or _free)(folder) - RESERVE
        need = 2 * offer.size - size  # once here, once as the home's copy while it is applied
        if need > room:
            raise StorageError(
                f"{folder}: the package needs {need} more bytes, the disk has room for"
                f" {max(room, 0)}"
            )
        if size:
            log.info("request %s: going on at byte %d", offer.request_id, size)
        with part.open("ab") as stream:
            atomic.set_mode(stream, atomic.PRIVATE)
            _rest(offer, stream.write, digest.update, size, get, pause)
            stream.flush()
            os.fsync(stream.fileno())
    sha256 = digest.hexdigest()
    if sha256 != offer.package_sha256:
        part.unlink()
        raise VerificationError("delivery: the package does not match the hash in its offer")
    return part


def _rest(
    offer: PackageOffer,
    write: Callable[[bytes], object],
    digest: Callable[[bytes], object],
    size: int,
    get: GetRange,
    pause: Callable[[int], bool],
) -> None:
    """Ask for range after range until all is there; each piece is written and hashed."""
    chunk = min(offer.chunk, CHUNK_LIMIT)
    tries = 0
    while size < offer.size:
        before = size
        stop = min(size + chunk, offer.size)
        try:
            for piece in get(size, stop):
                if size + len(piece) > stop:
                    raise PeerError("package: the server sent more than it was asked for")
                write(piece)
                digest(piece)
                size += len(piece)
            if size == before:
                raise PeerError("package: the server sent nothing")
        except PeerError as error:
            tries = 1 if size > before else tries + 1
            if tries >= TRIES:
                raise
            log.warning("request %s: %s; %d bytes are here", offer.request_id, error, size)
        else:
            tries = 0
        if pause(tries):
            raise PeerError("package: the node stops; the rest comes another time")


def _resume(part: Path, limit: int) -> tuple[hashlib._Hash, int]:
    """Hash what is there of a package; more than ``limit`` bytes cannot be of it."""
    digest = hashlib.sha256()
    if not part.is_file():
        return digest, 0
    if part.stat().st_size > limit:
        part.unlink()
        return digest, 0
    size = 0
    with part.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return digest, size


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
