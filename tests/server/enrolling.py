"""How a ledger begins, for tests that are about other things."""

from __future__ import annotations

from wg_core.ledger import merkle
from wg_core.ledger.store import Ledger
from wg_server.store.succession import Beginning

UNSEEN = Beginning(
    genesis="00" * 32, predecessor=None, replaced=None, cosign=lambda known: (b"0", 1, b"")
)
"""Leaves a memory that is no checkpoint."""


def beginning(ledger: Ledger) -> Beginning:
    """Of a real ledger, remembered at size 1."""
    first = ledger.first_checkpoint()
    return Beginning(
        genesis=merkle.leaf_hash(ledger.entry(0)).hex(),
        predecessor=None,
        replaced=None,
        cosign=lambda known: (known or first, 1, b""),
    )
