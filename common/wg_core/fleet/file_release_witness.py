"""Witnesses over the network for a plant whose releases leave in files.

Until the server takes in a file, only the plant knows how far its ledger has grown, so each copy of
a home could release on the same budget again. Every reachable witness is asked before anything is
charged and again afterwards, so that another copy is found to be behind. If no witness can be
reached, the server detects a copy when its file arrives, and an auditor adds up the spending of all
copies.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wg_core.connection import cosigning, server_link
from wg_core.errors import ConfigError, DecodeError, PeerError
from wg_core.fleet import server_trust
from wg_core.fleet.node_answers import server_witness
from wg_core.fleet.query_slot import AnswerSlot
from wg_core.ledger.witness import AskWitness
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome

log = logging.getLogger(__name__)


@contextmanager
def connect_server_witness(home: ClientHome, config: ClientConfig) -> Iterator[AskWitness | None]:
    """Have all reachable witnesses cosign the ledger before a release that leaves in a file.

    Yields a function that asks the server to cosign once more, for use after the release; None
    if the server cannot be reached.

    Raises:
        LedgerRolledBack: A witness has seen more of the ledger: this home is an outdated copy.
        WitnessRefused: A witness has seen another history of the ledger. Nothing was charged.
    """
    cosigning.ask_other_witnesses(home, config)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(
                server_link.ServerLink.open(home, config.server.fleet_url)
            )
            # This call leaves no trace on the ledger if the server does not answer.
            server_trust.refresh_server_trust(home, config, connection)
        except (PeerError, ConfigError, DecodeError) as error:
            log.info("%s is not asked as a witness: %s", config.server.name, error)
            yield None
            return
        cosigning.check_not_rolled_back(home, config, connection.cosign)
        slot = AnswerSlot(config.privacy.answer_slot_seconds, threading.Event())
        yield server_witness(connection, slot)
