"""The plant's data set, from a folder or a ``.npz`` file, looked through before anything uses it.

A data set has one modality (``wg_common.modalities``). Folder layouts::

    DIR/CLASS/**/image.png           label = name of the first folder; "_unlabelled" has none
    DIR/CLASS/**/window.csv          the same for another modality
    DIR/records.csv + files          columns file, label and, if named, the unit column
    DIR/image.png                    no labels at all

Further layouts: one ``.npz`` file (``npz_file``), long sensor logs (``sensor_windows``).

``survey`` names *everything* that cannot be used, each with its reason, and goes on; that is what
``wg-client freeze`` shows. ``load_dataset`` refuses the first such thing, for data that are only
predicted. What a survey says of a file depends on that file alone, and on public settings: one
file more or less changes nothing about the others.

Class names are compared in Unicode's composed form: a Mac writes them in the other.

Not guaranteed: that a file can be decoded; see ``inspection``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.record_files import LogRecords, RecordFiles
from wg_client.site.reading import ReadingConfig
from wg_common.errors import DataError
from wg_common.modalities import registry
from wg_common.modalities.base import Modality, Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality as modality_of

RECORD_LIMIT = 1_000_000
RECORDS_CSV = "records.csv"
UNLABELLED = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteData:
    """Records of one plant.

    Attributes:
        records: n records of one modality; sizes may differ.
        modality: Its name.
        labels: int64 ``[n]``, index into ``label_names``; -1 = unlabelled.
        label_names: The declared label domain.
        names: A name for each record, for messages and predictions.
        units: Privacy unit of each record, or None: the record is its own.
        rows: Row of each record in its ``.npz`` file; None: each record is a file.
    """

    records: Sequence[Record]
    modality: str
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...] | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def present(self) -> tuple[str, ...]:
        """Labels that have a record here. Private: the domain is public, this is not."""
        found = np.unique(self.labels[self.labels >= 0])
        return tuple(self.label_names[index] for index in found)

    def take(self, kept: Sequence[int]) -> SiteData:
        """Some of the records, in the order given."""
        files = self.records
        return replace(
            self,
            records=files.take(kept)
            if isinstance(files, RecordFiles | LogRecords)
            else [files[index] for index in kept],
            labels=self.labels[list(kept)],
            names=tuple(self.names[index] for index in kept),
            units=None if self.units is None else tuple(self.units[index] for index in kept),
            rows=None if self.rows is None else self.rows[list(kept)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in the data set that cannot be used.

    Attributes:
        name: The file, relative to the folder, or a row of it.
        reason: Why not.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found in a data set.

    Attributes:
        data: Records that can be used as far as names and tables say.
        problems: What cannot.
        strays: Files of no kind that is read; for predictions they do not matter.
        hints: What a person should know, and nothing is refused for.
    """

    data: SiteData
    problems: tuple[Problem, ...] = ()
    strays: tuple[Problem, ...] = ()
    hints: tuple[str, ...] = ()


READING = ReadingConfig()
"""Files as they are."""


def load_dataset(
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    unit_column: str | None = None,
    split: int | None = 0,
) -> SiteData:
    """Read a data set of which everything must be usable; stray files are left out.

    Arguments as of ``survey``.

    Raises:
        DataError: Missing, damaged, an undeclared label, or nothing in it; the file is named.
    """
    found = survey(path, labels, unit_column=unit_column, split=split)
    for problem in found.problems:
        place = path / problem.name if path.is_dir() else path.parent / problem.name
        raise DataError(f"{place}: {problem.reason}")
    if not len(found.data):
        raise DataError(nothing_found(path, found.strays))
    return found.data


