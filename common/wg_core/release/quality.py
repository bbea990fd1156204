"""The quality report of a snapshot: which records its encoder failed on.

It lies in the snapshot's folder as ``quality.json``, for the plant's own people. No answer reads
it, nothing that leaves depends on it, and no hash of the snapshot covers it.
"""

from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.wire import canonical

VERSION = 1
_FILE = "quality.json"
_BYTES_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The report.

    Attributes:
        version: Version of this record.
        failures: Names of records whose features are zeros, since the encoder failed on them.
    """

    version: int = VERSION
    failures: tuple[str, ...] = ()


def write(folder: Path, report: Quality) -> None:
    """Write a snapshot's report; ``StorageError``: the disk is full."""
    atomic.write_bytes(folder / _FILE, canonical.encode(report), mode=atomic.PRIVATE)


def read(folder: Path) -> Quality:
    """Read a snapshot's report; it is empty where there is none, as version 0.1.0 wrote none.

    Raises:
        DecodeError: It is damaged.
    """
    path = folder / _FILE
    if not path.is_file():
        return Quality()
    data = atomic.read_bytes(path, limit=_BYTES_LIMIT)
    return canonical.decode(Quality, data, subject=str(path), limit=_BYTES_LIMIT)
