"""Layout of the plant's home folder: every path that the client reads or writes.

::

    client.yaml            configuration and policy, edited by the plant
    data-sheet.yaml        public data sheet of the machine that the records come from, if any
    pinned-server.json     the server and its keys, pinned at enrolment
    encoder.safetensors    the public encoder package, pinned by hash at enrolment
    ledger.sqlite          the privacy ledger
    budget-of.json         instead of a ledger: reference to the home that holds it
    keys/                  private keys, made on site, mode 0600
    certs/                 the client certificate and the server's CA certificate
    snapshots/             frozen data from which releases are made (private); see ``snapshot``
    units/                 keyed digests of every charged unit (private); see ``budget_history``
    outbox/                statistics files as sent, by request
    packages/              weights packages as received, by package id
    packages/sensors/      packages with a soft sensor, by time and package id
    models/                models by package id, and the choice of the model in use
    report.html            the report on the newest package; stays at the plant
    contact.json           status of the node's contact with the server, for ``wg-client status``
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import ConfigError, reraise_os_errors
from wg_core.ledger import shared_budget


@dataclass(frozen=True, slots=True)
class _HomePath:
    """Descriptor of a path in a home, or in the home that holds its ledger."""

    path: str
    is_in_budget_home: bool = False

    def __get__(self, home: ClientHome, owner: type[ClientHome]) -> Path:
        return (home.budget_home if self.is_in_budget_home else home.root) / self.path


@dataclass(frozen=True, slots=True)
class ClientHome:
    """Paths of all files in a plant's home folder."""

    root: Path

    config = _HomePath("client.yaml")
    data_sheet = _HomePath("data-sheet.yaml")
    pinned_server = _HomePath("pinned-server.json")
    encoder = _HomePath("encoder.safetensors")
    ledger = _HomePath(shared_budget.LEDGER_FILE, is_in_budget_home=True)
    keys = _HomePath("keys")
    tls_key = _HomePath("keys/tls.pem")  # Private key of the TLS client certificate
    node_key = _HomePath("keys/node.pem")  # Private key of Flower's node authentication
    signing_key = _HomePath("keys/signing.pem")  # Ed25519 key that signs statistics
    ledger_key = _HomePath("keys/ledger.pem", is_in_budget_home=True)
    """Ed25519 and ML-DSA-44 keys that sign the ledger's checkpoints."""
    next_ledger_key = _HomePath("keys/ledger.next.pem", is_in_budget_home=True)
    """New ledger key while a rotation is in progress."""
    site_secret = _HomePath("keys/site.secret", is_in_budget_home=True)
    """Key of the data commitments; never leaves."""
    certificate = _HomePath("certs/client.pem")
    ca_certificate = _HomePath("certs/ca.pem")
    snapshots = _HomePath("snapshots")
    charged_units = _HomePath("units", is_in_budget_home=True)
    outbox = _HomePath("outbox")
    waiting_requests = _HomePath("requests")  # Requests that wait for a person's decision
    packages = _HomePath("packages")
    waiting_packages = _HomePath("packages/waiting")  # Not yet applied packages, by request
    soft_sensor_packages = _HomePath("packages/sensors")  # Packages with a soft sensor
    models = _HomePath("models")
    report = _HomePath("report.html")
    """Report in the plant's language, beside ``report.en.html`` and ``report.ja.html``."""
    contact_status = _HomePath("contact.json")  # Status of the contact with the server

    @property
    def budget_home(self) -> Path:
        """Home that holds the ledger, its key, the site secret and the release lock.

        It is this home, or the one that ``budget-of.json`` names; see
        ``wg_core.ledger.shared_budget``.
        """
        return shared_budget.ledger_home(self.root)

    def create_private_folder(self) -> None:
        """Create the home folder with mode 0700, whatever the umask is.

        Raises:
            ConfigError: The folder cannot be created.
        """
        with reraise_os_errors(ConfigError, f"{self.root}: cannot be made"):
            for folder in (self.root, self.keys):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)

    def check_initialised(self) -> None:
        """Raise ``ConfigError`` unless the home was initialised."""
        if not self.config.is_file():
            raise ConfigError(
                f"{self.config}: not there; run 'wg-client init --home {self.root} ...' first"
            )

    def archive_outbox(self, subfolder: str) -> None:
        """Move all statistics files to a subfolder of the outbox; new ones are made on demand.

        Raises:
            StorageError: A file cannot be moved.
        """
        for path in self.outbox.glob("*.wg[sq]"):
            atomic.rename_file(path, self.outbox / subfolder / path.name)

    def load_site_secret(self) -> bytes:
        """Return the site secret, created on first use with mode 0600."""
        if not self.site_secret.exists():
            atomic.write_private_bytes(self.site_secret, secrets.token_bytes(32))
        data = atomic.read_bytes(self.site_secret, limit=32)
        if len(data) != 32:
            raise ConfigError(
                f"{self.site_secret}: {len(data)} bytes, expected {32}; restore a copy:"
                " a new secret would break the link to what was spent"
            )
        return data
