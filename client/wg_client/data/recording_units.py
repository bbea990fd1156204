"""Recordings of a data set, which should be its privacy units, and hints if they are not.

Records of one recording are alike. If a recording is not one unit, cross-validation trains on
neighbours of the records that it tests on: accuracies are too high, and too many calls are sure.
"""

import zipfile
from pathlib import Path

from wg_client.data.label_intervals import FILE_UNIT, INTERVAL_UNIT, TIME_RUN_UNIT
from wg_client.data.log_reader import LogReader, time_run_indices
from wg_client.data.sensor_windows import list_logs
from wg_common.language import Text, text
from wg_common.modalities.images import Images
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError
from wg_core.site.reading_config import ReadingConfig

GROUP_ARRAY_NAME = "group"  # Name of an array of a .npz file


def find_recording_unit_column(path: Path, reading: ReadingConfig) -> str:
    """Return the ``--unit-column`` that makes each recording a unit; empty if nothing names them.

    Each sensor log is a recording if there are several, and each interval if a table lists them;
    gaps in its times divide a single log. In a ``.npz`` file an array ``group`` names the
    recordings.
    """
    if reading.log is not None:
        return (
            INTERVAL_UNIT
            if reading.log.intervals is not None
            else _recording_unit_column_of_logs(path, reading)
        )
    if path.suffix == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return GROUP_ARRAY_NAME if f"{GROUP_ARRAY_NAME}.npy" in archive.namelist() else ""
    return ""


def _recording_unit_column_of_logs(path: Path, reading: ReadingConfig) -> str:
    """Return the unit that makes each recording in sensor logs a privacy unit; empty if none."""
    logs = LogReader(reading)
    try:
        files = list_logs(path, None)
        if len(files) != 1 or logs.log.time is None:
            return FILE_UNIT if len(files) > 1 else ""
        return (
            TIME_RUN_UNIT
            if (time_run_indices(logs.read(files[0], allow_missing_texts=True), logs.log) > 0).any()
            else ""
        )
    except DataError:
        return ""


def unnamed_part_hint(path: Path, reading: ReadingConfig, modality: str) -> Text | None:
    """Return a hint that no column names the part (workpiece) that each record shows.

    None for texts, for sensor logs, and if ``find_recording_unit_column`` finds recordings.
    """
    if modality not in (Images.name, Windows.name) or reading.log is not None:
        return None
    if find_recording_unit_column(path, reading):
        return None
    return text(
        "several records of one part resemble each other. If you have such records, name the part"
        " in a column of records.csv and repeat 'wg-client init' with --unit-column COLUMN:"
        " otherwise accuracies are too optimistic, and more defective records pass than stated"
    )


def unnamed_recording_hint(unit: str) -> Text:
    """Return a hint that recordings could be, but are not, declared as the privacy unit."""
    return text(
        "records of one {unit} resemble each other, but each counts by itself: "
        "accuracies here are too optimistic, and a release protects one record, not the"
        " recording. 'wg-client init --unit-column {unit}' makes each recording one "
        "unit",
        unit=unit,
    )
