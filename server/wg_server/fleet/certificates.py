"""Reload of the listeners' certificates after another process changed them on disk."""

import logging
from collections.abc import Mapping
from pathlib import Path

from wg_core.errors import ConfigError
from wg_server.fleet.listener import Listener, server_tls_context
from wg_server.site import pki
from wg_server.site.home import ServerHome

log = logging.getLogger(__name__)


class CertificateReloader:
    """Watcher of the certificate files that gives changed certificates to the listeners."""

    def __init__(
        self, home: ServerHome, requires_client_certificates: Mapping[Listener, bool]
    ) -> None:
        """Start from the certificates that the listeners use now.

        Args:
            requires_client_certificates: TLS listeners, each with True if it requires client
                certificates.
        """
        self._home = home
        self._listeners = requires_client_certificates
        self._shown = self._file_states()
        self._half: list[tuple[Path, int, int]] = []

    def reload_if_changed(self) -> None:
        """Use the certificates on disk for new connections if their files changed.

        If the files do not match each other, another process is still writing them; the next call
        tries again.
        """
        state = self._file_states()
        if state == self._shown:
            return
        try:
            contexts = {
                listener: server_tls_context(self._home, requires_client_certificates=asks)
                for listener, asks in self._listeners.items()
            }
        except ConfigError as error:
            if state == self._half:  # unchanged since the last attempt
                log.warning("certificates not taken up: %s", error)
            self._half = state
            return
        for listener, context in contexts.items():
            listener.use_certificates(context)
        self._shown = state
        log.info("new certificates are in use")

    def _file_states(self) -> list[tuple[Path, int, int]]:
        home = self._home
        files = []
        for path in (home.tls_cert, home.tls_key, *pki.root_certificate_files(home)):
            try:
                status = path.stat()
            except OSError:  # a change is in progress
                continue
            files.append((path, status.st_mtime_ns, status.st_ino))
        return files
