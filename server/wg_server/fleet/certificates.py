"""The certificates that listeners show: those on disk, also after another process changed them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from wg_core.errors import ConfigError
from wg_server.fleet.listener import Listener, server_context
from wg_server.site import pki
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)


class Certificates:
    """Looks at the files, and gives listeners what is new in them."""

    def __init__(self, home: ServerHome, listeners: Mapping[Listener, bool]) -> None:
        """Begin with what the listeners show now.

        Args:
            listeners: Those that speak TLS; whether they ask for client certificates.
        """
        self._home = home
        self._listeners = listeners
        self._shown = self._state()
        self._half: list[tuple[Path, int, int]] = []

    def look(self) -> None:
        """Show what is on disk to connections that begin from now on.

        Files that do not belong together are half of a change: they are looked at again.
        """
        state = self._state()
        if state == self._shown:
            return
        try:
            contexts = {
                listener: server_context(self._home, client_certificates=asks)
                for listener, asks in self._listeners.items()
            }
        except ConfigError as error:
            if state == self._half:  # it has stayed like that
                log.warning("certificates not taken up: %s", error)
            self._half = state
            return
        for listener, context in contexts.items():
            listener.show(context)
        self._shown = state
        log.info("new certificates are in use")

    def _state(self) -> list[tuple[Path, int, int]]:
        home = self._home
        files = []
        for path in (home.tls_cert, home.tls_key, *pki.roots(home)):
            try:
                status = path.stat()
            except OSError:  # between two files of a change
                continue
            files.append((path, status.st_mtime_ns, status.st_ino))
        return files
