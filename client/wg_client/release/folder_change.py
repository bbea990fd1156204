"""Comparison of a plant's data folder with its snapshot, for ``wg-client check``. Private.

Files are compared by name, size and date; rows of a table or ``.npz`` file by content, wherever
they stand; labels and privacy units by value. No record is encoded.

Not guaranteed: that an edit of a sensor log's table of intervals is noticed if the table keeps a
date before the freeze.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wg_client.data.acceptance_set import LEFT_OUT_REASONS
from wg_client.data.dataset import DatasetSurvey, SurveyOptions
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.log_reader import log_path_of_window
from wg_client.data.plant_data import PlantData
from wg_client.data.record_inspection import inspect_records
from wg_client.data.sensor_windows import list_logs
from wg_common.language import text
from wg_core.errors import DataError
from wg_core.release.freeze import frozen_records, size_and_mtime_ns
from wg_core.snapshot import FrozenRecords, keyed_unit_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChange:
    """Difference between the data folder and the snapshot.

    Attributes:
        more: Number of files or rows that are new since the snapshot.
        gone: Number of files or rows of the snapshot that are missing now.
        touched: Number of files whose size or date, and of rows whose content, changed.
        label_changes: Number of records with another label or privacy unit than in the snapshot.
        unreadable: Reason why the folder, or its rows by number, cannot be read, or empty.
    """

    more: int = 0
    gone: int = 0
    touched: int = 0
    label_changes: int = 0
    unreadable: str = ""

    @property
    def has_changes(self) -> bool:
        """True if the data folder differs from the snapshot."""
        counts = self.more, self.gone, self.touched, self.label_changes
        return any(counts) or bool(self.unreadable)


_NamesAndRecords = tuple[tuple[str, ...], FrozenRecords]


def compare_data_folder(plant: PlantData, site_secret: bytes) -> FolderChange:
    """Compare the data folder with the snapshot; ``site_secret`` keys the snapshot's digests."""
    config, path = plant.config.data, Path(plant.config.data.path)
    names, records = known_records = _known_records(plant)
    try:
        if config.reading.log is not None:
            return _compare_logs(plant, known_records)
        if names and path.is_file() and (records.stamps == size_and_mtime_ns(path)).all():
            return FolderChange()
        survey = survey_dataset(
            path,
            SurveyOptions(
                labels=config.labels,
                unit_column=config.unit_column,
                modality=plant.data.modality,
                reading=config.reading,
            ),
        )
    except DataError as error:
        return FolderChange(unreadable=str(error))
    compare = _compare_files if survey.data.source_rows is None else _compare_rows
    return compare(plant, known_records, survey, site_secret)


def _known_records(plant: PlantData) -> _NamesAndRecords:
    """Return names and arrays of the snapshot's records and of a share set aside for acceptance."""
    listing, records = plant.snapshot.listing(), plant.snapshot.records()
    acceptance = plant.acceptance_set
    if acceptance is None or acceptance.listing.path != listing.path:
        return listing.names, records
    share = acceptance.records.arrays()
    return listing.names + acceptance.listing.names, FrozenRecords(
        **{name: np.concatenate([array, share[name]]) for name, array in records.arrays().items()}
    )


def _left_out_names(plant: PlantData) -> set[str]:
    listing = plant.snapshot.listing()
    duplicates = {entry.name for entry in listing.duplicates}
    return duplicates | {entry.name for entry in listing.set_aside}


