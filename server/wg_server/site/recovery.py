"""What a home remembers of its backups: when the last was made, and which one it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from wg_core import atomic
from wg_core.wire import canonical
from wg_server.site.home import ServerHome

_LIMIT = 4 << 10


class _Record:
    """A small record in a file of its own below the home."""

    _NAME: ClassVar[str]

    @classmethod
    def _file(cls, home: ServerHome) -> Path:
        return home.root / cls._NAME

    @classmethod
    def load(cls, home: ServerHome) -> Self | None:
        """Read it, if it is there.

        Raises:
            ConfigError: It cannot be read.
            DecodeError: It is damaged.
        """
        path = cls._file(home)
        if not path.is_file():
            return None
        data = atomic.read_bytes(path, limit=_LIMIT)
        return canonical.decode(cls, data, subject=str(path), limit=_LIMIT)

    def save(self, home: ServerHome) -> None:
        """Write it.

        Raises:
            StorageError: The disk cannot be written.
        """
        atomic.write_bytes(self._file(home), canonical.encode(self), mode=atomic.PRIVATE)


@dataclass(frozen=True, kw_only=True)
class LastBackup(_Record):
    """The newest backup of a home: when it was begun, Unix time."""

    created: int
    _NAME = "backup.json"


@dataclass(frozen=True, kw_only=True)
class Recovery(_Record):
    """This home was restored: what it did between two moments, it does not know.

    Attributes:
        since: When the backup was begun, Unix time.
        until: When it was restored.
    """

    since: int
    until: int
    _NAME = "recovery.json"
