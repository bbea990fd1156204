"""Witnesses of a plant whose releases leave in files, where one can be reached after all.

Until a file is taken in nobody but the plant knows how far its ledger went, so that each copy of a
home would release on the same budget once more. Whoever can be reached is asked before anything is
charged, and told after: the next copy is then found to be behind. Where nobody can, the server
finds a copy when its file comes, and an auditor adds up what all of them spent.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wg_core.connection import cosigning, link
from wg_core.errors import ConfigError, DecodeError, PeerError
from wg_core.fleet import trust
from wg_core.fleet.answers import server_witness
from wg_core.fleet.interface import Witness
from wg_core.fleet.slot import Slot
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome

log = logging.getLogger(__name__)


@contextmanager
def reachable_server(home: ClientHome, config: ClientConfig) -> Iterator[Witness | None]:
    """Let witnesses cosign the ledger as it is; what asks the server again, None if it is away.

    Raises:
        RolledBack: A witness has seen more of the ledger: this home is a copy, or an older one.
        WitnessRefused: One has seen another history of it. Nothing was charged.
    """
    cosigning.check_others(home, config)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(link.Link.open(home, config.server.fleet_url))
            # A call that leaves no trace on the ledger if nobody answers.
            trust.follow(home, config, connection)
        except (PeerError, ConfigError, DecodeError) as error:
            log.info("%s is not asked as a witness: %s", config.server.name, error)
            yield None
            return
        cosigning.check_newest(home, config, connection.witness)
        slot = Slot(config.privacy.answer_slot_seconds, threading.Event())
        yield server_witness(connection, slot)
