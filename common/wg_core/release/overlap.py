"""Which of a plant's privacy units were charged before, and under which budget.

A budget belongs to units, not to a name: a data set of another name that holds the same records
draws on the budget that they drew on before. The ledger can hold no content, so the plant keeps,
for itself, keyed digests of every unit that was ever charged, by data set: of each record's
content, and of each unit that a column names.

*Guarantee.* A snapshot is frozen only if none of its units was charged under another budget. A
data set of a new name joins the site's one budget, unless ``data.budget: separate`` declares that
its units are in no other; then that is checked, and refused where it does not hold or cannot be
known. What is refused is said at the plant; on the ledger nothing shows it.
"""

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, DataError, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.entries import Charge, Dataset, Genesis
from wg_core.ledger.store import DatasetRecord, Ledger
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import DIGEST_BYTES, Digests, FrozenRecords
from wg_core.wire import canonical

_LIMIT = 4 << 30


@dataclass(frozen=True, slots=True)
class History:
    """What a ledger says of data sets.

    Attributes:
        lineages: Lineage of each data set by name, oldest name first.
        caps: (epsilon, delta) of each lineage.
        charged: (name of data set, commitment) of all that was charged, or may have been.
    """

    lineages: dict[str, str]
    caps: dict[str, tuple[str, str]]
    charged: frozenset[tuple[str, str]]

    def budget_of(self, config: ClientConfig) -> str:
        """The lineage that a data set pays from; empty: a new one."""
        name = config.data.name
        if name in self.lineages:
            return self.lineages[name]
        if config.data.budget == "separate":
            return ""
        return next(iter(self.lineages.values()), "")


@dataclass(frozen=True, slots=True)
class _Charged:
    """Units of one data set that were charged, from the snapshots of these commitments."""

    dataset: str
    commitments: frozenset[str]
    digests: frozenset[bytes]


def history(ledger: Ledger) -> History:
    """Read a ledger's data sets and charges."""
    lineages: dict[str, str] = {}
    caps: dict[str, tuple[str, str]] = {}
    merged: dict[str, str] = {}
    charged: set[tuple[str, str]] = set()
    for seq in range(ledger.size):
        entry = entries.decode(ledger.entry(seq))
        if isinstance(entry, Genesis) and entry.predecessor is not None:
            for spend in entry.predecessor.spends:
                lineages |= dict.fromkeys(spend.names, spend.lineage)
                caps[spend.lineage] = spend.cap_epsilon, spend.cap_delta
                charged |= {
                    (name, commitment) for name in spend.names for commitment in spend.commitments
                }
        elif isinstance(entry, Dataset):
            merged |= dict.fromkeys(entry.inherits, entry.lineage)
            lineages[entry.name] = entry.lineage
            caps[entry.lineage] = entry.cap_epsilon, entry.cap_delta
        elif isinstance(entry, Charge):
            charged.add((entry.dataset, entry.commitment))
    for name, lineage in lineages.items():
        while lineage in merged:
            lineage = merged[lineage]
        lineages[name] = lineage
    return History(lineages, caps, frozenset(charged))


def register(ledger: Ledger, config: ClientConfig, commitment: str) -> None:
    """Tell the ledger of a version of the data set, unless it knows it already.

    Raises:
        ConfigError: ``client.yaml`` names another cap than the ledger.
    """
    record = DatasetRecord(
        name=config.data.name,
        commitment=commitment,
        cap_epsilon=config.privacy.cap_epsilon,
        cap_delta=config.privacy.cap_delta,
    )
    if ledger.commitment(config.data.name) is None:
        past = history(ledger)
        if config.data.name not in past.lineages and past.budget_of(config):
            record = dataclasses.replace(record, lineage=next(iter(past.lineages)))
    ledger.register_dataset(record)


