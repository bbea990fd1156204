"""Paths in the server's home folder, and its configuration file ``server.yaml``.

Every path and every default of the server is defined here. This module creates no keys and opens no
database: ``wg_server.site.pki`` and ``wg_server.store.server_store`` do.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from wg_core import atomic, yaml_settings
from wg_core.errors import ConfigError, DecodeError
from wg_core.ledger import signed_note as notes
from wg_core.wire import canonical, protocol, signing

ENCODER_FILE_NAME = "encoder.safetensors"  # Name of the encoder package in the zoo's folder

CONFIG_BYTES_LIMIT = 64 << 10
ENCODER_BYTES_LIMIT = 128 << 20
_CONSOLE_URL_PATTERN = re.compile(r"https://[a-z0-9.\-]{1,253}(:[0-9]{1,5})?")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9:.\-]{1,253}")


class AdditionalWitness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Additional witness whose cosignatures count towards ``witness_quorum``.

    Attributes:
        name: Key name in the witness's cosignatures.
        key: Public key in hex: Ed25519, ML-DSA-44, or the two concatenated.
    """

    name: str
    key: str

    def __post_init__(self) -> None:
        try:
            notes.check_key_name(self.name)
            signing.public_from_hex(self.key)
        except DecodeError as error:
            raise ConfigError(f"witnesses: {self.name}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Contents of ``server.yaml``. Every field except the ports has a default.

    Attributes:
        name: Name of the server in signatures and certificates; a DNS label.
        host: Address that the fleet and enrolment listeners bind.
        advertise: Address that plants connect to; empty: ``host``.
        fleet_port: Port of the fleet listener (client certificates required).
        enrol_port: Port of the enrolment listener (join tokens).
        admin_host: Address that the admin listener binds; the default is loopback.
        admin_port: Port of the admin listener.
        console_url: Public URL of the console behind a TLS proxy, for example
            ``https://wg.example.org``. Empty: the console is reached on this machine only, or
            through a tunnel.
        trusted_proxies: Addresses or networks of TLS proxies of the console, whose
            ``X-Forwarded-For`` names the visitor.
        database: SQLAlchemy URL; empty: a SQLite file in the home folder.
        message_seconds: Lifetime of one message to a node, in seconds. A node that stopped after
            pulling a message receives it again when it restarts; this limit is for a node that
            keeps running and never answers.
        witnesses: Additional witnesses of plants' ledgers.
        witness_quorum: Number of witnesses, this server included, that must have cosigned the
            ledger of an accepted release. 1: only this server's cosignature is required.
    """

    name: str = "weightgate"
    host: str = "127.0.0.1"
    advertise: str = ""
    fleet_port: int
    enrol_port: int
    admin_host: str = "127.0.0.1"
    admin_port: int
    console_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    database: str = ""
    message_seconds: int = 600
    witnesses: tuple[AdditionalWitness, ...] = ()
    witness_quorum: int = 1

    def __post_init__(self) -> None:
        if len({policy.key for policy in self.witnesses}) != len(self.witnesses):
            raise ConfigError("witnesses: a key stands there twice")
        if not 1 <= self.witness_quorum <= 1 + len(self.witnesses):
            raise ConfigError(
                f"witness_quorum: {self.witness_quorum}, expected 1 to {1 + len(self.witnesses)}"
            )
        try:
            protocol.check_site_name(self.name)
        except DecodeError as error:
            raise ConfigError(f"name: {error}") from error
        for field in ("host", "admin_host", *(("advertise",) if self.advertise else ())):
            if not _HOST_PATTERN.fullmatch(getattr(self, field)):
                raise ConfigError(f"{field}: {getattr(self, field)!r}, expected a host or address")
        if self.console_url and not _CONSOLE_URL_PATTERN.fullmatch(self.console_url):
            raise ConfigError(
                f"console_url: {self.console_url!r}, expected https:// and a host, without a path"
            )
        for proxy in self.trusted_proxies:
            try:
                widest = ipaddress.ip_network(proxy).prefixlen == 0
            except ValueError as error:
                raise ConfigError(f"trusted_proxies: {error}") from error
            if widest:
                raise ConfigError(f"trusted_proxies: {proxy} trusts everybody; name the proxy")
        ports = (self.fleet_port, self.enrol_port, self.admin_port)
        if any(not 0 < port < 65536 for port in ports) or len(set(ports)) != len(ports):
            raise ConfigError(f"ports {ports}: expected three different ones from 1 to 65535")
        if self.message_seconds < 1:
            raise ConfigError(f"message_seconds: {self.message_seconds}, expected at least 1")

    @property
    def fleet_url(self) -> str:
        """URL of the fleet listener for plants."""
        return _listener_url(self.advertise or self.host, self.fleet_port)

    @property
    def enrol_url(self) -> str:
        """URL of the enrolment listener for plants."""
        return _listener_url(self.advertise or self.host, self.enrol_port)


class _HomePath:
    """Descriptor of a path below the folder of a server's home."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, home: ServerHome, kind: type[ServerHome]) -> Path:
        return home.root / self._path


@dataclass(frozen=True, slots=True)
class ServerHome:
    """Paths of the files and folders in a server's home."""

    root: Path

    config_file = _HomePath("server.yaml")  # Configuration of the server
    ca_key = _HomePath("pki/ca.key")  # Private key of the certificate authority
    ca_cert = _HomePath("pki/ca.pem")  # Certificate of the certificate authority
    ca_links_file = _HomePath("pki/links.pem")
    """Link certificates, in which each earlier authority signs its successor; absent before the
    first change of authority."""
    retired_authorities_folder = _HomePath("pki/retired")
    """Certificates of earlier authorities, whose private keys are deleted."""
    next_authority_folder = _HomePath("pki/next")  # New authority during a change
    tls_key = _HomePath("pki/server.key")  # Private key of the listeners
    tls_cert = _HomePath("pki/server.pem")  # Certificate of the listeners
    signing_key = _HomePath("keys/signing.key")  # Ed25519 key that signs weights packages
    handovers_file = _HomePath("keys/handovers.json")
    """Hand-overs, in which each earlier key of the server signs its successor; absent before the
    first change of keys."""
    next_keys_folder = _HomePath("keys/next")  # New keys during a rotation
    witness_key = _HomePath("keys/witness.key")  # Ed25519 and ML-DSA-44 keys of cosignatures
    admin_token = _HomePath("keys/admin.token")  # Bearer token of the admin listener
    oidc_file = _HomePath("keys/oidc.json")  # OpenID Connect provider of the console, if configured
    serving_lock_file = _HomePath("serve.lock")  # Lock of the one process that serves this home
    database_file = _HomePath("server.sqlite")
    """SQLite database of sites, campaigns and releases, unless the configuration names a database
    URL."""
    zoo_folder = _HomePath("zoo")  # Folder of the zoo
    encoder_file = _HomePath(
        f"zoo/{ENCODER_FILE_NAME}"
    )  # The public encoder package, made by `zoo build`
    generator_versions_folder = _HomePath("generator/versions")
    """Generators with their model cards, one folder each (``wg_server.generator.versions``)."""
    installed_generator_file = _HomePath("generator/installed.json")  # Id of the generator in use
    packages_folder = _HomePath("packages")  # Weights packages, by delivery id

    def package_path(self, delivery_id: str) -> Path:
        """Return the path of a delivery's weights package."""
        return self.packages_folder / f"{delivery_id}.wgw"

    def read_config(self) -> ServerConfig:
        """Read the configuration from ``server.yaml``.

        Raises:
            ConfigError: The file is missing or damaged, or a field is wrong; the message names it.
        """
        path = self.config_file
        if not path.is_file():
            raise ConfigError(f"{self.root}: not a server's home (no server.yaml); run init first")
        return parse_config(atomic.read_bytes(path, limit=CONFIG_BYTES_LIMIT), input_name=str(path))

    def write_config(self, config: ServerConfig) -> None:
        """Write the configuration to ``server.yaml``."""
        text = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False)
        atomic.write_bytes(self.config_file, text.encode())

    def encoder_sha256(self) -> str:
        """Return the SHA-256 of the public encoder package, hex.

        Raises:
            ConfigError: The home has no encoder package yet.
        """
        return canonical.sha256_hex(self.read_encoder())

    def read_encoder(self) -> bytes:
        """Read the public encoder package from the home.

        Raises:
            ConfigError: The home has no encoder package yet.
        """
        if not self.encoder_file.is_file():
            raise ConfigError(
                f"{self.encoder_file}: no public encoder yet, and plants need it;"
                f" run 'wg-server zoo build --home {self.root}'"
            )
        return atomic.read_bytes(self.encoder_file, limit=ENCODER_BYTES_LIMIT)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the server's database."""
        return self.read_config().database or f"sqlite:///{self.database_file}"


def parse_config(data: bytes, *, input_name: str) -> ServerConfig:
    """Parse the text of ``server.yaml`` strictly, and return the configuration.

    Raises:
        ConfigError: The data is not YAML, a field is unknown or missing, or a type or value is
            wrong.
    """
    return yaml_settings.parse_yaml(data, ServerConfig, input_name)


def _listener_url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
