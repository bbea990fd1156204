"""Inspection of a data set: decode each record once, hash its content, and resolve duplicates.

The content of a record is its decoded values, whatever file they came from. With the unit rule
``record`` each distinct content is one privacy unit and counts once, however many files hold it.
The rules below look only at files with the same content, and within one unit if units have several
records, so that adding or removing one record, or one unit, changes nothing about any other:

* the same content under two labels: no file counts, and all are problems;
* the same content with and without a label: the labelled file counts;
* the same content under one label: one file counts, and the others are listed as duplicates.

A content that is in two units therefore counts in each. If the units were joined, or the content
left out of both, one more unit could change the contribution of another to the statistics, and the
sensitivity would not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import DatasetSurvey
from wg_client.data.record_hints import HintCollector
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_common.language import text
from wg_common.modalities.base import Record, content_digest
from wg_core.errors import DataError
from wg_core.release.freeze import ProgressCallback
from wg_core.site.reading_config import RECORDS_PER_CHUNK
from wg_core.snapshot import DuplicateRecord, UnusableItem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspection:
    """Decoded and hashed data set: the records that can be frozen, and the problems of the others.

    Attributes:
        data: The usable records.
        digests: SHA-256 of each usable record's content.
        shapes: First two dimensions of each record, int64 ``[n, 2]``; 0 for a missing one.
        problems: All records that cannot be used, each with its reason.
        layout: Layout that was recognised, as a noun phrase.
        duplicates: Records with the same content as another one, which counts for them.
        hints: Remarks for a person; nothing is refused because of them.
    """

    data: SiteData
    digests: tuple[bytes, ...]
    shapes: NDArray[np.int64]
    problems: tuple[UnusableItem, ...]
    duplicates: tuple[DuplicateRecord, ...]
    layout: str
    hints: tuple[str, ...] = ()

    @property
    def paths(self) -> Sequence[Path] | None:
        """File of each record; None if all records are in one file."""
        return getattr(self.data.records, "paths", None) or None

    def select_rows(self, rows: Sequence[int]) -> Inspection:
        """Return the inspection with only some of its records, but all problems and hints."""
        return replace(
            self,
            data=self.data.select_rows(rows),
            digests=tuple(self.digests[row] for row in rows),
            shapes=self.shapes[list(rows)],
        )

    def read(self, row: int) -> tuple[Record, bytes]:
        """Return one record and the SHA-256 of its content; errors as for ``decode_row``."""
        record = decode_row(self.data, row)
        return record, content_digest(record)


def inspect_records(
    survey: DatasetSurvey, *, has_units: bool, progress: ProgressCallback | None = None
) -> Inspection:
    """Decode and hash every record of a survey.

    Args:
        has_units: The unit column names the privacy units; otherwise each content is one unit.
        progress: Called with the stage ``read``, the number of records read, and their total.
    """
    data = survey.data
    problems = [*survey.problems, *survey.unsupported_files]
    digests: dict[int, bytes] = {}
    hint_collector = HintCollector(data.modality)
    shapes: dict[int, tuple[int, int]] = {}
    for row in range(len(data)):
        try:
            record = decode_row(data, row)
        except DataError as error:
            problems.append(
                UnusableItem(
                    name=data.names[row], reason=_error_message_without_path(data, row, error)
                )
            )
        else:
            digests[row] = content_digest(record)
            hint_collector.add_record(data.names[row], record)
            first_side, second_side, *_ = *record.shape, 0, 0
            shapes[row] = first_side, second_side
        if progress is not None and ((row + 1) % RECORDS_PER_CHUNK == 0 or row + 1 == len(data)):
            progress("read", row + 1, len(data))
    unit_of = (
        data.privacy_units if has_units and data.privacy_units is not None else [""] * len(data)
    )
    groups: dict[tuple[str, bytes], list[int]] = {}
    for row, digest in digests.items():
        groups.setdefault((unit_of[row], digest), []).append(row)
    counted_rows: list[int] = []
    duplicates: list[DuplicateRecord] = []
    for rows in groups.values():
        _resolve_duplicates(data, rows, counted_rows, problems, duplicates)
    counted_rows.sort()
    return Inspection(
        data=data.select_rows(counted_rows),
        digests=tuple(digests[row] for row in counted_rows),
        shapes=np.array([shapes[row] for row in counted_rows], dtype=np.int64).reshape(-1, 2),
        problems=tuple(problems),
        duplicates=tuple(duplicates),
        layout=survey.layout,
        hints=(*survey.hints, *hint_collector.hints(), *_shared_content_hints(groups)),
    )


def decode_row(data: SiteData, row: int) -> Record:
    """Decode one record of a surveyed data set.

    Raises:
        DataError: The record cannot be decoded, for whatever reason.
    """
    try:
        return data.records[row]
    except DataError:
        raise
    except Exception as error:  # third-party decoders may fail in any way on hostile files
        raise DataError(f"{data.names[row]}: cannot be decoded: {type(error).__name__}") from error


def decode_in_batches(data: SiteData) -> Iterator[tuple[SiteData, tuple[UnusableItem, ...]]]:
    """Yield decoded records, with the problems of those that cannot be decoded, part by part.

    A part has at most ``RECORDS_PER_CHUNK`` records, and only one part is in memory at a time.
    """
    for start in range(0, len(data), RECORDS_PER_CHUNK):
        decodable: list[int] = []
        records: list[Record] = []
        problems: list[UnusableItem] = []
        for row in range(start, min(start + RECORDS_PER_CHUNK, len(data))):
            try:
                records.append(decode_row(data, row))
                decodable.append(row)
            except DataError as error:
                reason = _error_message_without_path(data, row, error)
                problems.append(UnusableItem(name=data.names[row], reason=reason))
        yield replace(data.select_rows(decodable), records=records), tuple(problems)


def _resolve_duplicates(
    data: SiteData,
    rows: list[int],
    counted_rows: list[int],
    problems: list[UnusableItem],
    duplicates: list[DuplicateRecord],
) -> None:
    """Choose which of the rows with the same content in one privacy unit counts.

    The chosen row is appended to ``counted_rows``, and the others to ``duplicates``; if the rows
    have different labels, all are appended to ``problems``.
    """
    if len(rows) == 1:
        counted_rows.append(rows[0])
        return
    names = [data.names[row] for row in rows]
    labels = sorted({int(data.labels[row]) for row in rows} - {UNLABELLED})
    if len(labels) > 1:
        words = ", ".join(repr(data.label_names[label]) for label in labels)
        problems += [
            UnusableItem(name=name, reason=f"the same content has labels {words}") for name in names
        ]
        return
    choice = min(
        (row for row in rows if not labels or data.labels[row] != UNLABELLED),
        key=lambda row: data.names[row],
    )
    counted_rows.append(choice)
    duplicates += [
        DuplicateRecord(name=data.names[row], same_as=data.names[choice])
        for row in rows
        if row != choice
    ]


def _shared_content_hints(unit_and_digest_pairs: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return a hint if contents occur in several privacy units, otherwise an empty list."""
    unit_characters = 40
    units: dict[bytes, list[str]] = {}
    for unit, digest in unit_and_digest_pairs:
        units.setdefault(digest, []).append(unit)
    several = [unit_names for unit_names in units.values() if len(unit_names) > 1]
    if not several:
        return []
    shown_units = ", ".join(unit[:unit_characters] for unit in sorted(several[0])[:5])
    return [
        text(
            "{count} contents are in several privacy units, first in {units}: each counts "
            "in every unit. If these units are one person or part, give them one name",
            count=len(several),
            units=shown_units,
        )
    ]


def _error_message_without_path(data: SiteData, row: int, error: DataError) -> str:
    """Return an error's message without the file's name, which is shown beside it."""
    words = str(error)
    paths = getattr(data.records, "paths", None)
    for prefix in (f"{paths[row]}: " if paths else "", f"{data.names[row]}: "):
        if prefix:
            words = words.removeprefix(prefix)
    return words