def remember(home: ClientHome, past: History) -> None:
    """Note the units of every snapshot that was charged; run before a snapshot is deleted."""
    commitments = {commitment for _, commitment in past.charged}
    for stored in snapshots.all_snapshots(home):
        name, commitment = stored.manifest.dataset, stored.manifest.commitment
        former = _read(home, name)
        if commitment not in commitments or commitment in former.commitments:
            continue
        records = stored.records()
        digests = former.digests | _set(records.contents) | _set(records.units)
        _write(home, _Charged(name, former.commitments | {commitment}, digests))


def charged(home: ClientHome) -> frozenset[bytes]:
    """Digests of all units and contents that were charged, of any data set; see ``remember``."""
    return frozenset().union(*(_read_file(path)[1] for path in home.units.glob("*.npz")))


def check(home: ClientHome, config: ClientConfig, past: History, records: FrozenRecords) -> None:
    """Refuse records that were charged under another budget than the one they would now draw on.

    Raises:
        DataError: Some were; the data set, and how many units are shared with it, are named.
        ConfigError: ``client.yaml`` names another cap than the ledger; or ``separate`` cannot be
            checked: another data set was charged from a snapshot that is gone.
    """
    budget = past.budget_of(config)
    privacy = config.privacy
    policy = privacy.cap_epsilon, privacy.cap_delta
    cap = past.caps.get(budget, policy)
    if cap != policy:
        raise ConfigError(
            f"data set {config.data.name!r}: cap ({', '.join(policy)}), but its budget has"
            f" ({', '.join(cap)}) on the ledger; a cap does not change"
        )
    other_names = {name for name, lineage in past.lineages.items() if lineage != budget}
    for name in sorted(other_names):
        digests = _read(home, name)
        hit = np.array(
            [
                bytes(content) in digests.digests or bytes(unit) in digests.digests
                for content, unit in zip(records.contents, records.units, strict=True)
            ],
            dtype=bool,
        )
        if hit.any():
            shared = len(_set(records.units[hit]))
            raise DataError(
                f"{config.data.path}: {shared} privacy units were charged before as data set"
                f" {name!r}, which has another budget than {config.data.name!r}: leave them out,"
                f" or freeze under the name {name!r}"
                + (", or without 'budget: separate'" if config.data.budget == "separate" else "")
            )
        unknown = {commitment for charged_name, commitment in past.charged if charged_name == name}
        if config.data.budget == "separate" and unknown - digests.commitments:
            raise ConfigError(
                f"data.budget: separate: data set {name!r} was charged from a snapshot that is"
                " gone, so whether it shares units cannot be known; use 'budget: site'"
            )


def _path(home: ClientHome, dataset: str) -> Path:
    return home.units / f"{canonical.sha256_hex(dataset.encode('utf-8'))[:32]}.npz"


def _read(home: ClientHome, dataset: str) -> _Charged:
    path = _path(home, dataset)
    if not path.is_file():
        return _Charged(dataset, frozenset(), frozenset())
    return _Charged(dataset, *_read_file(path))


def _read_file(path: Path) -> tuple[frozenset[str], frozenset[bytes]]:
    """Commitments, and digests of units and contents."""
    data = atomic.read_bytes(path, limit=_LIMIT)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            commitments = frozenset(str(commitment) for commitment in file["commitments"])
            digests = file["digests"]
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise VerificationError(f"{path}: damaged: {error}; restore a copy") from error
    return commitments, _set(digests)


def _write(home: ClientHome, charged: _Charged) -> None:
    rows = b"".join(sorted(charged.digests))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        commitments=np.array(sorted(charged.commitments)),
        digests=np.frombuffer(rows, dtype=np.uint8).reshape(-1, DIGEST_BYTES),
    )
    home.units.mkdir(mode=0o700, exist_ok=True)
    atomic.write_bytes(_path(home, charged.dataset), buffer.getvalue(), mode=atomic.PRIVATE)


def _set(digests: Digests) -> frozenset[bytes]:
    return frozenset(bytes(row) for row in digests)
