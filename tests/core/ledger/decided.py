"""An entry that costs nothing and that nothing rests on: a ledger grows by it."""

from __future__ import annotations

from functools import partial

from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger


def record_decision(ledger: Ledger, purpose: str = "model") -> int:
    """Record that a person declined a request; the entry's sequence number."""
    decision = partial(
        entries.Decision,
        request_id=f"{ledger.size:032x}",
        dataset="parts",
        epsilon="1",
        delta="1e-5",
        purpose=purpose,
        recipient="server.example",
        approved=False,
        name="QA",
    )
    return ledger.record_decision(decision)
