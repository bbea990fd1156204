"""Contents of a plant's data set, the modality of its files, and messages about problems in it.

A data set has one modality (``wg_common.modalities``). Class names are compared in Unicode NFC,
since file names on macOS may be in NFD.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wg_client.data.site_data import SiteData
from wg_common.modalities import registry
from wg_common.modalities.base import Modality
from wg_common.modalities.images import Images
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.modalities.stored_records import StoredRecords, records_from_paths
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError
from wg_core.site.reading_config import ReadingConfig
from wg_core.snapshot import UnusableItem

RECORD_COUNT_LIMIT = 1_000_000
RECORDS_CSV_NAME = "records.csv"
_MOST_LABEL_CHARACTERS = 80  # Most characters of a label in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSurvey:
    """Contents of a data set, before its records are read.

    Attributes:
        data: Records that are usable, judged by file names and tables alone.
        layout: Layout that was recognised, as a noun phrase.
        problems: Records that cannot be used, each with its reason.
        unsupported_files: Files of no supported kind; predictions ignore them.
        hints: Remarks for a person; nothing is refused because of them.
        undeclared_labels: Labels outside the domain, which predictions ignore.
    """

    data: SiteData
    layout: str
    problems: tuple[UnusableItem, ...] = ()
    unsupported_files: tuple[UnusableItem, ...] = ()
    hints: tuple[str, ...] = ()
    undeclared_labels: tuple[str, ...] = ()


DEFAULT_READING_CONFIG = ReadingConfig()  # Settings by which files are read as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyOptions:
    """Options of a survey: the labels, privacy units and records to take from a data set.

    Attributes:
        labels: Declared label domain; None: the folders' names or the file's ``classes``.
        unit_column: Column or array that names the privacy unit.
        split: Value of ``split``, in a ``.npz`` file or table, whose records are used; None: all.
        modality: Required modality; None: the one modality that all records have.
        reading: Settings by which files are read.
        for_prediction: True for predictions: an undeclared label counts as none, and the label
            column and table of intervals of sensor logs may be missing.
    """

    labels: Sequence[str] | None = None
    unit_column: str | None = None
    split: int | None = 0
    modality: str | None = None
    reading: ReadingConfig = DEFAULT_READING_CONFIG
    for_prediction: bool = False

    def refuses_label(self, label: str, declared_labels: Container[str]) -> bool:
        """Return whether a label makes a record unusable, as one that is not declared."""
        return bool(label) and label not in declared_labels and not self.for_prediction


DEFAULT_SURVEY_OPTIONS = SurveyOptions()  # Options that accept any labels and records


def configured_modality(name: str, reading: ReadingConfig) -> Modality:
    """Return the modality that reads files with the plant's settings."""
    if name == Windows.name:
        return Windows(reading.channels)
    return Images(grey_bit_depth=reading.bits) if name == Images.name else modality_of(name)


def with_reading_config(data: SiteData, reading: ReadingConfig) -> SiteData:
    """Return records whose files are read by the given settings; arrays stay unchanged."""
    if not isinstance(data.records, StoredRecords) or not data.records.paths:
        return data
    return replace(
        data,
        records=records_from_paths(configured_modality(data.modality, reading), data.records.paths),
    )


def normalise_name(name: str) -> str:
    """Return a name in Unicode NFC."""
    return unicodedata.normalize("NFC", name)


def describe_empty_dataset(path: Path, unsupported_files: Sequence[UnusableItem]) -> str:
    """Return a message on an empty data set: supported file names, and the first other file."""
    suffixes = ", ".join(
        sorted({suffix for kind in registry.MODALITIES.values() for suffix in kind.suffixes})
    )
    stray = (
        f"; found {unsupported_files[0].name}: {unsupported_files[0].reason}"
        if unsupported_files
        else "; the folder is empty"
    )
    kinds = registry.list_modality_attribute("name", "or")
    return f"{path}: no {kinds} found (read are {suffixes}){stray}"


