"""Contents of a plant's data set, the modality of its files, and messages about problems in it.

A data set has one modality (``wg_common.modalities``). Class names are compared in Unicode NFC,
since file names on macOS may be in NFD.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wg_client.data.site_data import SiteData
from wg_common.modalities import registry
from wg_common.modalities.base import Modality
from wg_common.modalities.images import Images
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.modalities.stored import StoredRecords, stored_files
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError
from wg_core.site.reading import ReadingConfig
from wg_core.snapshot import Problem

RECORD_LIMIT = 1_000_000
RECORDS_CSV = "records.csv"
_NAMES_SHOWN = 80  # Most characters of a label in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSurvey:
    """Contents of a data set, before its records are read.

    Attributes:
        data: Records that are usable, judged by file names and tables alone.
        layout: Layout that was recognised, as a noun phrase.
        problems: Records that cannot be used, each with its reason.
        unsupported_files: Files of no supported kind; predictions ignore them.
        hints: Remarks for a person; nothing is refused because of them.
    """

    data: SiteData
    layout: str
    problems: tuple[Problem, ...] = ()
    unsupported_files: tuple[Problem, ...] = ()
    hints: tuple[str, ...] = ()


DEFAULT_READING = ReadingConfig()  # Settings by which files are read as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyOptions:
    """Options of a survey: the labels, privacy units and records to take from a data set.

    Attributes:
        labels: Declared label domain; None: the folders' names or the file's ``classes``.
        unit_column: Column or array that names the privacy unit.
        split: Value of ``split``, in a ``.npz`` file or table, whose records are used; None: all.
        modality: Required modality; None: the one modality that all records have.
        reading: Settings by which files are read.
    """

    labels: Sequence[str] | None = None
    unit_column: str | None = None
    split: int | None = 0
    modality: str | None = None
    reading: ReadingConfig = DEFAULT_READING


ANY_RECORDS = SurveyOptions()  # Options that accept any labels and records


def configured_modality(name: str, reading: ReadingConfig) -> Modality:
    """Return the modality that reads files with the plant's settings."""
    if name == Windows.name:
        return Windows(reading.channels)
    return Images(reading.bits) if name == Images.name else modality_of(name)


def with_reading_config(data: SiteData, reading: ReadingConfig) -> SiteData:
    """Return the data with files to be read by the plant's settings; arrays stay unchanged."""
    if not isinstance(data.records, StoredRecords) or not data.records.paths:
        return data
    return replace(
        data, records=stored_files(configured_modality(data.modality, reading), data.records.paths)
    )


def normalise_name(name: str) -> str:
    """Return a name in Unicode NFC."""
    return unicodedata.normalize("NFC", name)


def describe_empty_dataset(path: Path, strays: Sequence[Problem]) -> str:
    """Return a message on an empty data set: supported file names, and the first other file."""
    suffixes = ", ".join(
        sorted({suffix for kind in registry.MODALITIES.values() for suffix in kind.suffixes})
    )
    stray = f"; found {strays[0].name}: {strays[0].reason}" if strays else "; the folder is empty"
    kinds = registry.list_modality_attribute("name", "or")
    return f"{path}: no {kinds} found (read are {suffixes}){stray}"


def records_from_files(
    path: Path, files: Sequence[Path], reading: ReadingConfig = DEFAULT_READING
) -> StoredRecords:
    """Return files as records of the one modality that their names imply.

    Args:
        files: Files of one record each; an empty sequence counts as images.

    Raises:
        DataError: The files have several modalities.
    """
    example_of: dict[str, Path] = {}
    for entry in files:
        example_of.setdefault(modality_name(entry), entry)
    names = [name for name in registry.MODALITIES if name in example_of]
    if len(names) > 1:
        titles = " and ".join(modality_of(name).title for name in names)
        examples = " and ".join(str(example_of[name]) for name in names)
        raise DataError(f"{path}: {titles}, such as {examples}; a data set has one kind of records")
    return stored_files(configured_modality(names[0] if names else Images.name, reading), files)


def accompanying_files(paths: Sequence[Path]) -> set[Path]:
    """Return the files, such as a read-me, that only accompany records of another modality."""
    kinds = {path: registry.modality_of_file(path.name) for path in paths}
    if all(kind is None or kind.may_accompany_records for kind in kinds.values()):
        return set()
    return {path for path, kind in kinds.items() if kind is not None and kind.may_accompany_records}


def is_record_file(file_name: Path) -> bool:
    """Return whether a file's name implies a record."""
    return file_name.name != RECORDS_CSV and registry.modality_of_file(file_name.name) is not None


def modality_name(file_name: Path) -> str:
    """Return the modality that a file's name implies, or an empty string."""
    modality = registry.modality_of_file(file_name.name)
    return "" if modality is None else modality.name


def check_modality(expected: str, record_modality: str, path: str | Path) -> None:
    """Refuse records of another modality than the encoder's.

    Raises:
        DataError: The modalities differ.
    """
    if expected != record_modality:
        raise DataError(f"{path}: {describe_wrong_modality(expected, record_modality)}")


def describe_wrong_modality(expected: str, record_modality: str) -> str:
    """Return a message on records of another modality than the encoder's."""
    title = modality_of(record_modality).title
    return (
        f"holds {title}, but this home's encoder, which came from the server, is for"
        f" {modality_of(expected).title}; join a server whose zoo is of {title}"
    )


def label_positions(names: Sequence[str]) -> dict[str, int]:
    """Return the index of each label in the label domain, by its name in Unicode NFC."""
    return {normalise_name(name): index for index, name in enumerate(names)}


def list_names(names: Sequence[str]) -> str:
    """Quote names for a message, at most twenty, with commas between them."""
    shown_names = ", ".join(repr(name) for name in list(names)[:20])
    return shown_names + (", ..." if len(names) > 20 else "")


def explain_undeclared(label: str, domain: Sequence[str]) -> str:
    """Return a message on a label outside the declared label domain."""
    shown_label = repr(label if len(label) <= _NAMES_SHOWN else f"{label[:_NAMES_SHOWN]}...")
    return f"label {shown_label} is not declared; declared are {list_names(domain)} (init --labels)"


def check_record_count(path: Path, count: int) -> None:
    """Raise ``DataError`` if there are more records than a schema allows."""
    if count > RECORD_LIMIT:
        raise DataError(f"{path}: {count} records, at most {RECORD_LIMIT} are read")
