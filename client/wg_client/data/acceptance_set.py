"""Acceptance set: labelled records that evaluate models, and are never released or trained on.

``data.acceptance`` in ``client.yaml`` names a folder of them, or a share of the data set that
``freeze`` reserves. They are encoded, and fixed by their hash in the snapshot. A record whose
content or privacy unit was released or trained on before never evaluates a model: where a share is
reserved, the record stays in the data set; in a folder, it is left out and listed.

*Guarantee.* Whether a unit is reserved depends only on its own keyed digest and history, and on
public settings, never on the number of records of a class: adding or removing one record moves no
other record, so the sensitivity of a release is the same as without the reserved records. The owner
must therefore check that every class keeps enough labels (``freeze`` prints the counts).
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.near_duplicates import find_near_duplicates
from wg_client.data.record_inspection import Inspection, inspect_records
from wg_core import atomic
from wg_core.errors import DataError, VerificationError
from wg_core.release import budget_history, encoding_failures
from wg_core.release.encoding import RecordEncoder
from wg_core.release.freeze import frozen_records
from wg_core.release.query_answers import open_ledger
from wg_core.site import locks
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.site.reading_config import RECORDS_PER_CHUNK
from wg_core.snapshot import DIGEST_BYTES, FrozenRecords, RecordListing, UnusableItem
from wg_core.wire import canonical

_TRAINED_DIGESTS_FILE = "trained.digests"
_TRAINED_DIGESTS_BYTES_LIMIT = 4 << 30
_LISTING_BYTES_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AcceptanceSet:
    """Acceptance set of a snapshot, with ``a`` records.

    Attributes:
        features: Local features, float32 ``[a, D]``.
        records: Labels, keyed digests and rows of the records.
        listing: Names of the records, the folder or file that holds them, and near-duplicates.
        encoder_failures: Records on which the encoder failed, ``[a]``; their features are zeros.
    """

    features: NDArray[np.float32]
    records: FrozenRecords
    listing: RecordListing
    encoder_failures: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def independent_rows(self) -> NDArray[np.intp]:
        """Rows of one record per privacy unit, since error bounds assume independent records."""
        order = np.lexsort((self.records.contents[:, 0], self.records.contents[:, 1]))
        firsts = np.unique(self.records.units[order], axis=0, return_index=True)[1]
        return np.sort(order[firsts])

    def encode(self) -> bytes:
        """Encode the acceptance set as bytes for the snapshot."""
        buffer = io.BytesIO()
        listing = np.frombuffer(canonical.encode(self.listing), dtype=np.uint8)
        arrays = self.records.arrays() | {"failures": self.encoder_failures}
        np.savez(buffer, features=self.features, listing=listing, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


def decode_acceptance_set(data: bytes, source_name: str) -> AcceptanceSet:
    """Decode the acceptance set from a snapshot's bytes; ``source_name`` names them in errors.

    Raises:
        VerificationError: The bytes are not an acceptance set.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            records = FrozenRecords(**{name: file[name] for name in FrozenRecords.__slots__})
            features, listing = file["features"], file["listing"].tobytes()
            no_failures = np.zeros(len(features), dtype=bool)  # 0.1.0 wrote none
            failures = file["failures"] if "failures" in file.files else no_failures
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise VerificationError(f"{source_name}: damaged: {error}") from error
    return AcceptanceSet(
        features=features,
        records=records,
        listing=canonical.decode(
            RecordListing, listing, input_name=source_name, max_bytes=_LISTING_BYTES_LIMIT
        ),
        encoder_failures=failures,
    )


def split_acceptance_set(
    home: ClientHome, config: ClientConfig, inspection: Inspection, encoder: RecordEncoder
) -> tuple[Inspection, AcceptanceSet | None]:
    """Split an inspected data set into records for release and training, and the acceptance set.

    Records that the acceptance set may not use are listed in the problems of the returned
    inspection.

    Raises:
        DataError: The acceptance folder cannot be read, a record in it cannot be used, or all
            records of the share were released or trained on.
    """
    setting = config.data.acceptance
    if setting is None:
        return inspection, None
    secret = home.load_site_secret()
    met_digests = _used_digests(home)
    all_records = frozen_records(config, inspection, secret)
    if isinstance(setting, str):
        main, path = inspection, setting
        spare = _inspect_acceptance_folder(config, Path(setting), encoder.modality)
    else:
        aside = _reserved_mask(config, all_records, setting, met_digests)
        main, path = inspection.select_rows(np.flatnonzero(~aside).tolist()), config.data.path
        spare = inspection.select_rows(np.flatnonzero(aside).tolist())
    records = frozen_records(config, spare, secret)
    met_digests |= _record_digests(frozen_records(config, main, secret))
    fresh = np.array(
        [
            bytes(content) not in met_digests and bytes(unit) not in met_digests
            for content, unit in zip(records.contents, records.units, strict=True)
        ],
        dtype=bool,
    )
    labelled = records.labels >= 0
    names = spare.data.names
    problems = [
        UnusableItem(
            name=names[row], reason=_USED_BEFORE_REASON if labelled[row] else _UNLABELLED_REASON
        )
        for row in np.flatnonzero(~(fresh & labelled))
    ]
    if isinstance(setting, str) and not labelled.any():
        raise DataError(f"data.acceptance: {path}: no record has a label; none can judge a model")
    chosen_records = spare.select_rows(np.flatnonzero(fresh & labelled).tolist())
    features, failures = _encode_and_mark_failures(chosen_records, encoder)
    acceptance = AcceptanceSet(
        features=features,
        encoder_failures=failures,
        records=frozen_records(config, chosen_records, secret),
        listing=RecordListing(
            path=path,
            names=chosen_records.data.names,
            duplicates=find_near_duplicates(chosen_records, main),
        ),
    )
    return replace(main, problems=(*main.problems, *problems)), acceptance


