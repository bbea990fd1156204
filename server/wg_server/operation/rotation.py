"""New keys for packages and cosignatures, after which every plant enrols again.

Plants pin both keys when they enrol. A new key that an old one vouches for would be worth nothing
on the day it is needed, when the old one was stolen; so trust is made anew, by a join token for
each plant. Ledgers, budgets and releases stay as they are.
"""

from dataclasses import dataclass

from wg_common import atomic
from wg_common.errors import ConfigError
from wg_common.wire import canonical, signing
from wg_server.operation.backup import changing_keys
from wg_server.operation.serve import alone
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import OPEN_CAMPAIGNS
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store


@dataclass(frozen=True, slots=True)
class RotatedKeys:
    """Public halves, hex: what signs packages and what cosigns ledgers from now on."""

    signing_key: str
    witness_key: str


def rotate_keys(home: ServerHome) -> RotatedKeys:
    """Make new signing and witness keys; the old public halves are kept in ``keys/retired``.

    Raises:
        ConfigError: A server runs, or a campaign is open: its packages bear the old signature.
    """
    with alone(home), changing_keys(home), Store.open(home) as store:
        open_ones = [c.id for c in CampaignQueue(store.engine).all() if c.state in OPEN_CAMPAIGNS]
        if open_ones:
            raise ConfigError(
                f"campaign {open_ones[0]}: still open; let it end or cancel it before new keys"
            )
        found = []
        for path in (home.signing_key, home.witness_key):
            old, new = signing.public_bytes(signing.load(path)), signing.generate()
            retired = path.parent / "retired" / f"{path.stem}-{canonical.sha256_hex(old)[:16]}.pub"
            atomic.write_bytes(retired, f"{old.hex()}\n".encode())
            signing.save(path, new)
            found.append(signing.public_bytes(new).hex())
    return RotatedKeys(*found)
