"""Ledger: log of charges and releases, with the budgets that pay for them.

Order of steps for a release: ``charge`` → draw noise → ``record_release`` (entry and released bytes
in one transaction) → ``request_cosignature`` → send ``released_bytes`` with ``inclusion_proof``.
After a crash between charge and release the charge is open, and repeating the request completes it,
since nothing was stored or sent. After a crash that follows the release the stored bytes are sent
again. A charge is never refunded.
"""

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path

from wg_core.errors import BudgetExceeded, ConfigError, RefusedError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import database, entries
from wg_core.ledger.charge_parts import BudgetState, Use
from wg_core.ledger.charging import RECORD_UNIT, ChargeRequest
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.cosigned import CosignedLog
from wg_core.ledger.entries import Dataset, Release
from wg_core.ledger.lineage import ChargeState, LineageState
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

Accountant = Callable[[tuple[PrivacyEvent, ...], float], float]  # (events, delta) to epsilon

_ROUND_UP_CONTEXT = Context(prec=12, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRegistration:
    """Data set to be registered, with the cap of its budget.

    Attributes:
        name: Name on the ledger.
        commitment: Keyed commitment to the content (``commitment.commit_to_data``), hex.
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        continued_dataset: Name of a registered data set whose budget this one continues; empty if
            its own name or content is registered, or if it is new.
        inherited_datasets: Names of other registered data sets whose records this one contains; it
            takes over their spending.
    """

    name: str
    commitment: str
    cap_epsilon: str
    cap_delta: str
    continued_dataset: str = ""
    inherited_datasets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedCharge:
    """Charge for one release on the ledger.

    Attributes:
        seq: Index of the charge entry.
        is_open: True if the release is not made yet; if False, ``Ledger.released_bytes`` has it.
        is_new: True if the call that returned this object charged the budget.
    """

    seq: int
    request_id: str
    is_open: bool
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class LedgerRelease:
    """Release on the ledger: indices of its entry and charge entry, SHA-256 (hex) of its bytes."""

    seq: int
    charge_seq: int
    payload_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSpending:
    """Privacy spending of the lineage that a data set belongs to.

    Attributes:
        dataset_name: Name of the data set.
        lineage_id: ID of the lineage, hex.
        composed_events: One event with the composed cost of all charges; empty without charges.
        open_charge_count: Number of charges without a release.
        epsilon: Composed epsilon at ``cap_delta``.
        cap_epsilon: Epsilon of the cap, decimal string.
        cap_delta: Delta of the cap, decimal string.
    """

    dataset_name: str
    lineage_id: str
    composed_events: tuple[PrivacyEvent, ...]
    charge_count: int
    open_charge_count: int
    epsilon: float
    cap_epsilon: str
    cap_delta: str


@functools.lru_cache(maxsize=8)
def _compose_epsilon(events: tuple[PrivacyEvent, ...], delta: float) -> float:
    from wg_core.privacy import accounting

    return accounting.composed_epsilon(events, delta)


class Ledger(CosignedLog):
    """Open ledger: a log of data sets, charges and releases.

    A context manager, not to be shared between threads.
    """

    accountant: Accountant = staticmethod(_compose_epsilon)  # Composes events to epsilon at a delta

    def dataset_commitment(self, dataset: str) -> str | None:
        """Return the commitment of a data set; None if it is not registered."""
        dataset_state = self._state.datasets.get(dataset)
        return dataset_state.commitment if dataset_state else None

    def find_charge(
        self, dataset: str, *, request_id: str | None = None, fingerprint: str | None = None
    ) -> RecordedCharge | None:
        """Return a data set's charge by request id, else by fingerprint; None if there is none."""
        state = self._state
        charge_state: ChargeState | None = None
        if request_id is not None:
            charge_state = state.charge_of_request(dataset, request_id)
        if charge_state is None and fingerprint is not None:
            charge_state = state.charge_with_fingerprint(fingerprint)
        if charge_state is None:
            return None
        return RecordedCharge(charge_state.seq, charge_state.request_id, charge_state.is_open)

    def read_spending(self, dataset: str) -> LineageSpending:
        """Return the privacy spending of a data set's lineage.

        Raises:
            ConfigError: The data set is not registered.
        """
        state = self._state
        lineage = state.lineage_by_id(self._registered_dataset(dataset).lineage)
        return LineageSpending(
            dataset_name=dataset,
            lineage_id=lineage.lineage_id,
            composed_events=lineage.composed_events(),
            charge_count=lineage.charge_count,
            open_charge_count=sum(
                state.lineage_by_id(c.lineage_id) is lineage for c in state.open_charges()
            ),
            epsilon=self.accountant(lineage.composed_events(), float(lineage.cap_delta)),
            cap_epsilon=lineage.cap_epsilon,
            cap_delta=lineage.cap_delta,
        )

    def released_bytes(self, charge_or_request: int | str) -> bytes | None:
        """Return the released bytes of a charge, by its index or request id; None if not released.

        Raises:
            VerificationError: The stored bytes are not those of the RELEASE entry.
        """
        charge_state = self._find_charge_state(charge_or_request)
        if charge_state is None or charge_state.is_open:
            return None
        with database.translate_sqlite_errors(self._path):
            query = "select payload from outbox where charge = ?"
            row = self._db.execute(query, (charge_state.seq,)).fetchone()
        if row is None or canonical.sha256_hex(row[0]) != charge_state.payload_sha256:
            raise VerificationError(
                f"{self._path}: outbox of charge {charge_state.seq} is missing or damaged; it was "
                "charged and cannot be sent again"
            )
        return bytes(row[0])

    def find_release(self, charge_or_request: int | str) -> LedgerRelease | None:
        """Return the RELEASE entry of a charge; None if the charge is open or unknown."""
        charge = self._find_charge_state(charge_or_request)
        if charge is None or charge.release_seq is None:
            return None
        return LedgerRelease(charge.release_seq, charge.seq, charge.payload_sha256)

    def register_dataset(self, dataset: DatasetRegistration) -> int:
        """Register a data set, or its changed content; return the index of its DATASET entry.

        A data set whose name or content is already on the ledger stays in the same lineage, with
        all its spending: a new name does not create a new budget. If the name belongs to one
        lineage and the content to another, the two are merged, and the spending of both counts.
        Nothing is written if an equal entry exists.

        Raises:
            ConfigError: The lineage has another cap, or the data set that is continued or inherited
                is not registered.
        """
        with self._write_lock() as state:
            dataset_state = state.datasets.get(dataset.name)
            bound = state.lineages_of_dataset(dataset.name, dataset.commitment)
            sources = [*map(self._find_lineage_by_name, dataset.inherited_datasets), *bound]
            target: LineageState | None = None
            if dataset.continued_dataset:
                target = self._find_lineage_by_name(dataset.continued_dataset)
            elif sources:
                target = bound[0] if bound else sources[0]
            merged_ids = {x.lineage_id for x in sources if x is not target}
            cap = (dataset.cap_epsilon, dataset.cap_delta)
            for lineage in (target, *sources):
                if lineage and (lineage.cap_epsilon, lineage.cap_delta) != cap:
                    raise ConfigError(
                        f"data set {dataset.name!r}: cap ({', '.join(cap)}), but its lineage "
                        f"{lineage.lineage_id} has ({lineage.cap_epsilon}, {lineage.cap_delta}) on"
                        " the ledger; a cap does not change"
                    )
            if (
                dataset_state is not None
                and dataset_state.commitment == dataset.commitment
                and target is not None
                and state.lineage_by_id(dataset_state.lineage) is target
                and not merged_ids
            ):
                return dataset_state.head.seq
            entry = Dataset(
                head=self._new_header(entries.DATASET_KIND),
                name=dataset.name,
                commitment=dataset.commitment,
                lineage=(
                    target.lineage_id if target else entries.lineage_id(state.origin, state.size)
                ),
                inherits=tuple(sorted(merged_ids)),
                cap_epsilon=dataset.cap_epsilon,
                cap_delta=dataset.cap_delta,
                refresh_rule=entries.NEVER_RENEWED_RULE,
            )
            return self._append_entry(entry)

    def charge(self, request: ChargeRequest) -> RecordedCharge:
        """Charge a budget for one release, before noise is drawn.

        A repeated request, or a request for the same release of the same data, is not charged
        again: the existing charge is returned, which is open if a crash prevented the release.

        Raises:
            BudgetExceeded: The cap of the lineage does not allow the charge; nothing is written.
            RefusedError: An open charge for another release has the same request id.
            ConfigError: The data set is not registered, its budget protects another unit, or the
                ledger was opened for reading.
        """
        self.accountant((), 0.5)  # loads the accountant before the lock is taken
        with self._write_lock() as state:
            dataset = self._registered_dataset(request.dataset)
            fingerprint = request.fingerprint(dataset.commitment)
            earlier = state.charge_of_request(request.dataset, request.request_id)
            if earlier is not None and earlier.is_open and earlier.fingerprint != fingerprint:
                raise RefusedError(
                    f"request {request.request_id!r} was charged (entry {earlier.seq}) for other "
                    "data or another guarantee; that charge is burned, ask with a new id"
                )
            earlier = earlier or state.charge_with_fingerprint(fingerprint)
            if earlier is not None:
                return RecordedCharge(earlier.seq, earlier.request_id, earlier.is_open)
            lineage = state.lineage_by_id(dataset.lineage)
            check_same_privacy_unit(request.dataset, request.guarantee.unit, lineage.privacy_units)
            before, after = self._epsilon_before_and_after(lineage, request.event)
            if not after <= float(lineage.cap_epsilon):
                raise BudgetExceeded(
                    f"data set {request.dataset!r}: epsilon {after:.4g} after this release, the "
                    f"cap is {lineage.cap_epsilon} at delta {lineage.cap_delta} "
                    f"({before:.4g} is spent)"
                )
            entry = self._make_charge_entry(request, dataset, lineage, (before, after))
            self._step("charge:begun")
            seq = self._append_entry(entry)
            self._step("charge:inserted")
        self._step("charge:committed")
        return RecordedCharge(seq, request.request_id, is_open=True, is_new=True)

    def record_release(self, charge_seq: int, payload: bytes) -> LedgerRelease:
        """Store the bytes of a charge's only release, and record their hash on the ledger.

        Raises:
            RefusedError: The charge already has another release, which must be sent
                (``released_bytes``).
            ConfigError: The charge does not exist, or the ledger was opened for reading.
        """
        digest = canonical.sha256_hex(payload)
        with self._write_lock() as state:
            charge_state = state.charges.get(charge_seq)
            if charge_state is None:
                raise ConfigError(f"{self._path}: entry {charge_seq} is no charge")
            if charge_state.release_seq is not None:
                if charge_state.payload_sha256 != digest:
                    raise RefusedError(
                        f"charge {charge_seq} has its release already (entry"
                        f" {charge_state.release_seq}); one charge covers one release"
                    )
                return LedgerRelease(charge_state.release_seq, charge_seq, digest)
            self._step("release:begun")
            seq = self._append_entry(
                Release(
                    head=self._new_header(entries.RELEASE_KIND),
                    charge=charge_seq,
                    request_id=charge_state.request_id,
                    payload_sha256=digest,
                    payload_size=len(payload),
                )
            )
            self._step("release:inserted")
            self._db.execute("insert into outbox values (?, ?)", (charge_seq, payload))
            self._step("release:stored")
        self._step("release:committed")
        return LedgerRelease(seq, charge_seq, digest)

    def record_decision(self, make_decision: Callable[..., entries.Decision]) -> int:
        """Append a decision to the ledger; return the index of its entry.

        ``make_decision`` returns the decision, given its entry header as ``head``.

        Raises:
            VerificationError: The request was charged before the decision.
        """
        with self._write_lock():
            return self._append_entry(make_decision(head=self._new_header(entries.DECISION_KIND)))

    def record_reuse(self, charge_seq: int, use: Use) -> int | None:
        """Record another use of a release; return the entry's index, None if already recorded.

        Raises:
            VerificationError: The charge has no release.
        """
        charge_entry = entries.decode(self.entry_bytes(charge_seq))
        words = (use.purpose, use.recipient)
        with self._write_lock() as state:
            if (charge_seq, *words) in state.reuses or getattr(charge_entry, "use", None) == use:
                return None
            head = self._new_header(entries.REUSE_KIND)
            return self._append_entry(
                entries.Reuse(head=head, charge=charge_seq, purpose=words[0], recipient=words[1])
            )

    def record_statement(
        self,
        *,
        dataset_name: str,
        recipient: str,
        encoder_sha256: str,
        labels: tuple[str, ...],
        data_sheet: DataSheet | None,
    ) -> int:
        """Record a plant's public statement on the ledger; return the entry's index.

        A statement equal to the newest one to the same recipient is not recorded again, so that
        repeated requests do not make the log grow.

        Args:
            recipient: Recipient of the statement.
            encoder_sha256: SHA-256 of the public feature encoder, hex.
            labels: Public label domain, in the order of class rows.
            data_sheet: Data sheet of the plant's machine; None: not stated.
        """
        with self._write_lock() as state:
            statement = entries.PublicStatement(
                head=self._new_header(entries.STATEMENT_KIND),
                site=state.site,
                dataset=dataset_name,
                recipient=recipient,
                encoder=encoder_sha256,
                labels=labels,
                data_sheet=data_sheet,
            )
            newest = state.statements.get((dataset_name, recipient))
            if newest is not None and replace(newest, head=statement.head) == statement:
                return newest.head.seq
            return self._append_entry(statement)

    def newest_decision(self, dataset: str, request_id: str) -> entries.Decision | None:
        """Return the newest decision of a person on a request; None if there is none."""
        return self._state.decisions.get((dataset, request_id))

    def export(self, path: Path) -> None:
        """Export the ledger to a ``.wgl`` file, with everything that a verifier needs."""
        from wg_core.ledger import export

        export.write_export(self._path, path)

    # --- inside

    def _make_charge_entry(
        self,
        request: ChargeRequest,
        dataset: Dataset,
        lineage: LineageState,
        epsilon_before_and_after: tuple[float, float],
    ) -> entries.Charge:
        anchor = self._newest_cosigned_checkpoint()
        before, after = map(round_up_decimal, epsilon_before_and_after)
        return entries.Charge(
            head=self._new_header(entries.CHARGE_KIND),
            request_id=request.request_id,
            dataset=request.dataset,
            commitment=dataset.commitment,
            lineage=lineage.lineage_id,
            fingerprint=request.fingerprint(dataset.commitment),
            event=request.event,
            epsilon=request.epsilon,
            delta=request.delta,
            guarantee=request.guarantee,
            mechanism=request.mechanism,
            implementation=request.implementation,
            use=request.use,
            state=BudgetState(
                cap_epsilon=lineage.cap_epsilon,
                cap_delta=lineage.cap_delta,
                refresh_rule=lineage.refresh_rule,
                charges_before=lineage.charge_count,
                mu_squared_before=str(lineage.mu_squared_units),
                mu_squared_after=str(lineage.mu_squared_units + int(request.event.mu_squared)),
                epsilon_before=before,
                epsilon_after=after,
                anchored_size=anchor.size if anchor else 0,
                anchored_root=anchor.root.hex() if anchor else "",
            ),
        )

    def _newest_cosigned_checkpoint(self) -> Checkpoint | None:
        row = self._db.execute(
            "select note from heads where cosigned & ? order by size desc limit 1",
            (database.CheckpointFlags.COSIGNED,),
        ).fetchone()
        return checkpoints.decode(row[0])[0] if row else None

    def _epsilon_before_and_after(
        self, lineage: LineageState, event: PrivacyEvent
    ) -> tuple[float, float]:
        delta = float(lineage.cap_delta)
        before, after = lineage.composed_events(), lineage.composed_events(event)
        return self.accountant(before, delta), self.accountant(after, delta)

    def _registered_dataset(self, name: str) -> Dataset:
        dataset_state = self._state.datasets.get(name)
        if dataset_state is None:
            raise ConfigError(f"data set {name!r} is not registered on the ledger")
        return dataset_state

    def _find_lineage_by_name(self, name: str) -> LineageState:
        state = self._state
        if name in state.datasets:
            return state.lineage_by_id(state.datasets[name].lineage)
        for lineage in state.lineages.values():
            if name in (lineage.lineage_id, *lineage.dataset_names):
                return lineage
        raise ConfigError(f"lineage: no data set {name!r} on the ledger")

    def _find_charge_state(self, charge_or_request: int | str) -> ChargeState | None:
        state = self._state
        if isinstance(charge_or_request, int):
            return state.charges.get(charge_or_request)
        matches = [c for c in state.charges.values() if c.request_id == charge_or_request]
        return matches[-1] if matches else None


def check_same_privacy_unit(dataset: str, unit: str, earlier_units: Collection[str]) -> None:
    """Check that a charge protects the same privacy unit as the budget's earlier charges.

    A budget spent on two kinds of units would protect neither: a unit of one kind, such as a part,
    may have many of the other, such as records.

    Raises:
        ConfigError: Earlier charges protect another unit.
    """
    if not earlier_units or unit in earlier_units:
        return
    before = next(iter(earlier_units))
    column = "null" if before == RECORD_UNIT else before
    raise ConfigError(
        f"data set {dataset!r}: its budget was spent on {before!r} as the protected unit, now it is"
        f" {unit!r}; the unit of a budget does not change: set data.unit_column in client.yaml back"
        f" to {column}, and freeze"
    )


def round_up_decimal(value: float) -> str:
    """Return a number as a decimal string of at most 12 digits, rounded up."""
    number = _ROUND_UP_CONTEXT.create_decimal(Decimal(value))
    return format(number.normalize(_ROUND_UP_CONTEXT), "f")
