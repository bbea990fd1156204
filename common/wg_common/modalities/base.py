"""What the program must know of one kind of records: the seam for modalities.

A modality is one module in this folder with a subclass of ``Modality``, and one line in
``registry``. It names the module of its encoder's trunk, which says how a record becomes a tensor
(``wg_common.nets.encoder.trunk``) and is imported when an encoder is first used; nothing here needs
torch. A plant and the server read a record with the same code and the same limits.

A record is a NumPy array. What its content is, is the same for all modalities (``content_digest``).
"""

import hashlib
import lzma
import os
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import DataError

Record = NDArray[Any]

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    OverflowError,
    RuntimeError,  # a member that is encrypted; JSON that nests too deep
    MemoryError,
    Warning,
    struct.error,
    tokenize.TokenError,  # NumPy looks through a header of Python 2 word by word
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What decoders of the standard library, Pillow and NumPy raise on damaged input."""


class Modality(ABC):
    """One kind of records.

    Attributes:
        name: In packages, snapshots and manifests, and in messages as a plural.
        title: In longer words, as a plural.
        one: One record, in messages.
        layout: Type and shape of an array ``[n, ...]`` of records, in messages.
        suffixes: How the names of files that hold one record end, in small letters.
        file_limit: Most bytes of such a file.
        resized: Whether all records are brought to one size before a network sees them.
        head: Name of the architecture that is a head on this modality's encoder.
        trunks: Modules of trunks that an encoder may stand on, each with a ``TRUNK``; the first is
            the usual one.
        trunk_file: Module that reads a trunk from a file, with a ``FILE``; empty: none does.
        plant_trunk: Whether a plant fits a trunk of its own on its records, behind the encoder.
        family_network: Architecture of the operator's networks that stand beside heads of plants
            of its families (``wg_common.nets.family_network``). Empty: there are none.
        column: Column that holds the record, in a table whose rows are records (``cells``).
            Empty: there are no such tables.
        standard_errors: By how many of its standard errors what others' statistics made must be
            better at a new plant (``acceptance.standard_errors``).
        beside: Whether its files may lie beside records of another modality, and are none then.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    one: ClassVar[str]
    layout: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    file_limit: ClassVar[int]
    resized: ClassVar[bool] = False
    head: ClassVar[str]
    trunks: ClassVar[tuple[str, ...]]
    trunk_file: ClassVar[str] = ""
    plant_trunk: ClassVar[bool] = False
    family_network: ClassVar[str] = ""
    column: ClassVar[str] = ""
    standard_errors: ClassVar[float] = 2.0
    beside: ClassVar[bool] = False

    def patterns(self, records: Sequence[Record]) -> tuple[str, ...] | None:
        """Return for each record a key that repetitions of it share; None if nothing tells them."""
        return None

    @abstractmethod
    def sniff(self, x: Record) -> bool:
        """Return whether an array ``[n, ...]`` holds such records, by its type and shape."""

    @abstractmethod
    def check(self, record: Record) -> None:
        """Refuse what is no record of this kind.

        Raises:
            DataError: Another type or shape, or a value that is not accepted.
        """

    @abstractmethod
    def decode(self, data: bytes, name: str) -> Record:
        """A record from the bytes of a file.

        Args:
            data: At most ``file_limit`` bytes.
            name: Of the file, for messages; its suffix is one of ``suffixes``.

        Raises:
            DataError: Damaged, too large, or no record of this kind; the file is named.
        """

    @abstractmethod
    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Records as one other site may see them, through a camera or sensors of its own.

        Args:
            records: Of one kind, of any shapes.
            strength: How far the site is from a clean one, 0 to 1.
            rng: Source of the site and its noise.
        """

    def augment_record(self, record: Record, rng: np.random.Generator) -> Record:
        """A record as it might have been made at the same site at another time; here as it is."""
        return record

    @abstractmethod
    def example(self, shape: tuple[int, int]) -> Record:
        """A made-up record whose first two sides are these."""

    def from_cell(self, cell: str, name: str) -> Record:
        """A record from a cell of such a table; ``name`` and errors as of ``decode``."""
        raise DataError(f"{name}: {self.title} are not read from tables")

    def check_public(self, record: Record) -> None:
        """Refuse what the zoo cannot use; errors as of ``check``."""
        self.check(record)

    def is_file(self, name: str) -> bool:
        """Return whether a file's name says that it holds one record."""
        return Path(name).suffix.lower() in self.suffixes and not name.startswith(".")

    def read(self, path: Path) -> Record:
        """A record from its file; errors as of ``decode``."""
        return self.decode(read_file(path, self.file_limit), str(path))

    def check_all(self, records: Sequence[Record] | Record, start: int = 0) -> None:
        """Check records; an error says the number of the first that is refused."""
        for row, record in enumerate(records, start):
            try:
                self.check(record)
            except DataError as error:
                raise DataError(f"{self.one} {row}: {error}") from error


_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. Systems lack some."""


def read_file(path: Path, limit: int) -> bytes:
    """Bytes of a regular file: no device, and no pipe that nobody writes to.

    Raises:
        DataError: It is something else, larger than ``limit``, or cannot be read.
    """
    try:
        handle = os.open(path, _FLAGS)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: not a regular file")
            if status.st_size > limit:
                raise DataError(f"{path}: {status.st_size} bytes, at most {limit} are read")
            return stream.read(limit)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}") from error


def content_digest(record: Record) -> bytes:
    """SHA-256 of a record's decoded values, with their type and shape."""
    code = hashlib.sha256(record.dtype.str.encode("ascii"))
    code.update(struct.pack(f">{1 + record.ndim}I", record.ndim, *record.shape))
    code.update(np.ascontiguousarray(record).tobytes())
    return code.digest()
