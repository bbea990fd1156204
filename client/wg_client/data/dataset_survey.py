"""Survey of a plant's data set before it is used, whatever its layout.

Layouts of a folder::

    DIR/CLASS/**/image.png           label = name of the first folder; "_unlabelled" has none
    DIR/CLASS/**/window.csv          the same layout for another modality
    DIR/records.csv + files          columns file, label and, if named, the unit column; a file of
                                     this name with other columns, beside class folders, is ignored
    DIR/image.png                    no labels at all

Other layouts: one ``.npz`` file (``npz_file``), long sensor logs (``sensor_windows``), and tables
with one record per row (``cell_table``), also as a folder's ``records.csv``.

``survey_dataset`` lists *all* records that cannot be used, each with its reason, for ``wg-client
freeze``. ``load_dataset`` raises on the first of them, for records that are only predicted. The
result for a file depends only on that file and on public settings: adding or removing one file
changes nothing about the others.

Not guaranteed: that a file can be decoded; see ``record_inspection``.
"""

from collections.abc import Sequence
from pathlib import Path

from wg_client.data.cell_table import survey_cell_table
from wg_client.data.class_folders import CONVERSION_ADVICE_BY_SUFFIX, list_folder, survey_folder
from wg_client.data.dataset import (
    DEFAULT_READING_CONFIG,
    DEFAULT_SURVEY_OPTIONS,
    RECORDS_CSV_NAME,
    DatasetSurvey,
    SurveyOptions,
    describe_empty_dataset,
    is_record_file,
)
from wg_client.data.label_table import explain_wrong_table, survey_label_table
from wg_client.data.npz_file import survey_npz
from wg_client.data.sensor_windows import is_sensor_log, survey_logs
from wg_client.data.site_data import SiteData
from wg_common.modalities import record_tables
from wg_core.errors import DataError
from wg_core.site.reading_config import ReadingConfig


def load_dataset(
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    unit_column: str | None = None,
    split: int | None = 0,
    reading: ReadingConfig = DEFAULT_READING_CONFIG,
) -> SiteData:
    """Read a data set in which every record must be usable; files without records are ignored.

    Labels, unit column, split and reading settings are those of ``SurveyOptions``.

    Raises:
        DataError: The data set is missing, damaged or empty, or has an undeclared label; the
            message names the file.
    """
    options = SurveyOptions(labels=labels, unit_column=unit_column, split=split, reading=reading)
    return survey_usable_dataset(path, options).data


def survey_usable_dataset(path: Path, options: SurveyOptions) -> DatasetSurvey:
    """Survey a data set in which every record must be usable; errors as for ``load_dataset``."""
    data_survey = survey_dataset(path, options)
    for problem in data_survey.problems:
        place = path / problem.name if path.is_dir() else path.parent / problem.name
        raise DataError(f"{place}: {problem.reason}")
    if not len(data_survey.data):
        raise DataError(describe_empty_dataset(path, data_survey.unsupported_files))
    return data_survey


def survey_dataset(path: Path, options: SurveyOptions = DEFAULT_SURVEY_OPTIONS) -> DatasetSurvey:
    """Survey a data set without decoding a record.

    Args:
        path: Folder, ``.npz`` file or table.

    Raises:
        DataError: The data set is missing, its table or archive as a whole cannot be read, or no
            record has the modality; the message names it.
    """
    if not path.exists():
        raise DataError(f"{path}: not there")
    unit_column, reading = options.unit_column, options.reading
    if reading.log is not None:
        return survey_logs(path, options)
    if path.is_dir():
        table = path / RECORDS_CSV_NAME
        # A stray file of this name must not hide class folders, or an empty folder.
        entries = list_folder(path)
        folders = any(entry.is_dir() for entry in entries)
        stray = unit_column is None and (
            folders or (options.modality is not None and not any(map(is_record_file, entries)))
        )
        if record_tables.is_record_table(
            table, options.modality if stray else None, reading.text_column
        ):
            return survey_cell_table(table, options)
        if table.is_file() and not (stray and explain_wrong_table(table, unit_column, reading)):
            return survey_label_table(path, options)
        if unit_column is not None:
            raise DataError(
                f"{path}: unit column {unit_column!r} needs a {RECORDS_CSV_NAME} with that column"
            )
        if options.labels is None and [entry.suffix.lower() for entry in entries] == [".xlsx"]:
            raise DataError(
                f"{path}: no folder names a class; a sheet of texts? name the file and its columns:"
                f" --data {entries[0]} --text-column TEXT --label-column LABEL"
            )
        return survey_folder(path, options)
    if record_tables.is_record_table(path, text_column=reading.text_column):
        return survey_cell_table(path, options)
    if path.suffix.lower() == ".npz" and path.is_file():
        return survey_npz(path, options)
    if is_sensor_log(path):
        raise DataError(
            f"{path}: one file; if it is a long sensor log, say how windows are cut (--window); if"
            f" it is a table of texts, name its columns (--text-column, --label-column); a row of"
            f" measurements alone is no record"
        )
    advice = CONVERSION_ADVICE_BY_SUFFIX.get(path.suffix.lower(), "")
    if is_record_file(path) and path.is_file():
        advice = "name the folder that holds the records"
    hint = f": {advice}" if advice else ""
    raise DataError(
        f"{path}: expected a folder, a .npz file, a table of texts, or a sensor log{hint}"
    )
