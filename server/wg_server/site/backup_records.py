"""Records about a home's backups: its last backup, and the backup that it was restored from."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from wg_core import atomic
from wg_core.wire import canonical
from wg_server.site.home import ServerHome


class _BackupRecord:
    """Small record about backups, in its own file below the home."""

    _FILE_NAME: ClassVar[str]

    @classmethod
    def _file_path(cls, home: ServerHome) -> Path:
        return home.root / cls._FILE_NAME

    @classmethod
    def load(cls, home: ServerHome) -> Self | None:
        """Read the record from its file; None if the file does not exist.

        Raises:
            ConfigError: The file cannot be read.
            DecodeError: The file is damaged.
        """
        path = cls._file_path(home)
        if not path.is_file():
            return None
        return canonical.read_record(cls, path)

    def save(self, home: ServerHome) -> None:
        """Write the record to its file.

        Raises:
            StorageError: The disk cannot be written.
        """
        atomic.write_bytes(
            self._file_path(home), canonical.encode(self), mode=atomic.PRIVATE_FILE_MODE
        )


@dataclass(frozen=True, kw_only=True)
class LastBackup(_BackupRecord):
    """Start of the newest backup of a home, Unix time."""

    created: int
    _FILE_NAME = "backup.json"


@dataclass(frozen=True, kw_only=True)
class RestoreGap(_BackupRecord):
    """Gap in the data of a restored home: it lacks everything recorded after the backup.

    Attributes:
        since: Start of the backup, Unix time.
        until: Time of the restore, Unix time.
    """

    since: int
    until: int
    _FILE_NAME = "recovery.json"
