"""Quality report of a snapshot: the records on which its encoder failed.

The report is stored in the snapshot's folder as ``quality.json``, for the plant's own people. No
answer reads it, nothing that leaves depends on it, and no hash of the snapshot covers it.
"""

from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.wire import canonical

VERSION = 1
_REPORT_FILE = "quality.json"
_REPORT_BYTES_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Names of a snapshot's records whose features are zeros because the encoder failed on them."""

    version: int = VERSION
    failures: tuple[str, ...] = ()


def write(folder: Path, report: QualityReport) -> None:
    """Write a snapshot's quality report; raise ``StorageError`` if the disk is full."""
    atomic.write_private_bytes(folder / _REPORT_FILE, canonical.encode(report))


def read(folder: Path) -> QualityReport:
    """Read a snapshot's quality report; empty if there is no file, as in version 0.1.0.

    Raises:
        DecodeError: The report is damaged.
    """
    path = folder / _REPORT_FILE
    if not path.is_file():
        return QualityReport()
    return canonical.read_record(QualityReport, path, max_bytes=_REPORT_BYTES_LIMIT)
