"""The plant's data set, from a folder or a ``.npz`` file, looked through before anything uses it.

A data set has one modality (``wg_common.modalities``). Folder layouts::

    DIR/CLASS/**/image.png           label = name of the first folder; "_unlabelled" has none
    DIR/CLASS/**/window.csv          the same for another modality
    DIR/records.csv + files          columns file, label and, if named, the unit column
    DIR/image.png                    no labels at all

``survey`` names *everything* that cannot be used, each with its reason, and goes on; that is what
``wg-client freeze`` shows. ``load_dataset`` refuses the first such thing, for data that are only
predicted. What a survey says of a file depends on that file alone, and on public settings: one
file more or less changes nothing about the others.

Not guaranteed: that a file can be decoded; see ``inspection``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.record_files import RecordFiles
from wg_client.site.config import UNLABELLED_FOLDER
from wg_common import atomic
from wg_common.errors import DataError
from wg_common.modalities import registry
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality as modality_of

RECORD_LIMIT = 1_000_000
CSV_LIMIT = 256 << 20
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
            if isinstance(files, RecordFiles)
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
    """

    data: SiteData
    problems: tuple[Problem, ...] = ()
    strays: tuple[Problem, ...] = ()


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
        raise DataError(f"{path}: no {registry.listed('name', 'or')} found")
    return found.data


def survey(
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    unit_column: str | None = None,
    split: int | None = 0,
    modality: str | None = None,
) -> Survey:
    """Look a data set through, without decoding a record.

    Args:
        path: Folder or ``.npz`` file.
        labels: Declared label domain; None: the folders' names or the file's ``classes``.
        unit_column: Column or array that names the privacy unit.
        split: For a ``.npz`` with ``split``: keep records of this value; None keeps all.
        modality: What the records are to be; None: what they are, and of one kind.

    Raises:
        DataError: It is missing, or its table or archive as a whole cannot be read, or no record
            is of the modality; named.
    """
    from wg_client.data.npz_file import survey_npz  # it needs this module's words

    if path.is_dir():
        if (path / RECORDS_CSV).is_file():
            return _from_csv(path, labels, unit_column, modality)
        if unit_column is not None:
            raise DataError(
                f"{path}: unit column {unit_column!r} needs a {RECORDS_CSV} with that column"
            )
        return _from_folder(path, labels, modality)
    if path.suffix.lower() == ".npz" and path.is_file():
        return survey_npz(path, labels, unit_column, split, modality)
    if not path.exists():
        raise DataError(f"{path}: not there")
    raise DataError(f"{path}: expected a folder or a .npz file")


def records_of(path: Path, files: Sequence[Path]) -> RecordFiles:
    """Files as records of the one modality that their names say.

    Args:
        path: Where they were found, for messages.
        files: Each a record; none counts as images.

    Raises:
        DataError: They are of several modalities.
    """
    first: dict[str, Path] = {}
    for entry in files:
        first.setdefault(_modality(entry), entry)
    names = [name for name in registry.MODALITIES if name in first]
    if len(names) > 1:
        titles = " and ".join(modality_of(name).title for name in names)
        examples = " and ".join(str(first[name]) for name in names)
        raise DataError(f"{path}: {titles}, such as {examples}; a data set has one kind of records")
    return RecordFiles(modality_of(names[0] if names else Images.name), files)


def is_record(entry: Path) -> bool:
    """Whether a file's name says that it holds a record."""
    return entry.name != RECORDS_CSV and registry.of_file(entry.name) is not None


def _modality(entry: Path) -> str:
    found = registry.of_file(entry.name)
    return "" if found is None else found.name


def check_modality(wanted: str, found: str, path: str | Path) -> None:
    """Refuse records that the encoder is not made for.

    Raises:
        DataError: They are of another modality.
    """
    if wanted != found:
        raise DataError(f"{path}: {_other_kind(wanted, found)}")


def _other_kind(wanted: str, found: str) -> str:
    title = modality_of(found).title
    return (
        f"holds {title}, but this home's encoder, which came from the server, is for"
        f" {modality_of(wanted).title}; join a server whose zoo is of {title}"
    )


def label_index(names: Sequence[str]) -> dict[str, int]:
    """Position of each label in the domain."""
    return {name: index for index, name in enumerate(names)}


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


@dataclass(slots=True)
class _Found:
    """Files, each with its label and unit, while a folder or table is read."""

    paths: list[Path]
    labels: list[int]
    units: list[str]
    problems: list[Problem]
    strays: list[Problem]


