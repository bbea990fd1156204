"""The server that a plant trusts, as pinned at enrolment, in its own file in the home.

It is not a setting: enrolment writes it, enrolling again replaces it, and the server's own
hand-overs replace its keys (``wg_core.fleet.server_trust``). The file is replaced atomically.
"""

from dataclasses import dataclass

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedServer:
    """Server that a plant trusts: address, names and keys, as pinned at enrolment.

    Attributes:
        fleet_url: ``https://host:port`` of the fleet listener.
        name: Server name, as in its signatures.
        signing_key: Raw key that signs weights packages, hex.
        witness_name: Key name of the server as a witness of the ledger.
        witness_key: Raw key of the witness, Ed25519 and ML-DSA-44, hex.
    """

    fleet_url: str
    name: str
    signing_key: str
    witness_name: str
    witness_key: str


def load(home: ClientHome) -> PinnedServer:
    """Load the server that a home is enrolled with.

    Raises:
        ConfigError: The file is missing or damaged.
    """
    try:
        return canonical.read_record(PinnedServer, home.pinned_server)
    except DecodeError as error:
        raise ConfigError(f"{error}; restore a copy, or enrol again (init --replace)") from error


def save(home: ClientHome, server: PinnedServer) -> None:
    """Pin a server in the plant's home, replacing the earlier one atomically."""
    atomic.write_private_bytes(home.pinned_server, canonical.encode(server))
