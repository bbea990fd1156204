"""Survey of a data set in one ``.npz`` file (``wg_common.modalities.arrays``).

In ``y``, -1 means no label; ``split`` is 0 for the plant's records and 1 for held-out records; a
further array may name the privacy unit of each record.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data import dataset
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities.arrays import LabelledArrays, read_labelled_arrays
from wg_common.modalities.base import Modality, Record
from wg_core.errors import DataError
from wg_core.snapshot import UnusableItem


def survey_npz(path: Path, options: dataset.SurveyOptions) -> dataset.DatasetSurvey:
    """Survey a data set that is one ``.npz`` file.

    Raises:
        DataError: The file as a whole cannot be used.
    """
    labels, unit_column, split = options.labels, options.unit_column, options.split
    file = read_labelled_arrays(path, [unit_column] if unit_column else [], options.modality)
    x, kind = file.records, file.modality
    if options.modality is not None:
        dataset.check_modality(options.modality, kind.name, path)
    if file.classes is None and labels is None:
        raise DataError(f"{path}: no array classes; declare the labels (--labels a,b,c)")
    classes = file.classes if file.classes is not None else tuple(labels or ())
    domain = classes if labels is None else tuple(labels)
    y, reasons = _npz_labels_and_problems(file.labels, classes, domain, len(x), options)
    units = None
    if unit_column is not None:
        if unit_column not in file.extra_arrays:
            raise DataError(f"{path}: no array {unit_column!r} to name the privacy unit")
        units = [str(value) for value in file.extra_arrays[unit_column].tolist()]
        for row, unit in enumerate(units):
            if not unit.strip():
                reasons.setdefault(row, f"array {unit_column}: empty: no privacy unit")
    keep: NDArray[np.int64] = np.arange(len(x), dtype=np.int64)
    if split is not None and "split" in file.extra_arrays:
        keep = np.flatnonzero(file.extra_arrays["split"] == split).astype(np.int64)
    for row, reason in file.problems_by_row.items():
        reasons.setdefault(row, f"array x: {kind.singular} {row}: {reason}")
    _add_record_problems(x, kind, keep, reasons)
    good = np.array([row for row in keep if int(row) not in reasons], dtype=np.int64)
    dataset.check_record_count(path, len(good))
    return dataset.DatasetSurvey(
        data=SiteData(
            records=[x[row] for row in good],
            modality=kind.name,
            labels=y[good],
            label_names=domain,
            names=tuple(f"{path.name}[{row}]" for row in good),
            privacy_units=None if units is None else tuple(units[row] for row in good),
            source_rows=good,
        ),
        layout=text("a .npz file"),
        problems=tuple(
            UnusableItem(name=f"{path.name}[{row}]", reason=reasons[int(row)])
            for row in keep
            if int(row) in reasons
        ),
        hints=tuple(_float_image_hints(path, file)),
        undeclared_labels=dataset.undeclared_labels(classes, domain, options),
    )


def _float_image_hints(path: Path, file: LabelledArrays) -> Iterator[str]:
    """Yield a hint if an array of floats is read as images."""
    if file.are_from_floats:
        yield text("{path}: x is read as pictures that were saved as floats", path=path.name)


def _add_record_problems(
    records: Record, modality: Modality, rows: NDArray[np.int64], problem_by_row: dict[int, str]
) -> None:
    for row in rows:
        try:
            modality.check_record(records[row])
        except DataError as error:
            problem_by_row.setdefault(int(row), f"array x: {modality.singular} {row}: {error}")


def _npz_labels_and_problems(
    y: NDArray[np.int64] | None,
    file_classes: tuple[str, ...],
    domain: tuple[str, ...],
    record_count: int,
    options: dataset.SurveyOptions,
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return labels as indices into the label domain, and the problem of each wrong row.

    Args:
        y: Labels as indices into ``file_classes``, ``[n]``; None: no labels.
        file_classes: Names of the classes in the file.
    """
    if y is None:
        return np.full(record_count, UNLABELLED, dtype=np.int64), {}
    wrong = (y < UNLABELLED) | (y >= len(file_classes))
    reasons = {
        int(row): f"array y: {y[row]}, expected -1 to {len(file_classes) - 1}"
        for row in np.flatnonzero(wrong)
    }
    y = np.where(wrong, UNLABELLED, y)
    index = dataset.label_positions(domain)
    for row in np.flatnonzero(y >= 0):
        if options.refuses_label(dataset.normalise_name(file_classes[y[row]]), index):
            reasons[int(row)] = (
                f"array y: {dataset.explain_undeclared_label(file_classes[y[row]], domain)}"
            )
    table = [
        *(index.get(dataset.normalise_name(name), UNLABELLED) for name in file_classes),
        UNLABELLED,
    ]
    return np.take(np.array(table, dtype=np.int64), y), reasons
