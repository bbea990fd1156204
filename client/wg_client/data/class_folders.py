"""Data set in folders, one for each class; files that are not records are listed with a reason.

Without declared labels, a folder counts as a class only if its name can be one. Parts of a split
(``train``, ``val``), parts of a segmentation (``images``, ``masks``) and folders left behind by
archive programs are not classes; names that differ only in case are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wg_client.data.dataset import (
    RECORDS_CSV_NAME,
    DatasetSurvey,
    SurveyOptions,
    accompanying_files,
    check_record_count,
    configured_modality,
    describe_wrong_modality,
    explain_undeclared_label,
    is_record_file,
    label_positions,
    modality_name_of_file,
    normalise_name,
    quote_names,
    records_from_files,
    undeclared_labels,
)
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities import registry, windows
from wg_common.modalities.images import Images
from wg_common.modalities.stored_records import records_from_paths
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core import atomic
from wg_core.errors import DataError, reraise_os_errors
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.snapshot import UnusableItem

_SPLIT_FOLDER_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "dev", "holdout")
)
_SEGMENTATION_FOLDER_NAMES = frozenset(
    [
        "images",
        "image",
        "imgs",
        "masks",
        "mask",
        "annotations",
        "annotation",
        "labels",
        "bboxes",
        "ground_truth",
        "groundtruth",
        "jpegimages",
        "segmentationclass",
    ]
)
_MASK_FOLDER_NAMES = frozenset(("mask", "masks", "ground_truth", "groundtruth"))
_ARCHIVE_FOLDER_NAMES = frozenset(
    ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
)
"""Folders that archive programs and operating systems leave behind."""
_PROGRAM_FILE_NAMES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini"))
"""Hidden files of Windows; on other systems hidden names begin with a dot."""
CONVERSION_ADVICE_BY_SUFFIX = {
    ".heic": "save it as JPEG or PNG",
    ".heif": "save it as JPEG or PNG",
    ".gif": "save it as PNG",
    ".avif": "save it as PNG",
    ".xlsx": "a sheet of texts? name it, and its columns (--text-column); else save it as CSV",
    ".xls": "save the sheet as CSV",
    ".parquet": "save it as CSV",
    ".wav": "one long sensor log? say how windows are cut: init --window",
    ".json": "boxes and masks are not read: a record has one class as a whole",
    ".xml": "boxes and masks are not read: a record has one class as a whole",
    **dict.fromkeys(
        (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"), "unpack it, and name the folder"
    ),
    ".mp4": "save single pictures of it",
    ".avi": "save single pictures of it",
}


@dataclass(slots=True)
class CollectedFiles:
    """Files with their labels and units, collected while a folder or table is read.

    Attributes:
        paths: Files that may be records.
        labels: Index of each file's class, or ``UNLABELLED``.
        privacy_units: Privacy unit of each file; None if each record is a unit.
        problems: Files and rows that are set aside, with reasons.
        unsupported_files: Files that are not records of the modality, with reasons.
        layout: Name of the layout in which the files lie.
        hints: Sentences for a person on how the files are read; nothing is refused for them.
        undeclared_labels: Labels outside the domain, which predictions ignore.
    """

    paths: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    privacy_units: list[str] | None = None
    problems: list[UnusableItem] = field(default_factory=list)
    unsupported_files: list[UnusableItem] = field(default_factory=list)
    layout: str = text("a folder for each class")
    hints: list[str] = field(default_factory=list)
    undeclared_labels: tuple[str, ...] = ()


def survey_folder(path: Path, options: SurveyOptions) -> DatasetSurvey:
    """Survey a folder with one sub-folder for each class.

    Raises:
        DataError: The folder cannot be read, or its folders cannot be classes.
    """
    labels, sorted_files = options.labels, CollectedFiles()
    entries = [
        entry
        for entry in list_folder(path)
        if not _set_aside_program_folder(path, entry, sorted_files)
    ]
    if parts := _anomaly_split_folders(entries, labels):
        entries = [inner for part in parts for inner in list_folder(part)]
        sorted_files.layout = text("folders for anomaly detection")
        sorted_files.hints.append(
            text(
                "{path}: a data set for anomaly detection: classes are the folders in {parts}, and"
                " all of these records are learnt from; masks are not read",
                path=path,
                parts=quote_names([part.name for part in parts]),
            )
        )
    elif masks := _mask_folders(entries, labels):
        entries = [entry for entry in entries if entry not in masks]
        names_of_masks = quote_names([entry.name for entry in masks])
        sorted_files.hints.append(
            text("{path}: masks are not read: {names}", path=path, names=names_of_masks)
        )
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    names = [entry.name for entry in folders if entry.name != UNLABELLED_FOLDER]
    class_names = list(dict.fromkeys(names))
    if labels is None:
        _check_class_folders(path, class_names)
        _check_no_split_inside(path, folders)
    domain = list(labels) if labels is not None else [normalise_name(name) for name in class_names]
    if not domain and not entries:
        raise DataError(f"{path}: no records: the folder is empty")
    if not domain:
        raise DataError(f"{path}: no folder names a class; declare the labels (--labels a,b,c)")
    if not folders:
        sorted_files.layout = text("a folder of files without classes")
    index = label_positions(domain)
    sorted_files.undeclared_labels = undeclared_labels(class_names, domain, options)
    for entry in entries:
        if entry.is_symlink() and entry.is_dir():
            reason = "a link to a folder; links are not followed: copy the records, or move them"
            sorted_files.problems.append(UnusableItem(name=entry.name, reason=reason))
        elif not entry.is_dir():
            _add_file(path, entry, UNLABELLED, sorted_files)
        elif options.refuses_label(normalise_name(entry.name), {*index, UNLABELLED_FOLDER}):
            name, reason = printable_name(entry.name), explain_undeclared_label(entry.name, domain)
            sorted_files.problems.append(UnusableItem(name=name, reason=reason))
        else:
            label = index.get(normalise_name(entry.name), UNLABELLED)
            for inner in list_files_below(entry):
                _add_file(path, inner, label, sorted_files)
    _set_aside_accompanying_files(path, sorted_files, options.modality)
    return survey_collected_files(path, sorted_files, domain, options)


def survey_collected_files(
    root: Path, collected_files: CollectedFiles, domain: Sequence[str], options: SurveyOptions
) -> DatasetSurvey:
    """Return the survey of files below ``root`` that were collected with labels and units.

    Args:
        domain: Label domain, into which the labels of ``collected_files`` are indices.

    Raises:
        DataError: There are too many files, or several modalities where none was requested.
    """
    check_record_count(root, len(collected_files.paths))
    modality, reading = options.modality, options.reading
    records = (
        records_from_files(root, collected_files.paths, reading)
        if modality is None
        else records_from_paths(configured_modality(modality, reading), collected_files.paths)
    )
    data = SiteData(
        records=records,
        modality=records.modality.name,
        labels=np.asarray(collected_files.labels, dtype=np.int64),
        label_names=tuple(domain),
        names=tuple(str(entry.relative_to(root)) for entry in collected_files.paths),
        privacy_units=None
        if collected_files.privacy_units is None
        else tuple(collected_files.privacy_units),
    )
    kinds = [modality_name_of_file(path) for path in collected_files.paths]
    matching = [row for row, kind in enumerate(kinds) if kind == data.modality]
    problems = collected_files.problems + [
        UnusableItem(name=data.names[row], reason=describe_wrong_modality(data.modality, kind))
        for row, kind in enumerate(kinds)
        if kind != data.modality
    ]
    return DatasetSurvey(
        data=data.select_rows(matching),
        problems=tuple(problems),
        layout=collected_files.layout,
        unsupported_files=tuple(collected_files.unsupported_files),
        hints=tuple(collected_files.hints),
        undeclared_labels=collected_files.undeclared_labels,
    )


def window_column_names(path: Path) -> tuple[str, ...] | None:
    """Return the column names of a folder's first CSV window.

    None if the path is no folder, a record in it is no window, or no window is a CSV file.

    Raises:
        DataError: The file is not text or not CSV.
    """
    if not path.is_dir():
        return None
    files = [
        entry for entry in sorted(path.rglob("*")) if entry.is_file() and is_record_file(entry)
    ]
    if not files or any(modality_name_of_file(entry) != Windows.name for entry in files):
        return None
    first_table = next((entry for entry in files if entry.suffix.lower() == ".csv"), None)
    if first_table is None:
        return None
    return windows.column_names(
        atomic.read_bytes(first_table, limit=windows.CSV_BYTES_LIMIT), str(first_table)
    )


def list_folder(folder: Path) -> list[Path]:
    """List a folder in the order of names, without hidden entries.

    Raises:
        DataError: The folder cannot be read.
    """
    with reraise_os_errors(DataError, f"{folder}: cannot be read"):
        return sorted(
            entry
            for entry in folder.iterdir()
            if not entry.name.startswith(".") and entry.name.casefold() not in _PROGRAM_FILE_NAMES
        )


def is_inside(root: Path, entry: Path) -> bool:
    """Return whether a path, with all links resolved, lies below ``root``."""
    try:
        return entry.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def printable_name(name: str) -> str:
    """Return a file's name as printable text, even if its bytes are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _check_class_folders(path: Path, names: Sequence[str]) -> None:
    """Raise ``DataError`` if folders are not classes, or two names may mean the same class."""
    plain = {name: normalise_name(name).casefold() for name in names}
    words = {_folder_stem(name) for name in names}
    if words and words <= _SPLIT_FOLDER_NAMES | _SEGMENTATION_FOLDER_NAMES:
        looks, mend = (
            (
                "parts of a split",
                "point --data at one of them, and data.acceptance in client.yaml at another",
            )
            if words <= _SPLIT_FOLDER_NAMES
            else (
                "parts of a data set for detection or segmentation, which weightgate does not do",
                f"give each record one label in {RECORDS_CSV_NAME} (columns file, label), or sort"
                " them into a folder for each class",
            )
        )
        raise DataError(
            f"{path}: folders {quote_names(names)} look like {looks}, not like classes: {mend},"
            " or declare the labels (--labels a,b,c) if they are classes"
        )
    spellings: dict[str, str] = {}
    for name in names:
        twin = spellings.setdefault(plain[name], name)
        if twin == name:
            continue
        difference = (
            "look the same"
            if normalise_name(twin) == normalise_name(name)
            else "differ in case alone"
        )
        mend = (
            "join them"
            if normalise_name(twin) == normalise_name(name)
            else "join them, or declare both"
        )
        raise DataError(
            f"{path}: folders {twin!r} and {name!r} {difference}: one class or two? {mend}"
            + ("" if mend == "join them" else " (--labels)")
        )


