"""Making a new home: configuration, certificate authority, keys, database."""

from __future__ import annotations

import secrets
import socket

from wg_common import atomic
from wg_common.errors import ConfigError
from wg_common.wire import signing
from wg_server.site import pki
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.sites import Store


def initialise(home: ServerHome, config: ServerConfig) -> None:
    """Make a server's home; nothing is overwritten.

    Raises:
        ConfigError: There is a home already, or the folder cannot be written.
    """
    if home.config_file.exists():
        raise ConfigError(f"{home.config_file}: there already; this home is initialised")
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.root.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{home.root}: cannot be made: {error.strerror}") from error
    if not home.ca_key.exists():
        pki.create(home, config)
    for path in (home.signing_key, home.witness_key):
        if not path.exists():
            signing.save(path, signing.generate())
    atomic.write_bytes(home.admin_token, secrets.token_hex(32).encode(), mode=atomic.PRIVATE)
    home.write_config(config)  # last: a home with a configuration is a whole one
    Store.open(home).close()


def free_ports(host: str, count: int) -> list[int]:
    """Ports that nobody listens on now, all different.

    Raises:
        ConfigError: The host is not an address of this machine.
    """
    held = []
    try:
        for _ in range(count):
            held.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            held[-1].bind((host, 0))
        return [int(each.getsockname()[1]) for each in held]
    except OSError as error:
        raise ConfigError(f"host {host}: cannot be bound: {error.strerror}") from error
    finally:
        for each in held:
            each.close()
