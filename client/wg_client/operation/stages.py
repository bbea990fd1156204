"""Where a plant stands, from pilot to watched, and the figures of what was watched.

``watch.json`` keeps the figures of each batch of new records, and no record. It stays at the plant.
"""

from dataclasses import dataclass

from wg_client.models import adoption
from wg_core import atomic
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

VERSION = 1
FILE = "watch.json"
BATCHES_LIMIT = 1000  # Batches that are kept, the newest
_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was found of one batch.

    Attributes:
        when: Unix time, seconds.
        snapshot: Version of the data set that it was held against.
        model: The model in use, as ``adoption.Chosen`` prints it; empty: none.
        records: How many there were.
        new: How many were called new.
        unsure: How many calls were neither sure nor new; -1: not known.
        p_features: Without drift, the probability of features so far away.
        p_new: The same of so many new records.
        p_unsure: The same of such a share of unsure calls; 1 where there is nothing to hold it
            against.
        alarm: Whether any of the three is below a third of ``FALSE_ALARMS``.
    """

    when: int
    snapshot: int
    model: str
    records: int
    new: int
    unsure: int
    p_features: float
    p_new: float
    p_unsure: float
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Batches, oldest first."""

    version: int = VERSION
    batches: tuple[Batch, ...] = ()


def read(home: ClientHome) -> History:
    """What was watched so far.

    Raises:
        DecodeError: The file is damaged, or of another version.
    """
    path = home.root / FILE
    if not path.is_file():
        return History()
    return canonical.decode(
        History, atomic.read_bytes(path, limit=_LIMIT), subject=str(path), limit=_LIMIT
    )


def add(home: ClientHome, past: History, batch: Batch) -> None:
    """Keep one more batch.

    Raises:
        StorageError: The disk is full or cannot be written; what was known still is.
    """
    history = History(batches=(*past.batches, batch)[-BATCHES_LIMIT:])
    atomic.write_bytes(home.root / FILE, canonical.encode(history), mode=atomic.PRIVATE)


def stage(home: ClientHome) -> str:
    """Where the plant stands: ``pilot``, ``shadow``, ``in use`` or ``watched``."""
    history = adoption.read(home)
    state = history.now
    if state.in_use is None:
        return "pilot"
    if state.shadow is not None:
        return "shadow"
    since = max(
        change.when for change in history.changes if change.what in ("use", "promote", "rollback")
    )
    model = str(state.in_use)
    matches = (batch.model == model and batch.when >= since for batch in read(home).batches)
    return "watched" if any(matches) else "in use"