def _folder_stem(name: str) -> str:
    """Return a folder's name in lower case, without a number at its end: ``train`` of Train_2."""
    return normalise_name(name).casefold().rstrip("0123456789_- ")


def _check_no_split_inside(path: Path, folders: Sequence[Path]) -> None:
    """Raise ``DataError`` if a folder is itself a data set with parts of a split."""
    for folder in folders:
        words = {_folder_stem(entry.name) for entry in list_folder(folder) if entry.is_dir()}
        if (
            words & _SPLIT_FOLDER_NAMES
            and words <= _SPLIT_FOLDER_NAMES | _SEGMENTATION_FOLDER_NAMES
        ):
            raise DataError(
                f"{path}: folder {folder.name!r} is a data set of its own, with parts of a split:"
                " point --data at it, or declare the labels (--labels a,b,c)"
            )


def _mask_folders(entries: Sequence[Path], labels: Sequence[str] | None) -> list[Path]:
    """Return the folders of segmentation masks, whose files are named after records or classes."""
    folders = [entry for entry in entries if entry.is_dir() and not entry.is_symlink()]
    masks = [
        entry for entry in folders if normalise_name(entry.name).casefold() in _MASK_FOLDER_NAMES
    ]
    if labels is not None or not masks:
        return []
    classes = [entry for entry in folders if entry not in masks]
    of_classes = {entry.name for entry in classes}
    of_classes |= {inner.stem for entry in classes for inner in list_files_below(entry)}
    return [
        mask
        for mask in masks
        if all(inner.stem.removesuffix("_mask") in of_classes for inner in list_folder(mask))
    ]


