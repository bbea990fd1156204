"""How far a long command of this home got, for pages that another process shows.

The file is written by the command and read by ``serve``. It says nothing that the command's own
output does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import StorageError, WgError
from wg_core.wire import canonical
from wg_core.wire.canonical import Count

_LIMIT = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a command stands.

    Attributes:
        work: ``train`` or ``zoo build``.
        done: Steps that are done.
        of: Steps in all; zero: not known.
        words: What it does, or found last.
        began: Unix time.
        updated: Unix time.
        process: Its process id.
        state: ``running``, ``done`` or ``failed``.
    """

    work: str
    done: Count
    of: Count
    words: str
    began: Count
    updated: Count
    process: Count
    state: str

    def runs(self, now: float, *, stale_seconds: int = 900) -> bool:
        """Whether the command is at work, as far as can be seen."""
        return self.state == "running" and now - self.updated < stale_seconds


class Noted:
    """Writes progress down while it is entered, at most once a second."""

    def __init__(self, path: Path, work: str, of: int | None) -> None:
        self._path, self._work, self._of = path, work, of or 0
        self._began, self._written = int(time.time()), 0.0
        self._done, self._words = 0, ""

    def __enter__(self) -> Noted:
        self._write("running")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._write("done" if kind is None else "failed")

    def wrap(
        self, tell: Callable[[int, str], None], *, write_seconds: float = 1.0
    ) -> Callable[[int, str], None]:
        """A function that tells ``tell`` and this."""

        def told(done: int, words: str) -> None:
            tell(done, words)
            self._done, self._words = done, words
            if time.monotonic() - self._written > write_seconds:
                self._write("running")

        return told

    def _write(self, state: str) -> None:
        self._written = time.monotonic()
        snapshot = Progress(
            work=self._work,
            done=self._done,
            of=self._of,
            words=self._words[:500],
            began=self._began,
            updated=int(time.time()),
            process=os.getpid(),
            state=state,
        )
        with suppress(StorageError):  # the work itself says so, if it needs the disk
            atomic.write_bytes(self._path, canonical.encode(snapshot))


def read(path: Path) -> Progress | None:
    """What a command wrote last; None: nothing that can be read."""
    try:
        if not path.is_file():
            return None
        data = atomic.read_bytes(path, limit=_LIMIT)
        return canonical.decode(Progress, data, subject=str(path), limit=_LIMIT)
    except WgError:
        return None
