"""Succession of logs: a new log under a new origin that inherits the spending of a lost one.

After a signing key is lost or stolen, the first entry of the new log carries the old log's last
checkpoint and the spending of every lineage, so that a theft does not renew any budget. All entries
of the old log count, even those that a thief may have added: they only reduce the budget.
"""

from contextlib import closing
from pathlib import Path

from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import log_sources
from wg_core.ledger import log_verification as histories
from wg_core.ledger.entries import InheritedSpend, Predecessor
from wg_core.ledger.log_state import LedgerState
from wg_core.ledger.log_verification import VerifiedLog


def read_predecessor(path: Path, reason: str) -> Predecessor:
    """Read and verify the log that a new log will replace, from a file, an export, or a home.

    Args:
        path: File or folder with the newest copy of the log that exists.
        reason: Reason for giving up the old log, recorded on the new one.

    Raises:
        VerificationError: The log is not valid; restore a valid copy, or the last export.
    """
    with closing(log_sources.open_source(path)) as source:
        state = histories.verify_log(source).state
        checkpoint = source.checkpoints()[-1]
    return Predecessor(
        origin=state.origin,
        key=state.public_key.hex(),
        checkpoint=checkpoint.decode(),
        reason=reason,
        spends=_inherited_spends(state),
    )


def verify_succession(new_log: LedgerState, old_log: VerifiedLog) -> None:
    """Verify that a new log names its predecessor, and took over all its privacy spending.

    Args:
        new_log: State of the new log, or of its first entry alone.

    Raises:
        VerificationError: The new log names another predecessor, checkpoint or spending.
    """
    genesis = new_log.genesis
    predecessor = genesis.predecessor if genesis else None
    if predecessor is None:
        raise VerificationError("entry 0: names no predecessor")
    state, root = old_log.state, old_log.checkpoints[-1].root
    if (predecessor.origin, predecessor.key) != (state.origin, state.public_key.hex()):
        raise VerificationError(
            f"entry 0: replaces log {predecessor.origin}, the one given is {state.origin}"
        )
    data = predecessor.checkpoint.encode()
    stated_head, _ = checkpoints.decode(data, input_name="predecessor's checkpoint")
    if bytes.fromhex(root) != stated_head.root:
        raise VerificationError(
            f"entry 0: carries another checkpoint than the one of {state.size} entries "
            f"with root {root}"
        )
    if predecessor.spends != _inherited_spends(state):
        raise VerificationError("entry 0: inherits another spend than the old log had")


def _inherited_spends(state: LedgerState) -> tuple[InheritedSpend, ...]:
    return tuple(
        InheritedSpend(
            lineage=lineage.lineage_id,
            names=tuple(lineage.dataset_names),
            commitments=tuple(lineage.commitments),
            cap_epsilon=lineage.cap_epsilon,
            cap_delta=lineage.cap_delta,
            events=lineage.composed_events(),
            charges=lineage.charge_count,
        )
        for lineage in state.lineages.values()
    )
