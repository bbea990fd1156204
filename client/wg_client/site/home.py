"""The plant's home folder: one place for every path that the client reads or writes.

::

    client.yaml            configuration and policy, edited by the plant
    encoder.safetensors    the public encoder package, pinned by hash at enrolment
    ledger.sqlite          the privacy ledger
    budget-of.json         instead of a ledger: the home whose ledger, ledger key and secret count
    keys/                  private halves, made on site, mode 0600
    certs/                 the client certificate and the server's CA certificate
    snapshots/             what releases are made from (private, never sent); see ``snapshot``
    units/                 keyed digests of every unit that was charged (private); see ``overlap``
    outbox/                statistics files as they left, by request
    packages/              weights packages as they arrived, by package id
    models/                models by package id, and ``current.json``
    report.html            the report on the newest package; stays at the plant
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from wg_common import atomic
from wg_common.errors import ConfigError
from wg_common.ledger import place

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ClientHome:
    """Paths below a plant's home folder."""

    root: Path

    @property
    def config(self) -> Path:
        """Configuration and policy."""
        return self.root / "client.yaml"

    @property
    def encoder(self) -> Path:
        """The public encoder package."""
        return self.root / "encoder.safetensors"

    @property
    def budget(self) -> Path:
        """The home that holds the ledger, its key, the site secret and the release lock.

        This one, or the home that ``budget-of.json`` names; see ``wg_common.ledger.place``.
        """
        return place.ledger_home(self.root)

    @property
    def ledger(self) -> Path:
        """The privacy ledger."""
        return self.budget / place.LEDGER

    @property
    def keys(self) -> Path:
        """Folder of private keys."""
        return self.root / "keys"

    @property
    def tls_key(self) -> Path:
        """Private key of the TLS client certificate."""
        return self.keys / "tls.pem"

    @property
    def node_key(self) -> Path:
        """Private key of Flower's node authentication."""
        return self.keys / "node.pem"

    @property
    def signing_key(self) -> Path:
        """Ed25519 key that signs statistics."""
        return self.keys / "signing.pem"

    @property
    def ledger_key(self) -> Path:
        """Ed25519 key that signs the ledger's checkpoints."""
        return self.budget / "keys" / "ledger.pem"

    @property
    def next_ledger_key(self) -> Path:
        """The key that will sign the ledger, while it changes."""
        return self.budget / "keys" / "ledger.next.pem"

    @property
    def site_secret(self) -> Path:
        """Secret of the keyed data commitment; never leaves."""
        return self.budget / "keys" / "site.secret"

    @property
    def certificate(self) -> Path:
        """The TLS client certificate, PEM."""
        return self.root / "certs" / "client.pem"

    @property
    def ca_certificate(self) -> Path:
        """The server's CA certificate, PEM."""
        return self.root / "certs" / "ca.pem"

    @property
    def snapshots(self) -> Path:
        """Folder of snapshots of the data set."""
        return self.root / "snapshots"

    @property
    def units(self) -> Path:
        """Folder of keyed digests of the units that were charged, by data set."""
        return self.budget / "units"

    @property
    def outbox(self) -> Path:
        """Folder of statistics files as they left."""
        return self.root / "outbox"

    @property
    def packages(self) -> Path:
        """Folder of weights packages as they arrived."""
        return self.root / "packages"

    @property
    def models(self) -> Path:
        """Folder of models."""
        return self.root / "models"

    @property
    def report(self) -> Path:
        """The report on the newest package."""
        return self.root / "report.html"

    def make_private(self) -> None:
        """Make the folder, for its user alone: all else is below it, whatever the umask was.

        Raises:
            ConfigError: It cannot be made.
        """
        try:
            for folder in (self.root, self.keys):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"{self.root}: cannot be made: {error.strerror}") from error

    def require(self) -> None:
        """Check that the folder was initialised.

        Raises:
            ConfigError: It was not.
        """
        if not self.config.is_file():
            raise ConfigError(
                f"{self.config}: not there; run 'wg-client init --home {self.root} ...' first"
            )

    def load_secret(self) -> bytes:
        """The site secret; made on first use, with mode 0600."""
        if not self.site_secret.exists():
            atomic.write_bytes(
                self.site_secret, secrets.token_bytes(SECRET_BYTES), mode=atomic.PRIVATE
            )
        data = atomic.read_bytes(self.site_secret, limit=SECRET_BYTES)
        if len(data) != SECRET_BYTES:
            raise ConfigError(
                f"{self.site_secret}: {len(data)} bytes, expected {SECRET_BYTES}; restore a copy:"
                " a new secret would break the link to what was spent"
            )
        return data