def records_from_files(
    path: Path, files: Sequence[Path], reading: ReadingConfig = DEFAULT_READING_CONFIG
) -> StoredRecords:
    """Return files as records of the one modality that their names imply.

    Args:
        files: Files of one record each; an empty sequence counts as images.

    Raises:
        DataError: The files have several modalities.
    """
    example_of: dict[str, Path] = {}
    for entry in files:
        example_of.setdefault(modality_name_of_file(entry), entry)
    names = [name for name in registry.MODALITIES if name in example_of]
    if len(names) > 1:
        titles = " and ".join(modality_of(name).title for name in names)
        examples = " and ".join(str(example_of[name]) for name in names)
        raise DataError(f"{path}: {titles}, such as {examples}; a data set has one kind of records")
    return records_from_paths(
        configured_modality(names[0] if names else Images.name, reading), files
    )


def accompanying_files(paths: Sequence[Path]) -> set[Path]:
    """Return the files, such as a read-me, that only accompany records of another modality."""
    kinds = {path: registry.modality_of_file(path.name) for path in paths}
    if all(kind is None or kind.may_accompany_records for kind in kinds.values()):
        return set()
    return {path for path, kind in kinds.items() if kind is not None and kind.may_accompany_records}


def is_record_file(file_name: Path) -> bool:
    """Return whether a file's name implies a record."""
    return (
        file_name.name != RECORDS_CSV_NAME and registry.modality_of_file(file_name.name) is not None
    )


def modality_name_of_file(file_name: Path) -> str:
    """Return the modality that a file's name implies, or an empty string."""
    modality = registry.modality_of_file(file_name.name)
    return "" if modality is None else modality.name


def check_modality(required_modality: str, record_modality: str, path: str | Path) -> None:
    """Refuse records of another modality than the encoder's.

    Raises:
        DataError: The modalities differ.
    """
    if required_modality != record_modality:
        raise DataError(f"{path}: {describe_wrong_modality(required_modality, record_modality)}")


def describe_wrong_modality(required_modality: str, record_modality: str) -> str:
    """Return a message on records of another modality than the encoder's."""
    title = modality_of(record_modality).title
    return (
        f"holds {title}, but this home's encoder, which came from the server, is for"
        f" {modality_of(required_modality).title}; join a server whose zoo is of {title}"
    )


def label_positions(names: Sequence[str]) -> dict[str, int]:
    """Return the index of each label in the label domain, by its name in Unicode NFC."""
    return {normalise_name(name): index for index, name in enumerate(names)}


def quote_names(names: Sequence[str]) -> str:
    """Quote names for a message, at most twenty, with commas between them."""
    shown_names = ", ".join(repr(name) for name in list(names)[:20])
    return shown_names + (", ..." if len(names) > 20 else "")


def explain_undeclared_label(label: str, domain: Sequence[str]) -> str:
    """Return a message on a label outside the declared label domain."""
    shown_label = repr(
        label if len(label) <= _MOST_LABEL_CHARACTERS else f"{label[:_MOST_LABEL_CHARACTERS]}..."
    )
    return (
        f"label {shown_label} is not declared; declared are {quote_names(domain)} (init --labels)"
    )


def undeclared_labels(
    labels: Iterable[str], domain: Sequence[str], options: SurveyOptions
) -> tuple[str, ...]:
    """Return the undeclared labels that predictions ignore."""
    known = label_positions(domain)
    names = {label for label in labels if label and normalise_name(label) not in known}
    return tuple(sorted(names)) if options.for_prediction else ()


def check_record_count(path: Path, count: int) -> None:
    """Raise ``DataError`` if there are more records than a schema allows."""
    if count > RECORD_COUNT_LIMIT:
        raise DataError(f"{path}: {count} records, at most {RECORD_COUNT_LIMIT} are read")