_USED_BEFORE_REASON = (
    "not in the acceptance set: it, or its privacy unit, is in the data set, was released, or a"
    " model was trained on it"
)
_UNLABELLED_REASON = "not in the acceptance set: it has no label"
LEFT_OUT_REASONS = frozenset((_USED_BEFORE_REASON, _UNLABELLED_REASON))


def _reserved_mask(
    config: ClientConfig,
    records: FrozenRecords,
    reserved_share: float,
    used_digests: frozenset[bytes],
) -> NDArray[np.bool_]:
    """Return a mask ``[n]`` of the records to reserve for the acceptance set.

    Each privacy unit is decided by its own digest and earlier use alone.

    Raises:
        DataError: All records of the share were released or trained on before.
    """
    aside = _unit_hash_fractions(records) < reserved_share
    aside &= (records.labels >= 0) | (config.data.unit_column is not None)
    fresh = np.array([bytes(unit) not in used_digests for unit in records.units], dtype=bool)
    if aside.any() and not (aside & fresh).any():
        raise DataError(
            f"data.acceptance: {reserved_share}: all records of this share were released or trained"
            " on, and cannot judge a model; name a folder of other records, or add new records"
        )
    return np.asarray(aside & fresh, dtype=np.bool_)


def mark_as_trained_on(home: ClientHome, records: FrozenRecords) -> None:
    """Store digests of a model's training records, which must not evaluate any model from now on.

    Raises:
        StorageError: The file cannot be written.
    """
    digests = _trained_on_digests(home) | _record_digests(records)
    home.charged_units.mkdir(mode=0o700, exist_ok=True)
    atomic.write_bytes(
        home.charged_units / _TRAINED_DIGESTS_FILE,
        b"".join(sorted(digests)),
        mode=atomic.PRIVATE_FILE_MODE,
    )


def _inspect_acceptance_folder(config: ClientConfig, path: Path, modality: str) -> Inspection:
    if not path.exists():
        raise DataError(f"data.acceptance: {path}: not there; a share is a number, such as 0.2")
    spare = inspect_records(
        survey_dataset(
            path,
            SurveyOptions(
                labels=config.data.labels,
                unit_column=config.data.unit_column,
                modality=modality,
                reading=config.data.reading,
            ),
        ),
        has_units=config.data.unit_column is not None,
    )
    for problem in spare.problems:
        raise DataError(f"data.acceptance: {path}: {problem.name}: {problem.reason}")
    return spare


def _unit_hash_fractions(records: FrozenRecords) -> NDArray[np.float64]:
    """Return a number in [0, 1) per record, derived only from its privacy unit's keyed digest."""
    words = np.ascontiguousarray(records.units[:, :8]).view(">u8")
    return np.asarray(words.ravel() / 2.0**64, dtype=np.float64)


def _encode_and_mark_failures(
    inspection: Inspection, encoder: RecordEncoder
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return local features ``[a, D]``, and the records on which the encoder failed, ``[a]``."""
    parts = [np.zeros((0, encoder.local_dimension), dtype=np.float32)]
    failures = [np.zeros(0, dtype=bool)]
    for start in range(0, len(inspection.data), RECORDS_PER_CHUNK):
        rows = range(start, min(start + RECORDS_PER_CHUNK, len(inspection.data)))
        read = [inspection.read(row) for row in rows]
        for row, (_, digest) in zip(rows, read, strict=True):
            if digest != inspection.digests[row]:
                raise DataError(f"{inspection.data.names[row]}: changed while it was frozen")
        part, failure_mask = encoding_failures.encode_or_zero(
            encoder.encode_local, encoder.local_dimension, [record for record, _ in read]
        )
        parts.append(part)
        failures.append(failure_mask)
    return np.concatenate(parts), np.concatenate(failures)


def _used_digests(home: ClientHome) -> frozenset[bytes]:
    """Return keyed digests of all contents and units that were released or trained on."""
    with locks.lock_ledger(home), open_ledger(home) as ledger:
        budget_history.record_charged_units(home, budget_history.read_budget_history(ledger))
    return budget_history.read_charged_digests(home) | _trained_on_digests(home)


def _trained_on_digests(home: ClientHome) -> frozenset[bytes]:
    path = home.charged_units / _TRAINED_DIGESTS_FILE
    if not path.is_file():
        return frozenset()
    data = atomic.read_bytes(path, limit=_TRAINED_DIGESTS_BYTES_LIMIT)
    return frozenset(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))


def _record_digests(records: FrozenRecords) -> frozenset[bytes]:
    return frozenset(bytes(row) for rows in (records.contents, records.units) for row in rows)
