"""Creation of a new home: configuration, certificate authority, keys, database."""

import errno
import secrets
import socket

from wg_core import atomic
from wg_core.errors import ConfigError, reraise_os_errors
from wg_core.wire import signing
from wg_server.site import pki
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store import database

_PORT_RANGE = range(10_000, 32_768)
"""Linux assigns ports from 32768 to outgoing connections, other systems from 49152 (RFC 6335,
section 6)."""


def create_home(home: ServerHome, config: ServerConfig) -> None:
    """Create a server's home without overwriting anything.

    Raises:
        ConfigError: The home exists already, or the folder cannot be written.
    """
    if home.config_file.exists():
        raise ConfigError(f"{home.config_file}: there already; this home is initialised")
    with reraise_os_errors(ConfigError, f"{home.root}: cannot be made"):
        home.root.mkdir(parents=True, exist_ok=True)
        home.root.chmod(0o700)
    if not home.ca_key.exists():
        pki.create_authority(home, config)
    for path, generate in (
        (home.signing_key, signing.generate_key),
        (home.witness_key, signing.generate_hybrid_key),
    ):
        if not path.exists():
            signing.save(path, generate())
    atomic.write_bytes(
        home.admin_token, secrets.token_hex(32).encode(), mode=atomic.PRIVATE_FILE_MODE
    )
    database.open_engine(config.database or f"sqlite:///{home.database_file}").dispose()
    home.write_config(config)  # last: a home with a configuration is a whole one


def free_ports(host: str, count: int) -> list[int]:
    """Return different ports that no process listens on.

    They are below the range of outgoing connections, in which the system could take a port before
    the server starts.

    Raises:
        ConfigError: The host is not an address of this machine, or no such port is free.
    """
    ports: list[int] = []
    attempts = 1000
    for _ in range(attempts):
        port = secrets.choice(_PORT_RANGE)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
            try:
                candidate.bind((host, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    continue
                raise ConfigError(f"host {host}: cannot be bound: {error.strerror}") from error
        if port not in ports:
            ports.append(port)
        if len(ports) == count:
            return ports
    raise ConfigError(f"host {host}: no free port found in {attempts} tries")
