"""Recordings of a data set, where its files or arrays name them.

Records of one recording are alike. If a recording is not one unit, cross-validation trains on
neighbours of the records that it tests on: accuracies and sure calls are then too optimistic.
"""

import zipfile
from pathlib import Path

from wg_client.data.intervals import FILE, INTERVAL
from wg_client.data.sensor_log import SUFFIXES
from wg_common.language import Text, text
from wg_core.site.reading import ReadingConfig

GROUP = "group"  # Name of an array of a .npz file


def recording_unit(path: Path, reading: ReadingConfig) -> str:
    """Return the ``--unit-column`` that makes each recording a unit; empty if nothing names them.

    Each sensor log is a recording if there are several, and each interval if a table lists them; in
    a ``.npz`` file an array ``group`` names the recordings.
    """
    if reading.log is not None:
        if reading.log.intervals is not None:
            return INTERVAL
        several = sum(file.suffix.lower() in SUFFIXES for file in path.rglob("*")) > 1
        return FILE if several else ""
    if path.suffix == ".npz" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return GROUP if f"{GROUP}.npy" in archive.namelist() else ""
    return ""


def hint(unit: str) -> Text:
    """Return a hint that the unit of recordings was not named."""
    return text(
        "records of one {unit} are alike, and each counts by itself: accuracies here are too good,"
        " and a release protects one record, not the recording. 'wg-client init --unit-column"
        " {unit}' makes each recording one unit",
        unit=unit,
    )
