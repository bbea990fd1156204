"""Interface of modalities, the kinds of records.

A modality is one module in this folder with a subclass of ``Modality``, and one line in
``registry``. It names the module of its encoder's trunk, which turns a record into a tensor
(``wg_common.nets.encoder.trunk``) and is imported when an encoder is first used; this package works
without torch. A plant and the server read a record with the same code and the same limits.

A record is a NumPy array; ``content_digest`` identifies its content in all modalities alike.
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

DAMAGED_INPUT_ERRORS = (
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
"""Exceptions of decoders in the standard library, Pillow and NumPy for damaged input."""


class Modality(ABC):
    """Modality: a kind of records, with its reader and its simulation of other sites.

    Attributes:
        name: Name in packages, snapshots and manifests, and plural in messages.
        title: Longer name for messages, plural.
        singular: Name of one record, in messages.
        layout: Type and shape of an array of n records, as text for messages.
        suffixes: Suffixes of files that hold one record, in lower case.
        file_limit: Largest size of such a file, in bytes.
        is_resized: True if all records are resized to one size before a network sees them.
        head_architecture: Name of the architecture that is a head on this modality's encoder.
        trunk_modules: Modules of the trunks available to an encoder, each with a ``TRUNK``; the
            first is the default.
        trunk_file_module: Module that reads a trunk from a file, with a ``FILE``; empty if there is
            none.
        fits_plant_trunk: True if a plant also fits its own trunk on its records.
        family_network: Architecture of the networks that accompany the operator's family heads
            (``wg_common.nets.family_network``); empty if there are none.
        record_column: Name of the record column in a table of records (``record_tables``); empty if
            the modality has no such tables.
        default_standard_errors: Setting ``acceptance.standard_errors`` of a new plant: the number
            of standard errors by which a delivered model must be better than the plant's own.
        may_accompany_records: True if its files may accompany records of another modality without
            being records.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    singular: ClassVar[str]
    layout: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    file_limit: ClassVar[int]
    is_resized: ClassVar[bool] = False
    head_architecture: ClassVar[str]
    trunk_modules: ClassVar[tuple[str, ...]]
    trunk_file_module: ClassVar[str] = ""
    fits_plant_trunk: ClassVar[bool] = False
    family_network: ClassVar[str] = ""
    record_column: ClassVar[str] = ""
    default_standard_errors: ClassVar[float] = 2.0
    may_accompany_records: ClassVar[bool] = False

    def repetition_keys(self, records: Sequence[Record]) -> tuple[str, ...] | None:
        """Return a key for each record, equal for near-repetitions; None: all count as distinct."""
        return None

    @abstractmethod
    def matches_array(self, x: Record) -> bool:
        """Return True if an array ``[n, ...]`` has type and shape of this modality's records."""

    @abstractmethod
    def check_record(self, record: Record) -> None:
        """Check that an array is a record of this modality.

        Raises:
            DataError: The type, the shape or a value is not accepted.
        """

    @abstractmethod
    def decode(self, data: bytes, file_name: str) -> Record:
        """Decode a record from the bytes of a file.

        Args:
            data: Content of the file, at most ``file_limit`` bytes.
            file_name: Name of the file, for messages; its suffix is one of ``suffixes``.

        Raises:
            DataError: The named file is damaged, too large, or not a record of this kind.
        """

    @abstractmethod
    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Simulate records as seen at another site, by its camera or sensors.

        Args:
            records: Records of this modality, of any shapes.
            strength: Strength of the distortion by the other site, 0 to 1.
            rng: Generator that draws the site and its noise.
        """

    def augment_retakes(self, records: Sequence[Record], rng: np.random.Generator) -> list[Record]:
        """Simulate the same objects recorded anew at a typical site; by default return the records.

        Args:
            records: Records of this modality, of any shapes.
            rng: Generator that draws the site and its noise.
        """
        return list(records)

    @abstractmethod
    def example_record(self, shape: tuple[int, int]) -> Record:
        """Return an artificial record with the given first two dimensions."""

    def decode_cell(self, cell: str, row_name: str) -> Record:
        """Decode a record from a table's cell; raise errors as ``decode``, naming the row."""
        raise DataError(f"{row_name}: {self.title} are not read from tables")

    def check_zoo_record(self, record: Record) -> None:
        """Check that a record can be simulated at other sites; raise as ``check_record`` does."""
        self.check_record(record)

    def is_record_file(self, name: str) -> bool:
        """Return True if a file's name is that of a record of this modality."""
        return Path(name).suffix.lower() in self.suffixes and not name.startswith(".")

    def read(self, path: Path) -> Record:
        """Read a record from its file; raise errors as ``decode`` does."""
        return self.decode(read_file(path, self.file_limit), str(path))

    def check_records(self, records: Sequence[Record] | Record, first_index: int = 0) -> None:
        """Check several records; raise ``DataError`` with the index of the first refused one."""
        for row, record in enumerate(records, first_index):
            try:
                self.check_record(record)
            except DataError as error:
                raise DataError(f"{self.singular} {row}: {error}") from error


_READ_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)
"""Flags for ``os.open``, where the system has them; without O_NONBLOCK, opening a pipe that has no
writer would block."""


def read_file(path: Path, limit: int) -> bytes:
    """Read the bytes of a regular file; devices and pipes are refused.

    Raises:
        DataError: The path is not a regular file, is larger than ``limit``, or cannot be read.
    """
    try:
        handle = os.open(path, _READ_FLAGS)
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
    """Return the SHA-256 of a record's decoded values, with their type and shape."""
    code = hashlib.sha256(record.dtype.str.encode("ascii"))
    code.update(struct.pack(f">{1 + record.ndim}I", record.ndim, *record.shape))
    code.update(np.ascontiguousarray(record).tobytes())
    return code.digest()
