"""Reading of a log for an audit: its verified history, texts, stated costs and budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from wg_audit import forks
from wg_audit.accounts import SingleChargeFigures
from wg_audit.composition import Composition
from wg_audit.server_folder import ServerFolder
from wg_audit.stated_words import StatedTexts
from wg_core.ledger import history as histories
from wg_core.ledger import sources
from wg_core.ledger.anchors import TrustAnchors
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge, Entry
from wg_core.ledger.history import VerifiedLog
from wg_core.ledger.sources import LogSource


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Verified log, with what an audit computed from its entries.

    Attributes:
        history: The verified log.
        single_charges: Epsilon and delta that each charge states for its own release.
        texts: Free texts and class names in its entries.
        charge: Function that returns the CHARGE entry with a given entry index.
        composition: Budgets that the auditor composed from the entries.
    """

    history: VerifiedLog
    single_charges: SingleChargeFigures
    texts: StatedTexts
    charge: Callable[[int], Charge]
    composition: Composition


def read_log(source: LogSource, anchors: TrustAnchors) -> ReadLog:
    """Verify a log, collect its texts and stated costs, and compose its budgets."""
    alone_figures, words = SingleChargeFigures(), StatedTexts()

    def collect(entry: Entry) -> None:
        if isinstance(entry, Charge):
            alone_figures.add(entry)
        words.add(entry)

    history = histories.verify_log(source, anchors, collect)
    composition = Composition.compose(data for data, _ in source.entries())
    return ReadLog(history, alone_figures, words, _charges(source), composition)


def _charges(source: LogSource) -> Callable[[int], Charge]:
    """Return a function from an entry index to the CHARGE entry; its first call decodes all."""
    charges: dict[int, Charge] = {}

    def charge(seq: int) -> Charge:
        if not charges:
            charges.update(
                (entry.head.seq, entry)
                for entry in sources.stored_entries(source)
                if isinstance(entry, Charge)
            )
        return charges[seq]

    return charge


def read_further_log(
    stack: ExitStack,
    path: Path,
    anchors: TrustAnchors,
    folder: ServerFolder | None,
    audited_origin: str,
) -> ReadLog:
    """Read and verify a further log of the site, by its own key and the same witnesses.

    A second copy of the audited log needs no cosignatures, since witnesses refuse to sign a fork.
    Opened files are closed by ``stack``.
    """
    source = stack.enter_context(closing(sources.open_source(path)))
    _, origin = sources.read_site_and_origin(source)
    record = folder.site.find_log(origin) if folder else None
    key = (bytes.fromhex(record.key) or None) if record else None
    if origin == audited_origin:
        anchors = replace(anchors, witnesses=(), quorum=None)
    return read_log(source, replace(anchors, ledger_key=key))


def choose_copy(copies: Iterable[ReadLog], heads: Iterable[Checkpoint]) -> ReadLog:
    """Return the longest copy of a log, preferably of those that extend an inherited head."""
    heads = list(heads)
    return max(
        copies,
        key=lambda log: (
            any(forks.extends_head(log.history, head) for head in heads),
            log.history.state.size,
        ),
    )
