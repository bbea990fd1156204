"""Which records of a data set lie in one recording, where its files or arrays say so.

Records of one recording are alike. Where they are not one unit, cross-validation learns from the
neighbours of what it judges: accuracies and sure calls are then too good.
"""

import zipfile
from pathlib import Path

from wg_client.data.intervals import FILE, INTERVAL
from wg_client.data.sensor_log import SUFFIXES
from wg_common.language import Text, text
from wg_core.site.reading import ReadingConfig

GROUP = "group"  # Name of an array of a .npz file


def recording_unit(path: Path, reading: ReadingConfig) -> str:
    """Name the unit that is a recording, for ``--unit-column``; empty: nothing says which are.

    Sensor logs are recordings where there are several, and intervals where a table lists them; in a
    ``.npz`` file an array ``group`` names them.
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
    """Remind a person of the unit that was not named."""
    return text(
        "records of one {unit} are alike, and each counts by itself: accuracies here are too good,"
        " and a release protects one record, not the recording. 'wg-client init --unit-column"
        " {unit}' makes each recording one unit",
        unit=unit,
    )
