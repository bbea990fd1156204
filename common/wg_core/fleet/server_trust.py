"""The server's authority and keys that a plant trusts, and their replacement.

A plant pins a root certificate and two keys of its server: one signs weights packages, the other
cosigns ledgers. A key that is retired by routine signs for its successor, and the plant follows
these hand-overs from its pins to the current keys; ``authority`` does so for certificates. A new
key is recorded on the ledger together with its hand-over, so that an auditor sees which key vouched
for it.

A key that no chain of hand-overs leads to is not trusted: the plant must enrol again.
"""

import logging
from dataclasses import replace

from wg_core.connection.server_link import ServerLink
from wg_core.fleet import authority
from wg_core.ledger.budget_ledger import Ledger
from wg_core.site import locks, pinned_server
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, handover, signing
from wg_core.wire.handover import Handover, KeyUse
from wg_core.wire.protocol import TRUST_BYTES_LIMIT, ServerKeyPins, ServerTrust

log = logging.getLogger(__name__)


def refresh_server_trust(home: ClientHome, config: ClientConfig, link: ServerLink) -> ServerTrust:
    """Report the pinned keys to the server, and pin its new authority if the old one signed for it.

    Returns:
        The server's statement of its current authority and keys; the keys are not adopted yet.

    Raises:
        ConfigError: The pinned root is missing or damaged.
        PeerError: The server cannot be reached.
        DecodeError: The answer cannot be decoded.
        StorageError: The disk cannot be written.
    """
    server_trust = _report_pinned_keys(home, config, link)
    if authority.pin_current_authority(home, server_trust.authority.encode()):
        return _report_pinned_keys(home, config, link)
    return server_trust


def find_pending_handovers(config: ClientConfig, server_trust: ServerTrust) -> list[Handover]:
    """Return the hand-overs from the pinned keys to the current ones, in order; empty: no change.

    Raises:
        VerificationError: No chain of hand-overs leads to a current key.
    """
    server, today = config.server, server_trust.pins
    rows: tuple[tuple[KeyUse, str, str, str], ...] = (
        (handover.PACKAGES_USE, server.name, server.signing_key, today.packages),
        (handover.WITNESS_USE, server.witness_name, server.witness_key, today.witness),
    )
    return [
        link
        for use, name, pinned_key, newest in rows
        for link in handover.find_key_handovers(
            use, name, pinned_key, newest, server_trust.handovers
        )
    ]


def adopt_keys(home: ClientHome, config: ClientConfig, handovers: list[Handover]) -> ClientConfig:
    """Record new keys on the ledger and pin them; an interrupted change can be repeated.

    Release files made under an old witness key are set aside, and made again on demand from the
    same released bytes.

    Args:
        handovers: Hand-overs from ``find_pending_handovers``.

    Returns:
        The configuration with the new keys.

    Raises:
        VerificationError: The ledger is not valid, or a hand-over is not by the witness's key.
        StorageError: The disk cannot be written.
    """
    keys = {link.use: link.now for link in handovers}
    server = replace(
        config.server,
        signing_key=keys.get(handover.PACKAGES_USE, config.server.signing_key),
        witness_key=keys.get(handover.WITNESS_USE, config.server.witness_key),
    )
    with locks.lock_ledger(home), Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        for link in handovers:
            ledger.record_handover(link)
        if server.witness_key != config.server.witness_key:
            home.archive_outbox(f"before-witness-{server.witness_key[:16]}")
        pinned_server.save(home, server)
    for use, key in keys.items():
        log.info("the server's %s key is %s now, which the one before signed for", use, key)
    return replace(config, pin=server)


def _report_pinned_keys(home: ClientHome, config: ClientConfig, link: ServerLink) -> ServerTrust:
    pins = ServerKeyPins(
        authority=authority.certificate_sha256(authority.read_pinned_root(home)),
        packages=config.server.signing_key,
        witness=config.server.witness_key,
    )
    data = link.report_pinned_keys(canonical.encode(pins))
    return canonical.decode(ServerTrust, data, input_name="trust", max_bytes=TRUST_BYTES_LIMIT)
