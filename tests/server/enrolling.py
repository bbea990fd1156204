"""How plants enrol and ledgers begin, for tests that are about other things."""

from __future__ import annotations

from typing import Any

from wg_core.ledger import merkle
from wg_core.ledger.budget_ledger import Ledger
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.store.ledger_succession import LedgerBeginning

UNSEEN = LedgerBeginning(
    genesis_leaf_hash="00" * 32,
    predecessor=None,
    replaced_log=None,
    decide_checkpoint=lambda known: (b"0", 1, b""),
)
"""Leaves a memory that is no checkpoint."""


def beginning(ledger: Ledger) -> LedgerBeginning:
    """Of a real ledger, remembered at size 1."""
    first = ledger.first_entry_checkpoint()
    return LedgerBeginning(
        genesis_leaf_hash=merkle.leaf_hash(ledger.entry_bytes(0)).hex(),
        predecessor=None,
        replaced_log=None,
        decide_checkpoint=lambda known: (known or first, 1, b""),
    )


def empty_request(**fields: str) -> EnrolmentRequest:
    """A request of ``plant-a`` with the secret ``s`` that holds no key, certificate or ledger."""
    names = ("csr_pem", "node_public_key", "ledger_origin", "ledger_key", "genesis", "checkpoint")
    empty: dict[str, Any] = dict.fromkeys(names, "")
    words = {"site": "plant-a", "secret": "s", "signing_key": "k"}
    return EnrolmentRequest(**{**empty, **words, **fields})


def request_of(
    plant: ClientHome, secret: str, *, site: str = "plant-a", replaced: str = ""
) -> EnrolmentRequest:
    """The request of a plant whose home has keys and a ledger."""
    public = identity.read_public_identity(plant, site)
    with Ledger.open(plant.ledger, signing.load(plant.ledger_key)) as ledger:
        return EnrolmentRequest(
            site=site,
            secret=secret,
            csr_pem=public.csr_pem,
            node_public_key=public.node_public_key,
            signing_key=public.signing_key,
            ledger_origin=ledger.origin,
            ledger_key=public.ledger_key,
            genesis=ledger.entry_bytes(0).decode(),
            checkpoint=ledger.first_entry_checkpoint().decode(),
            replaced=replaced,
        )
