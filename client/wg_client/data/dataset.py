"""The plant's data set: its records, what is wrong with it, and the words for both.

A data set has one modality (``wg_common.modalities``); ``survey`` looks one through, whatever its
layout. Class names are compared in Unicode's composed form: a Mac writes them in the other.
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
from wg_common.modalities.registry import modality as modality_of
from wg_common.modalities.stored import StoredRecords, stored_files
from wg_common.modalities.windows import Windows
from wg_core.errors import DataError
from wg_core.site.reading import ReadingConfig
from wg_core.snapshot import Problem

RECORD_LIMIT = 1_000_000
RECORDS_CSV = "records.csv"
_SHOWN = 80  # Most characters of a label in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Contents of a data set, before its records are read.

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


READING = ReadingConfig()  # Files as they are


def reader(name: str, reading: ReadingConfig) -> Modality:
    """Return the modality that reads files in the way that the plant says."""
    if name == Windows.name:
        return Windows(reading.channels)
    return Images(reading.bits) if name == Images.name else modality_of(name)


def with_reading(data: SiteData, reading: ReadingConfig) -> SiteData:
    """Records of which files are read as the plant says."""
    if not isinstance(data.records, StoredRecords) or not data.records.paths:
        return data
    return replace(data, records=stored_files(reader(data.modality, reading), data.records.paths))


def compose(name: str) -> str:
    """A name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def nothing_found(path: Path, strays: Sequence[Problem]) -> str:
    """Explain an empty data set: what is read, and what lies there instead."""
    suffixes = ", ".join(
        sorted({suffix for kind in registry.MODALITIES.values() for suffix in kind.suffixes})
    )
    stray = f"; found {strays[0].name}: {strays[0].reason}" if strays else "; the folder is empty"
    return f"{path}: no {registry.list_attribute('name', 'or')} found (read are {suffixes}){stray}"


def records_of(
    path: Path, files: Sequence[Path], reading: ReadingConfig = READING
) -> StoredRecords:
    """Files as records of the one modality that their names say.

    Args:
        files: Each a record; none counts as images.

    Raises:
        DataError: They are of several modalities.
    """
    example_of: dict[str, Path] = {}
    for entry in files:
        example_of.setdefault(modality_name(entry), entry)
    names = [name for name in registry.MODALITIES if name in example_of]
    if len(names) > 1:
        titles = " and ".join(modality_of(name).title for name in names)
        examples = " and ".join(str(example_of[name]) for name in names)
        raise DataError(f"{path}: {titles}, such as {examples}; a data set has one kind of records")
    return stored_files(reader(names[0] if names else Images.name, reading), files)


def lies_beside(paths: Sequence[Path]) -> set[Path]:
    """Files that are no records, since they lie beside records of another modality: a read-me."""
    kinds = {path: registry.of_file(path.name) for path in paths}
    if all(kind is None or kind.beside for kind in kinds.values()):
        return set()
    return {path for path, kind in kinds.items() if kind is not None and kind.beside}


def is_record(entry: Path) -> bool:
    """Return whether a file's name says that it holds a record."""
    return entry.name != RECORDS_CSV and registry.of_file(entry.name) is not None


def modality_name(entry: Path) -> str:
    """The modality that a file's name says, or nothing."""
    modality = registry.of_file(entry.name)
    return "" if modality is None else modality.name


def check_modality(expected: str, actual: str, path: str | Path) -> None:
    """Refuse records that the encoder is not made for.

    Raises:
        DataError: They are of another modality.
    """
    if expected != actual:
        raise DataError(f"{path}: {other_kind(expected, actual)}")


def other_kind(expected: str, actual: str) -> str:
    """Explain records that the encoder is not made for."""
    title = modality_of(actual).title
    return (
        f"holds {title}, but this home's encoder, which came from the server, is for"
        f" {modality_of(expected).title}; join a server whose zoo is of {title}"
    )


def label_index(names: Sequence[str]) -> dict[str, int]:
    """Position of each label in the domain, by its composed form."""
    return {compose(name): index for index, name in enumerate(names)}


def list_names(names: Sequence[str]) -> str:
    """Names for a message, at most twenty."""
    shown_names = ", ".join(repr(name) for name in list(names)[:20])
    return shown_names + (", ..." if len(names) > 20 else "")


def explain_undeclared(label: str, domain: Sequence[str]) -> str:
    """Explain a label outside the domain."""
    shown_label = repr(label if len(label) <= _SHOWN else f"{label[:_SHOWN]}...")
    return f"label {shown_label} is not declared; declared are {list_names(domain)}"


def check_count(path: Path, count: int) -> None:
    """Refuse more records than a schema is made for: ``DataError``."""
    if count > RECORD_LIMIT:
        raise DataError(f"{path}: {count} records, at most {RECORD_LIMIT} are read")
