"""A zip or tar of class folders, read in memory.

Nothing is extracted: members are decoded one at a time. Links, devices, encrypted members and
paths that lead outside are refused, and what a header claims about sizes is checked against what
comes out.
"""

import bz2
import functools
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, TypeVar

from wg_common.modalities.base import DAMAGE
from wg_core.errors import DataError
from wg_server.zoo.archives import IMAGES, MEMBER_LIMIT, Archive, Collector, decode

T = TypeVar("T")

MEMBERS_LIMIT = 1_000_000  # Most members of an archive, of any kind

_ZIP = (".zip",)
_TAR: dict[str, Callable[[str], Any]] = {
    ".tar": io.FileIO,
    ".tar.gz": gzip.GzipFile,
    ".tgz": gzip.GzipFile,
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
}


@functools.lru_cache(maxsize=2)
def read_packed(path: str) -> Archive:
    """A ``.zip`` or ``.tar`` (also ``.gz``, ``.bz2``, ``.xz``) of class folders.

    The class of a picture is the folder that it lies in; folders above it do not matter.

    Raises:
        DataError: Not such an archive, or a member that is refused; the message names it.
    """
    lower = path.lower()
    tar = next((suffix for suffix in _TAR if lower.endswith(suffix)), None)
    if tar is None and not lower.endswith(_ZIP):
        raise DataError(f"{path}: expected a name that ends in {', '.join((*_ZIP, *_TAR))}")
    found = Collector(path)
    try:
        members = _zip_members(path) if tar is None else _tar_members(path, _TAR[tar])
        for name, data in members:
            parts = PurePosixPath(name).parts
            if len(parts) > 1:
                found.add(parts[-2], name, decode(data, f"{path}: {name}"))
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: not an archive that can be read: {error}") from error
    return found.archive()


def _check_name(path: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise DataError(f"{path}: member {name!r} leads outside")


def _limited(path: str, name: str, stream: IO[bytes]) -> bytes:
    data = stream.read(MEMBER_LIMIT + 1)
    if len(data) > MEMBER_LIMIT:
        raise DataError(f"{path}: member {name!r} is larger than {MEMBER_LIMIT} bytes")
    return data


def _counted(path: str, members: Iterable[T]) -> Iterator[T]:
    for count, member in enumerate(members):
        if count >= MEMBERS_LIMIT:
            raise DataError(f"{path}: more than {MEMBERS_LIMIT} members")
        yield member


def _zip_members(path: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in _counted(path, archive.infolist()):
            if info.is_dir():
                continue
            _check_name(path, info.filename)
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or info.flag_bits & 1:
                raise DataError(f"{path}: member {info.filename!r} is a link or encrypted")
            if IMAGES.is_file(PurePosixPath(info.filename).name):
                with archive.open(info) as stream:
                    yield info.filename, _limited(path, info.filename, stream)


def _tar_members(path: str, open_: Callable[[str], Any]) -> Iterator[tuple[str, bytes]]:
    with open_(path) as raw, tarfile.open(fileobj=_Bounded(path, raw), mode="r:") as archive:
        for info in _counted(path, archive):
            if info.isdir():
                continue
            _check_name(path, info.name)
            if not info.isreg() or info.issparse():
                raise DataError(f"{path}: member {info.name!r} is a link, device or sparse file")
            if info.size > MEMBER_LIMIT:
                raise DataError(f"{path}: member {info.name!r} is larger than {MEMBER_LIMIT} bytes")
            stream = archive.extractfile(info)
            if stream is not None and IMAGES.is_file(PurePosixPath(info.name).name):
                yield info.name, _limited(path, info.name, stream)


class _Bounded(io.RawIOBase):
    """A stream that refuses one large read, as a forged header of names would cause."""

    def __init__(self, path: str, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MEMBER_LIMIT + 1:
            raise DataError(f"{self._path}: a header asks for {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
