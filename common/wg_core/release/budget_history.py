"""Record of a plant's charged privacy units, and the single budget of all its data sets.

A budget belongs to units, not to a name: a data set under another name draws on the budget of the
site's first data set. The ledger cannot hold contents, so the plant itself keeps keyed digests of
every unit ever charged, by data set: of each record's content, and of each unit that a column
names. No acceptance set may contain these.
"""

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger, check_same_privacy_unit
from wg_core.ledger.entries import Charge, Dataset, Genesis
from wg_core.site.config import RECORD_UNIT, ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import DIGEST_BYTES, Digests
from wg_core.wire import canonical

_FILE_BYTES_LIMIT = 4 << 30


@dataclass(frozen=True, slots=True)
class BudgetHistory:
    """Data sets, caps and units known to a ledger.

    Attributes:
        lineage_id_by_dataset: Lineage (id of the budget) by data set name, oldest name first.
        cap_by_lineage: Cap (epsilon and delta, decimal strings) by lineage.
        commitments: Commitments to all charged data, hex, and to all data on a replaced ledger.
        privacy_unit_names: Names of the privacy units (columns) in charges, oldest first.
    """

    lineage_id_by_dataset: dict[str, str]
    cap_by_lineage: dict[str, tuple[str, str]]
    commitments: frozenset[str]
    privacy_unit_names: tuple[str, ...]

    @property
    def budget_lineage_id(self) -> str:
        """Id of the lineage that pays for every data set; empty before the first data set."""
        return next(iter(self.lineage_id_by_dataset.values()), "")


@dataclass(frozen=True, slots=True)
class _ChargedDigests:
    """Keyed digests of one data set's charged units and record contents.

    Attributes:
        commitments: Commitments to the charged snapshots that the digests come from.
        units_and_contents: Digests of privacy units and of record contents, in one set.
    """

    commitments: frozenset[str]
    units_and_contents: frozenset[bytes]


def read_budget_history(ledger: Ledger) -> BudgetHistory:
    """Return the data sets, caps, commitments and units on a ledger and on its predecessors."""
    lineages: dict[str, str] = {}
    caps: dict[str, tuple[str, str]] = {}
    commitments: set[str] = set()
    units: dict[str, None] = {}
    for seq in range(ledger.size):
        entry = entries.decode(ledger.entry_bytes(seq))
        if isinstance(entry, Genesis) and entry.predecessor is not None:
            for spend in entry.predecessor.spends:
                lineages |= dict.fromkeys(spend.names, spend.lineage)
                caps[spend.lineage] = spend.cap_epsilon, spend.cap_delta
                commitments |= {*spend.commitments}
        elif isinstance(entry, Dataset):
            lineages[entry.name] = entry.lineage
            caps[entry.lineage] = entry.cap_epsilon, entry.cap_delta
        elif isinstance(entry, Charge):
            commitments.add(entry.commitment)
            units[entry.guarantee.unit] = None
    return BudgetHistory(lineages, caps, frozenset(commitments), tuple(units))


def register_dataset_version(ledger: Ledger, config: ClientConfig, commitment: str) -> None:
    """Register the current version of the plant's data set on the ledger.

    Raises:
        ConfigError: ``client.yaml`` names another cap than the ledger.
    """
    record = DatasetRegistration(
        name=config.data.name,
        commitment=commitment,
        cap_epsilon=config.privacy.cap_epsilon,
        cap_delta=config.privacy.cap_delta,
    )
    if ledger.dataset_commitment(config.data.name) is None:
        past = read_budget_history(ledger)
        if config.data.name not in past.lineage_id_by_dataset and past.budget_lineage_id:
            first_dataset = next(iter(past.lineage_id_by_dataset))
            record = dataclasses.replace(record, continued_dataset=first_dataset)
    ledger.register_dataset(record)


def record_charged_units(home: ClientHome, history: BudgetHistory) -> None:
    """Store keyed digests of the units and contents of all charged snapshots, to outlive them."""
    for snapshot in snapshots.load_all_snapshots(home):
        name, commitment = snapshot.manifest.dataset, snapshot.manifest.commitment
        path = home.charged_units / f"{canonical.sha256_hex(name.encode('utf-8'))[:32]}.npz"
        former = _read_charged_digests(path)
        if commitment not in history.commitments or commitment in former.commitments:
            continue
        records = snapshot.records()
        digests = (
            former.units_and_contents | _digest_set(records.contents) | _digest_set(records.units)
        )
        home.charged_units.mkdir(mode=0o700, exist_ok=True)
        _write_charged_digests(path, _ChargedDigests(former.commitments | {commitment}, digests))


def read_charged_digests(home: ClientHome) -> frozenset[bytes]:
    """Return the keyed digests of all units and contents that were ever charged."""
    files = map(_read_charged_digests, home.charged_units.glob("*.npz"))
    return frozenset().union(*(file.units_and_contents for file in files))


def check_budget_terms(config: ClientConfig, history: BudgetHistory) -> None:
    """Check that cap and privacy unit in ``client.yaml`` are those of the budget.

    Raises:
        ConfigError: ``client.yaml`` names another cap or unit than the ledger.
    """
    unit = config.data.unit_column or RECORD_UNIT
    check_same_privacy_unit(config.data.name, unit, history.privacy_unit_names)
    policy = config.privacy.cap_epsilon, config.privacy.cap_delta
    cap = history.cap_by_lineage.get(history.budget_lineage_id, policy)
    if cap != policy:
        raise ConfigError(
            f"data set {config.data.name!r}: cap ({', '.join(policy)}), but its budget has"
            f" ({', '.join(cap)}) on the ledger; a cap does not change"
        )


def _read_charged_digests(path: Path) -> _ChargedDigests:
    """Read the stored digests of a data set's charged units; empty if there is no file."""
    if not path.is_file():
        return _ChargedDigests(frozenset(), frozenset())
    data = atomic.read_bytes(path, limit=_FILE_BYTES_LIMIT)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            commitments = frozenset(str(commitment) for commitment in file["commitments"])
            digests = file["digests"]
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise VerificationError(f"{path}: damaged: {error}; restore a copy") from error
    return _ChargedDigests(commitments, _digest_set(digests))


def _write_charged_digests(path: Path, charged: _ChargedDigests) -> None:
    rows = b"".join(sorted(charged.units_and_contents))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        commitments=np.array(sorted(charged.commitments)),
        digests=np.frombuffer(rows, dtype=np.uint8).reshape(-1, DIGEST_BYTES),
    )
    atomic.write_private_bytes(path, buffer.getvalue())


def _digest_set(digests: Digests) -> frozenset[bytes]:
    return frozenset(bytes(row) for row in digests)