def survey(
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    unit_column: str | None = None,
    split: int | None = 0,
    modality: str | None = None,
    reading: ReadingConfig = READING,
) -> Survey:
    """Look a data set through, without decoding a record.

    Args:
        path: Folder or ``.npz`` file.
        labels: Declared label domain; None: the folders' names or the file's ``classes``.
        unit_column: Column or array that names the privacy unit.
        split: For a ``.npz`` with ``split``: keep records of this value; None keeps all.
        modality: What the records are to be; None: what they are, and of one kind.
        reading: How files are read.

    Raises:
        DataError: It is missing, or its table or archive as a whole cannot be read, or no record
            is of the modality; named.
    """
    # They need this module's words.
    from wg_client.data.folders import survey_folder
    from wg_client.data.label_table import survey_table
    from wg_client.data.npz_file import survey_npz
    from wg_client.data.sensor_windows import is_log, survey_logs

    if not path.exists():
        raise DataError(f"{path}: not there")
    if reading.log is not None:
        return survey_logs(path, labels, unit_column, reading, modality)
    if path.is_dir():
        if (path / RECORDS_CSV).is_file():
            return survey_table(path, labels, unit_column, modality, reading)
        if unit_column is not None:
            raise DataError(
                f"{path}: unit column {unit_column!r} needs a {RECORDS_CSV} with that column"
            )
        return survey_folder(path, labels, modality, reading)
    if path.suffix.lower() == ".npz" and path.is_file():
        return survey_npz(path, labels, unit_column, split, modality)
    if is_log(path):
        raise DataError(
            f"{path}: one file; if it is a long sensor log, say how windows are cut: --window"
        )
    raise DataError(f"{path}: expected a folder, a .npz file, or a sensor log")


def reader(name: str, reading: ReadingConfig) -> Modality:
    """What reads a modality's files as the plant says."""
    return Images(reading.bits) if name == Images.name else modality_of(name)


def with_reading(data: SiteData, reading: ReadingConfig) -> SiteData:
    """Records of which files are read as the plant says."""
    if not isinstance(data.records, RecordFiles):
        return data
    return replace(data, records=RecordFiles(reader(data.modality, reading), data.records.paths))


def composed(name: str) -> str:
    """A name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def nothing_found(path: Path, strays: Sequence[Problem]) -> str:
    """What is said where there is no record: what is read, and what lies there instead."""
    suffixes = ", ".join(
        sorted(suffix for each in registry.MODALITIES.values() for suffix in each.suffixes)
    )
    found = f"; found {strays[0].name}: {strays[0].reason}" if strays else "; the folder is empty"
    return f"{path}: no {registry.listed('name', 'or')} found (read are {suffixes}){found}"


def records_of(path: Path, files: Sequence[Path], reading: ReadingConfig = READING) -> RecordFiles:
    """Files as records of the one modality that their names say.

    Args:
        path: Where they were found, for messages.
        files: Each a record; none counts as images.
        reading: How they are read.

    Raises:
        DataError: They are of several modalities.
    """
    first: dict[str, Path] = {}
    for entry in files:
        first.setdefault(modality_name(entry), entry)
    names = [name for name in registry.MODALITIES if name in first]
    if len(names) > 1:
        titles = " and ".join(modality_of(name).title for name in names)
        examples = " and ".join(str(first[name]) for name in names)
        raise DataError(f"{path}: {titles}, such as {examples}; a data set has one kind of records")
    return RecordFiles(reader(names[0] if names else Images.name, reading), files)


def is_record(entry: Path) -> bool:
    """Whether a file's name says that it holds a record."""
    return entry.name != RECORDS_CSV and registry.of_file(entry.name) is not None


def modality_name(entry: Path) -> str:
    """The modality that a file's name says, or nothing."""
    found = registry.of_file(entry.name)
    return "" if found is None else found.name


def check_modality(wanted: str, found: str, path: str | Path) -> None:
    """Refuse records that the encoder is not made for.

    Raises:
        DataError: They are of another modality.
    """
    if wanted != found:
        raise DataError(f"{path}: {other_kind(wanted, found)}")


def other_kind(wanted: str, found: str) -> str:
    """What is said of records that the encoder is not made for."""
    title = modality_of(found).title
    return (
        f"holds {title}, but this home's encoder, which came from the server, is for"
        f" {modality_of(wanted).title}; join a server whose zoo is of {title}"
    )


def label_index(names: Sequence[str]) -> dict[str, int]:
    """Position of each label in the domain, by its composed form."""
    return {composed(name): index for index, name in enumerate(names)}


def listed(names: Sequence[str]) -> str:
    """Names for a message, at most twenty."""
    shown = ", ".join(repr(name) for name in list(names)[:20])
    return shown + (", ..." if len(names) > 20 else "")


def undeclared(label: str, domain: Sequence[str]) -> str:
    """What is said of a label outside the domain."""
    return f"label {label!r} is not declared; declared are {listed(domain)}"


def check_count(path: Path, count: int) -> None:
    """Refuse more records than a schema is made for.

    Raises:
        DataError: There are.
    """
    if count > RECORD_LIMIT:
        raise DataError(f"{path}: {count} records, at most {RECORD_LIMIT} are read")
