"""Reading of a log for an audit: its verified history, texts, stated costs and budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from wg_audit import forks
from wg_audit.composition import BudgetComposition
from wg_audit.privacy_cost import SingleChargeFigures
from wg_audit.server_folder import ServerFolder
from wg_audit.stated_texts import StatedTexts
from wg_core.ledger import log_sources
from wg_core.ledger import log_verification as histories
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge, Entry
from wg_core.ledger.log_sources import LogSource
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.trust_anchors import TrustAnchors


@dataclass(frozen=True, slots=True)
class AnalysedLog:
    """Verified log, with what an audit computed from its entries.

    Attributes:
        history: The verified log.
        single_charges: Epsilon and delta that each charge states for its own release.
        texts: Free texts and class names in its entries.
        charge_at: Function that returns the CHARGE entry with a given entry index.
        composition: Budgets that the auditor composed from the entries.
    """

    history: VerifiedLog
    single_charges: SingleChargeFigures
    texts: StatedTexts
    charge_at: Callable[[int], Charge]
    composition: BudgetComposition


def read_log(source: LogSource, anchors: TrustAnchors) -> AnalysedLog:
    """Verify a log, collect its texts and stated costs, and compose its budgets."""
    alone_figures, words = SingleChargeFigures(), StatedTexts()

    def collect(entry: Entry) -> None:
        if isinstance(entry, Charge):
            alone_figures.add_charge(entry)
        words.add_entry(entry)

    history = histories.verify_log(source, anchors, collect)
    composition = BudgetComposition.compose(data for data, _ in source.entries_with_leaf_hashes())
    return AnalysedLog(history, alone_figures, words, _charge_reader(source), composition)


def _charge_reader(source: LogSource) -> Callable[[int], Charge]:
    """Return a function from an entry index to the CHARGE entry; its first call reads them all."""
    charges: dict[int, Charge] = {}

    def charge(seq: int) -> Charge:
        if not charges:
            charges.update(
                (entry.head.seq, entry)
                for entry in log_sources.decode_entries(source)
                if isinstance(entry, Charge)
            )
        return charges[seq]

    return charge


def read_other_log(
    exit_stack: ExitStack,
    path: Path,
    anchors: TrustAnchors,
    folder: ServerFolder | None,
    audited_origin: str,
) -> AnalysedLog:
    """Read and verify another log of the site, with the witnesses of ``anchors``.

    The log must be signed by the key that the server's folder records for it, if it records one.
    A second copy of the audited log needs no cosignatures, since witnesses refuse to sign a fork.
    Opened files are closed by ``exit_stack``.
    """
    source = exit_stack.enter_context(closing(log_sources.open_source(path)))
    _, origin = log_sources.read_site_and_origin(source)
    record = folder.site_record.find_log(origin) if folder else None
    key = (bytes.fromhex(record.key) or None) if record else None
    if origin == audited_origin:
        anchors = replace(anchors, witnesses=(), quorum=None)
    return read_log(source, replace(anchors, ledger_key=key))


def choose_log_copy(
    copies: Iterable[AnalysedLog], inherited_heads: Iterable[Checkpoint]
) -> AnalysedLog:
    """Return the longest copy of a log, if possible one that extends an inherited checkpoint."""
    inherited_heads = list(inherited_heads)
    return max(
        copies,
        key=lambda log: (
            any(forks.log_extends_head(log.history, head) for head in inherited_heads),
            log.history.state.size,
        ),
    )