def _anomaly_split_folders(entries: Sequence[Path], labels: Sequence[str] | None) -> list[Path]:
    """Return the split folders of an MVTec AD or anomalib layout; empty for another layout.

    In that layout the training part has good records only, the test part good and defective ones,
    and masks lie beside them.
    """
    folders = {
        e: normalise_name(e.name).casefold() for e in entries if e.is_dir() and not e.is_symlink()
    }
    parts = [entry for entry, name in folders.items() if name in _SPLIT_FOLDER_NAMES]
    declared_names = {normalise_name(label).casefold() for label in labels or ()}
    if (
        declared_names & set(folders.values())
        or not set(folders.values()) <= _SPLIT_FOLDER_NAMES | _SEGMENTATION_FOLDER_NAMES
    ):
        return []
    classes = {part: [entry for entry in list_folder(part) if entry.is_dir()] for part in parts}
    training = [part for part in parts if folders[part].startswith("train")]
    one_class = len(training) == 1 and len(classes[training[0]]) == 1
    return parts if one_class and max(map(len, classes.values())) > 1 else []


def _set_aside_program_folder(root: Path, entry: Path, collected_files: CollectedFiles) -> bool:
    """Return whether a program left this folder behind; if so, list it as an unsupported file."""
    if entry.name in _ARCHIVE_FOLDER_NAMES:
        name = str(entry.relative_to(root))
        collected_files.unsupported_files.append(
            UnusableItem(name=name, reason="left behind by a program; delete it")
        )
        return True
    return False