def _finish(
    root: Path,
    found: _Found,
    domain: Sequence[str],
    modality: str | None,
    *,
    with_units: bool,
) -> Survey:
    check_count(root, len(found.paths))
    records = (
        records_of(root, found.paths)
        if modality is None
        else RecordFiles(modality_of(modality), found.paths)
    )
    data = SiteData(
        records=records,
        modality=records.modality.name,
        labels=np.asarray(found.labels, dtype=np.int64),
        label_names=tuple(domain),
        names=tuple(str(entry.relative_to(root)) for entry in found.paths),
        units=tuple(found.units) if with_units else None,
    )
    kinds = [_modality(path) for path in found.paths]
    kept = [row for row, kind in enumerate(kinds) if kind == data.modality]
    problems = found.problems + [
        Problem(name=data.names[row], reason=_other_kind(data.modality, kind))
        for row, kind in enumerate(kinds)
        if kind != data.modality
    ]
    return Survey(data=data.take(kept), problems=tuple(problems), strays=tuple(found.strays))


def _from_folder(path: Path, labels: Sequence[str] | None, modality: str | None) -> Survey:
    entries = _listing(path)
    folders = [entry for entry in entries if entry.is_dir()]
    named = [folder.name for folder in folders if folder.name != UNLABELLED_FOLDER]
    domain = list(labels) if labels is not None else named
    if not domain:
        raise DataError(f"{path}: no folder names a class; declare the labels (--labels a,b,c)")
    index = label_index(domain)
    found = _Found([], [], [], [], [])
    for entry in entries:
        if not entry.is_dir():
            _sort_in(path, entry, UNLABELLED, found)
            continue
        if entry.name != UNLABELLED_FOLDER and entry.name not in index:
            problem = Problem(name=entry.name, reason=undeclared(entry.name, domain))
            found.problems.append(problem)
            continue
        label = index.get(entry.name, UNLABELLED)
        for inner in _below(entry):
            _sort_in(path, inner, label, found)
    return _finish(path, found, domain, modality, with_units=False)


def _sort_in(root: Path, entry: Path, label: int, found: _Found) -> None:
    """Put one file where it belongs: records, problems, strays."""
    name = str(entry.relative_to(root))
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
        found.problems.append(Problem(name=shown, reason="its name is not UTF-8"))
        return
    if not _inside(root, entry):
        found.strays.append(Problem(name=name, reason="a link that leads out of the folder"))
    elif not entry.is_file():
        found.strays.append(Problem(name=name, reason="not a file"))
    elif not is_record(entry):
        found.strays.append(
            Problem(name=name, reason=f"no file of {registry.listed('title', 'or')}")
        )
    else:
        found.paths.append(entry)
        found.labels.append(label)


def _listing(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things apart, in the order of names."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _below(folder: Path) -> list[Path]:
    """Files below a folder at any depth, hidden ones apart; links to folders are not followed."""
    found: list[Path] = []
    for entry in _listing(folder):
        if entry.is_dir() and not entry.is_symlink():
            found += _below(entry)
        else:
            found.append(entry)
    return found


def _inside(root: Path, entry: Path) -> bool:
    return entry.resolve().is_relative_to(root.resolve())


def _from_csv(
    path: Path, labels: Sequence[str] | None, unit_column: str | None, modality: str | None
) -> Survey:
    table = path / RECORDS_CSV
    try:
        text = atomic.read_bytes(table, limit=CSV_LIMIT).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV file in UTF-8: {error}") from error
    wanted = ["file", "label", *([unit_column] if unit_column else [])]
    for column in wanted:
        if column not in (reader.fieldnames or ()):
            raise DataError(f"{table}: no column {column!r}; expected {listed(wanted)}")
    if labels is None:
        labels = sorted({row["label"] for row in rows if row["label"]})
    if not labels:
        raise DataError(f"{table}: no labels; declare them (--labels a,b,c)")
    index = label_index(labels)
    found = _Found([], [], [], [], [])
    for number, row in enumerate(rows, 2):
        reason = _row_problem(path, row, wanted, labels, index)
        if not reason and unit_column and not row[unit_column].strip():
            reason = f"column {unit_column!r} is empty: no privacy unit"
        if reason:
            name = f"{RECORDS_CSV}: line {number}"
            found.problems.append(Problem(name=name, reason=reason))
            continue
        found.paths.append(path / row["file"])
        found.labels.append(index.get(row["label"], UNLABELLED))
        found.units.append(row[unit_column] if unit_column else "")
    return _finish(path, found, labels, modality, with_units=unit_column is not None)


def _row_problem(
    path: Path,
    row: dict[str, str],
    wanted: Sequence[str],
    labels: Sequence[str],
    index: dict[str, int],
) -> str:
    """Why a row of the table cannot be used, or nothing."""
    if any(row[column] is None for column in wanted):
        return "too few columns"
    entry = path / row["file"]
    try:
        good = _inside(path, entry) and is_record(entry) and entry.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        good = False
    if not good:
        return (
            f"{row['file'][:200]!r} is no file of {registry.listed('title', 'or')} in this folder"
        )
    if row["label"] and row["label"] not in index:
        return undeclared(row["label"], labels)
    return ""