def _compare_files(
    plant: PlantData, known_records: _NamesAndRecords, survey: DatasetSurvey, site_secret: bytes
) -> FolderChange:
    """Compare records that are files with the snapshot, without decoding one."""
    config, data, (names, records) = plant.config.data, survey.data, known_records
    present_names = {
        *data.names,
        *(entry.name for entry in (*survey.problems, *survey.unsupported_files)),
    }
    units, present_units = [b""] * len(names), [b""] * len(data)
    if data.privacy_units is not None:
        column = config.unit_column or ""
        units = [bytes(unit) for unit in records.units]
        present_units = [keyed_unit_digest(site_secret, column, u) for u in data.privacy_units]
    frozen_labels = {*zip(names, units, records.labels.tolist(), strict=True)}
    present_labels = {*zip(data.names, present_units, data.labels.tolist(), strict=True)}
    stamps = {*zip(names, map(tuple, records.stamps.tolist()), strict=True)}
    return FolderChange(
        more=len(present_names - {*names} - _left_out_names(plant)),
        gone=len({*names} - present_names),
        touched=sum(
            size_and_mtime_ns(Path(config.path) / name) != stamp
            for name, stamp in stamps
            if name in present_names
        ),
        label_changes=len({name for name, *_ in frozen_labels - present_labels} & {*data.names}),
    )


def _compare_rows(
    plant: PlantData, known_records: _NamesAndRecords, survey: DatasetSurvey, site_secret: bytes
) -> FolderChange:
    """Compare the rows of a table or ``.npz`` file with the snapshot, by content."""
    config, (names, records) = plant.config, known_records
    set_aside = plant.snapshot.listing().set_aside
    inspection = inspect_records(survey, has_units=config.data.unit_column is not None)
    present_records = frozen_records(config, inspection, site_secret)
    frozen_rows = dict(zip(_contents_units_labels(records), names, strict=True))
    present_rows = dict(
        zip(_contents_units_labels(present_records), inspection.data.names, strict=True)
    )
    missing_rows = frozen_rows.keys() - present_rows.keys()
    new_rows = present_rows.keys() - frozen_rows.keys()
    same_contents = {row[0] for row in missing_rows} & {row[0] for row in new_rows}
    missing_names = {frozen_rows[row] for row in missing_rows if row[0] not in same_contents}
    new_names = {present_rows[row] for row in new_rows if row[0] not in same_contents}
    ineligible_names = {entry.name for entry in set_aside if entry.reason in LEFT_OUT_REASONS}
    new_names -= ineligible_names
    unusable_names = {entry.name for entry in inspection.problems}
    edited_names = missing_names & (new_names | unusable_names)
    unusable_before = len(set_aside) - len(ineligible_names)
    change = FolderChange(
        more=len(new_names - edited_names)
        + max(0, len(unusable_names - edited_names) - unusable_before),
        gone=len(missing_names - edited_names),
        touched=len(edited_names),
        label_changes=len(same_contents),
    )
    places, frozen_places = (
        {*zip(map(bytes, part.contents), part.rows.tolist(), strict=True)}
        for part in (present_records, records)
    )
    if change.has_changes or frozen_places <= places:
        return change
    return FolderChange(unreadable=text("the same rows stand elsewhere in the file"))


def _contents_units_labels(records: FrozenRecords) -> Iterator[tuple[bytes, bytes, int]]:
    for content, unit, label in zip(records.contents, records.units, records.labels, strict=True):
        yield bytes(content), bytes(unit), int(label)


def _compare_logs(plant: PlantData, known_records: _NamesAndRecords) -> FolderChange:
    """Compare sensor logs and their table of intervals with the snapshot, without reading them."""
    path, (names, records) = Path(plant.config.data.path), known_records
    log = plant.config.data.reading.log
    interval_table = None if log is None else log.intervals
    present_logs = set(list_logs(path, interval_table))
    stamp_of_log = {
        log_path_of_window(path, name): (int(size), int(modified_time))
        for name, (size, modified_time) in zip(names, records.stamps, strict=True)
    }
    known_logs = {
        *stamp_of_log,
        *(log_path_of_window(path, name) for name in _left_out_names(plant)),
    }
    touched_count = sum(
        size_and_mtime_ns(file) != stamp
        for file, stamp in stamp_of_log.items()
        if file in present_logs
    )
    gone_count = len(stamp_of_log.keys() - present_logs)
    if interval_table is not None:
        root = path if path.is_dir() else path.parent
        table_time = size_and_mtime_ns(root / interval_table)[1]
        touched_count += table_time // 10**9 > plant.snapshot.manifest.created
        gone_count += not table_time
    return FolderChange(more=len(present_logs - known_logs), gone=gone_count, touched=touched_count)