def _add_file(root: Path, entry: Path, label: int, collected_files: CollectedFiles) -> None:
    """Add one file to the records, to the problems, or to the unsupported files."""
    name = str(entry.relative_to(root))
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown_name = printable_name(name)
        collected_files.problems.append(
            UnusableItem(name=shown_name, reason="its name is not UTF-8")
        )
        return
    if not is_inside(root, entry):
        collected_files.unsupported_files.append(
            UnusableItem(name=name, reason="a link that leads out of the folder, or in a circle")
        )
    elif not entry.is_file():
        broken = "a link to nothing" if entry.is_symlink() else "not a file"
        reason = "a link to a folder" if entry.is_dir() else broken
        collected_files.unsupported_files.append(UnusableItem(name=name, reason=reason))
    elif not is_record_file(entry):
        collected_files.unsupported_files.append(
            UnusableItem(name=name, reason=explain_unsupported_file(entry))
        )
    else:
        collected_files.paths.append(entry)
        collected_files.labels.append(label)


def _set_aside_accompanying_files(
    root: Path, collected_files: CollectedFiles, modality: str | None
) -> None:
    """Move texts beside other records, and tables beside images, to the unsupported files.

    If a modality is required, each file is judged by its own name, whatever the other files are.
    """
    texts = accompanying_files(collected_files.paths) if modality is None else set[Path]()
    if modality not in (None, Texts.name):
        texts = {
            path for path in collected_files.paths if modality_name_of_file(path) == Texts.name
        }
    for row in reversed(range(len(collected_files.paths))):
        path = collected_files.paths[row]
        if path in texts:
            name = str(path.relative_to(root))
            collected_files.unsupported_files.append(
                UnusableItem(name=name, reason="a text beside other records")
            )
            del collected_files.paths[row], collected_files.labels[row]
    kinds = (
        {modality_name_of_file(path) for path in collected_files.paths}
        if modality is None
        else {modality}
    )
    if Images.name not in kinds:
        return
    for row in reversed(range(len(collected_files.paths))):
        path = collected_files.paths[row]
        if path.parent == root and path.suffix.lower() == ".csv":
            collected_files.unsupported_files.append(
                UnusableItem(name=path.name, reason=_TABLE_BESIDE_RECORDS_REASON)
            )
            del collected_files.paths[row], collected_files.labels[row]


_TABLE_BESIDE_RECORDS_REASON = (
    "a table beside the records? a table of labels is called records.csv and has columns file and"
    " label; then class folders mean nothing"
)


def explain_unsupported_file(entry: Path) -> str:
    """Explain why a file holds no record, and suggest a remedy."""
    if entry.name == RECORDS_CSV_NAME:
        return "no table of records: its first line has no columns file and label"
    advice = CONVERSION_ADVICE_BY_SUFFIX.get(entry.suffix.lower(), "")
    return f"no file of {registry.list_modality_attribute('title', 'or')}" + (
        f": {advice}" if advice else ""
    )


def list_files_below(folder: Path) -> list[Path]:
    """List files below a folder at any depth, without hidden ones; folder links are listed, too."""
    files: list[Path] = []
    for entry in list_folder(folder):
        if entry.is_dir() and not entry.is_symlink():
            files += list_files_below(entry)
        else:
            files.append(entry)
    return files
