"""Predictions of ``wg-client predict``; a damaged file is listed, and the others are predicted."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_common import cli
from wg_common.cli import print_progress
from wg_common.language import Text, current_language, template, text
from wg_core import atomic, logs
from wg_core.errors import DataError, StorageError, WgError, reraise_os_errors
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.data.dataset import DatasetSurvey
    from wg_client.data.site_data import SiteData
    from wg_client.models.manifest import ModelsManifest
    from wg_client.models.predict import Prediction
    from wg_client.models.shadow import LabelDifference
    from wg_core.site.reading_config import ReadingConfig
    from wg_core.snapshot import UnusableItem

PREDICTION_COLUMNS = ("file", "label", "probability", "likeness", "call", "verdict")
_SURE_CALLS_TEMPLATE = template(
    "at most {share:.0f} in 100 predictions marked sure are wrong, with 90 % confidence"
)
_SURE_CALLS_WITHOUT_UNITS_TEMPLATE = template(
    "at most {share:.0f} in 100 predictions marked sure are wrong, with 90 % confidence, if every"
    " record is of another part"
)
_PREDICTION_TABLE_BYTES_LIMIT = 256 << 20
_FORMULA_START = re.compile(r"""(^|[;\t\r\n])(?='*"*[=+\-@\t\r＝＋－＠])""")
"""Pattern of the place before a formula's first sign, wherever a spreadsheet may begin a cell: it
may split lines at semicolons or tabs. A sign after apostrophes matches as well, so that no two
texts have the same escaped form."""


@dataclass(slots=True)
class _PathPredictions:
    """Predictions for the records of one path, and its unreadable records with reasons."""

    path: Path
    predictions: list[Prediction] = field(default_factory=list)
    problems: list[UnusableItem] = field(default_factory=list)


class PredictionRun:
    """Predictions of one model for all paths given to ``wg-client predict``."""

    def __init__(
        self,
        home: ClientHome,
        manifest: ModelsManifest,
        model_name: str,
        text_column: str | None = None,
    ) -> None:
        from wg_client.models.predictor import Predictor
        from wg_client.models.shadow import ShadowModel

        self._shadow = ShadowModel.find_shadow(home, manifest, model_name)
        predictor = Predictor.load(home, manifest, model_name)
        self._predictor = replace(
            predictor, reading_config=_with_text_column(predictor.reading_config, text_column)
        )
        self._verdict_rule = self._predictor.verdict_rule
        self._home = home
        self._manifest = manifest
        self._name = model_name
        self._text_column = text_column
        self._path_predictions: list[_PathPredictions] = []
        self._differences: list[LabelDifference] = []

    @property
    def prediction_count(self) -> int:
        """Number of records that were predicted."""
        return sum(len(path_result.predictions) for path_result in self._path_predictions)

    @property
    def problems(self) -> list[UnusableItem]:
        """Records that were left out, each with its reason."""
        return [
            problem for path_result in self._path_predictions for problem in path_result.problems
        ]

    def predict_path(self, path: Path) -> None:
        """Predict the records of a path, with a progress bar.

        Raises:
            DataError: There is nothing to predict.
            VerificationError: The model's file or the encoder has changed.
        """
        from wg_client.data.record_inspection import decode_in_batches
        from wg_client.models import predict as predicting

        path_result = _PathPredictions(path)
        modality = predicting.records_modality(self._manifest).name
        survey = read_new_records(
            self._home, self._manifest.labels, path, modality, self._text_column
        )
        data, path_result.problems = survey.data, list(survey.problems)
        if len(data):
            predicting.check_record_modality(self._manifest, data)
        for item in survey.unsupported_files[:1]:
            print_progress(
                text(
                    "  {count} other files, such as {name}: {why}",
                    count=len(survey.unsupported_files),
                    name=logs.escape_unprintable(item.name),
                    why=current_language().translate_error(item.reason),
                )
            )
        with cli.show_progress(text("{path}: records", path=path), len(data)) as bar:
            count = 0
            for part, problems in decode_in_batches(data):
                path_result.problems += problems
                count += len(part) + len(problems)
                if len(part):
                    path_result.predictions += self._predict_batch(part)
                bar.update(count, text("predicted"))
        if not path_result.predictions and len(path_result.problems) == 1:
            raise DataError(f"{path_result.problems[0].name}: {path_result.problems[0].reason}")
        self._path_predictions.append(path_result)

    def _predict_batch(self, batch: SiteData) -> list[Prediction]:
        """Predict some records, and note those to which the shadow model gives another label."""
        inputs = self._predictor.compute_inputs(batch)
        rows = self._predictor.predict(batch, inputs)
        if self._shadow is not None:
            self._differences += self._shadow.list_label_differences(
                self._home, batch, inputs, rows
            )
        return rows

    def add_unreadable_path(self, path: Path, error: DataError) -> None:
        """Add a path that cannot be read to the problems."""
        from wg_core.snapshot import UnusableItem

        why = str(error).removeprefix(f"{path}: ")
        self._path_predictions.append(
            _PathPredictions(path, problems=[UnusableItem(name=str(path), reason=why)])
        )

    def watch_folder(self, folder: Path, out: Path, *, pause_seconds: float) -> Iterator[str]:
        """Predict files as they arrive in a folder; append their rows to a table.

        A regular file is read when its size has not changed for ``pause_seconds`` seconds; links,
        hidden files, the table itself, and files that are in it already, are skipped. What cannot
        be read gets the verdict ``look``. Each appended row is yielded as a line of text. The loop
        never ends by itself.

        Raises:
            DataError: ``folder`` is not a folder.
            StorageError: The table cannot be written.
        """
        from wg_client.data.class_folders import list_files_below

        if not folder.is_dir():
            raise DataError(f"{folder}: no folder")
        known_names, sizes = _recorded_file_cells(out), dict[Path, int]()
        while True:
            for file in list_files_below(folder):
                name = _file_name_cell(file.relative_to(folder))
                size = _regular_file_size(file)
                if name in known_names or size is None or file.resolve() == out.resolve():
                    continue
                if sizes.get(file) != size:
                    sizes[file] = size
                    continue
                known_names.add(name)
                rows = self._predict_file_rows(file, name)
                _append_csv_rows(out, rows)
                yield from map("\t".join, rows)
            time.sleep(pause_seconds)

    def _predict_file_rows(self, file: Path, name_cell: str) -> list[tuple[str, ...]]:
        """Predict a file; return a row for each record, whose first cell begins with its name."""
        from wg_client.models.predictor import place_in_file

        try:
            rows, problems = self._predictor.predict_file(file)
        except (WgError, OSError, ValueError) as error:  # a person has to look at this file
            reason = str(error).removeprefix(f"{file}: ").removeprefix(f"{file.name}: ")
            return [_unreadable_cells(name_cell, reason)]
        return [
            *(_table_cells(row, name_cell + place_in_file(row.name, file)) for row in rows),
            *(
                _unreadable_cells(name_cell + place_in_file(item.name, file), item.reason)
                for item in problems
            ),
        ]

    def json_document(self) -> dict[str, Any]:
        """Build the JSON document of the predictions and problems."""
        return {
            "package": self._manifest.package_id,
            "model": self._manifest.find_entry(self._name).name,
            "kept": self._manifest.kept,
            "labels": list(self._manifest.labels),
            "results": [
                {
                    "path": str(path_result.path),
                    "predictions": canonical.to_builtins(path_result.predictions),
                    "left_out": canonical.to_builtins(path_result.problems),
                }
                for path_result in self._path_predictions
            ],
            "shadow": {
                "compared": self.prediction_count if self._shadow is not None else 0,
                "differences": canonical.to_builtins(self._differences),
            },
        }

    def shadow_lines(self, *, limit: int = 20) -> Iterator[str]:
        """Yield lines on records that the shadow model labels otherwise; none without a shadow."""
        if self._shadow is None:
            return
        yield text(
            "shadow: {differ} of {compared} labels differ",
            differ=len(self._differences),
            compared=self.prediction_count,
        )
        for difference in self._differences[:limit]:
            yield text(
                "  {name}: {label} ({chance:.2f}), shadow {other} ({other_chance:.2f})",
                name=logs.escape_unprintable(difference.name),
                label=logs.escape_unprintable(difference.in_use),
                chance=difference.probability,
                other=logs.escape_unprintable(difference.shadow),
                other_chance=difference.shadow_probability,
            )
        if len(self._differences) > limit:
            yield text("  {count} more; --json names all", count=len(self._differences) - limit)

    def left_out_lines(self) -> Iterator[Text]:
        """Yield a line on each record that was left out, with its reason in the user's language."""
        for problem in self.problems:
            why = current_language().translate_error(problem.reason)
            yield text("  left out: {name}: {why}", name=problem.name, why=why)

    def prediction_lines(self) -> Iterator[str]:
        """Yield a line of text for each prediction, after printing a legend and notes."""
        for path_result in self._path_predictions:
            if path_result.predictions:
                cli.print_progress(
                    text(
                        "file, label, its probability, likeness to your own records, call"
                        " (sure, unsure, new), verdict (pass, reject, look):"
                    )
                )
                for note in self.verdict_notes():
                    cli.print_progress(note)
            for row in path_result.predictions:
                figures = row.label, f"{row.probability:.3f}", _format_likeness(row.likeness)
                cells = map(logs.escape_unprintable, (row.name, *figures, row.call, row.verdict))
                yield "\t".join(cells).rstrip()

    def verdict_notes(self) -> Iterator[Text]:
        """Yield notes on the verdicts, if any: rule for passing, and bound on wrong sure calls."""
        from wg_client.models.calls import ONE_CLASS_WARNING

        if not self.prediction_count:
            return
        if self._verdict_rule.knows_one_class:
            yield ONE_CLASS_WARNING
        elif self._verdict_rule.good_label_mask is None:
            yield text(
                "no record passes or is rejected: it is not known which labels are good; name them"
                ' in client.yaml ("data.good")'
            )
        else:
            yield self._verdict_rule.pass_rule.guarantee_sentence
        if self._verdict_rule.wrong_sure_share:
            yield text(
                _SURE_CALLS_WITHOUT_UNITS_TEMPLATE
                if self._verdict_rule.pass_rule.has_no_unit_names
                else _SURE_CALLS_TEMPLATE,
                share=100 * self._verdict_rule.wrong_sure_share,
            )

    def write_csv(self, out: Path) -> None:
        """Write a CSV file for spreadsheets: UTF-8 with a byte order mark, no formulas.

        Raises:
            StorageError: The file cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(PREDICTION_COLUMNS)
        for path_result in self._path_predictions:
            table.writerows(
                _table_cells(row, spreadsheet_cell(row.name)) for row in path_result.predictions
            )
        data = text.getvalue().encode("utf-8-sig", "backslashreplace")
        atomic.write_bytes(out, data, mode=atomic.PRIVATE_FILE_MODE)


def _table_cells(prediction: Prediction, name_cell: str) -> tuple[str, ...]:
    """Return a prediction as table cells in the order of ``PREDICTION_COLUMNS``."""
    figures = f"{prediction.probability:.6f}", _format_likeness(prediction.likeness)
    return (
        name_cell,
        spreadsheet_cell(prediction.label),
        *figures,
        prediction.call,
        prediction.verdict,
    )


def _unreadable_cells(name_cell: str, reason: str) -> tuple[str, ...]:
    """Return the table cells of a record that cannot be read, in the user's language."""
    speak = current_language()
    note = speak(text("unreadable: {why}", why=speak.translate_error(reason)))
    return name_cell, "", "", "", spreadsheet_cell(note), "look"


def _regular_file_size(file: Path) -> int | None:
    """Return the size of a regular file; None for a link, a pipe, a device, or no file."""
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _file_name_cell(path: Path) -> str:
    """Return the cell of a file's name in a table; no two names have the same cell.

    A name that ends like that of a record in a file gets a backslash before its last character.
    """
    from wg_client.models.predictor import PLACE_IN_FILE_PATTERN

    name = path.as_posix().replace("\\", r"\\").encode("utf-8", "backslashreplace").decode()
    if PLACE_IN_FILE_PATTERN.search(name):
        name = f"{name[:-1]}\\{name[-1]}"
    return spreadsheet_cell(name)


def _recorded_file_cells(out: Path) -> set[str]:
    """Return the cells of files' names in a table of ``predict --watch``; empty without a table."""
    from wg_client.models.predictor import PLACE_IN_FILE_PATTERN

    if not out.exists():
        return set()
    data = atomic.read_bytes(out, limit=_PREDICTION_TABLE_BYTES_LIMIT).decode(
        "utf-8-sig", "replace"
    )
    rows = csv.reader(io.StringIO(data, newline=""))
    cells = (row[0] for row in rows if len(row) == len(PREDICTION_COLUMNS))
    return {PLACE_IN_FILE_PATTERN.sub("", cell) for cell in cells}


def _append_csv_rows(out: Path, rows: list[tuple[str, ...]]) -> None:
    """Append rows to a table for spreadsheets; a new table gets a header."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    if not out.exists():
        text.write("\ufeff")
        table.writerow(PREDICTION_COLUMNS)
    table.writerows(rows)
    with reraise_os_errors(StorageError, f"{out}: cannot be written"), out.open("ab") as stream:
        out.chmod(atomic.PRIVATE_FILE_MODE)
        stream.write(text.getvalue().encode("utf-8", "backslashreplace"))
        stream.flush()
        os.fsync(stream.fileno())


def read_new_records(
    home: ClientHome,
    labels: tuple[str, ...],
    path: Path,
    modality: str,
    text_column: str | None = None,
) -> DatasetSurvey:
    """Read the records at a path with the plant's settings, and note labels that are ignored.

    Args:
        modality: Modality of the plant's records.
        text_column: Column of a table with the texts; None: that of the settings.

    Raises:
        DataError: There is nothing that can be read.
    """
    from wg_client.data.dataset import quote_names
    from wg_client.models import predict as predicting

    reading = _with_text_column(configuration.load(home).data.reading, text_column)
    survey = predicting.read_new_records(path, labels, reading, modality)
    if survey.undeclared_labels:
        names = quote_names([label[:80] for label in survey.undeclared_labels])
        print_progress(
            text("{path}: undeclared labels are ignored: {names}", path=path, names=names)
        )
    return survey


def _with_text_column(reading: ReadingConfig, text_column: str | None) -> ReadingConfig:
    """Return the settings with ``text_column`` as column of texts, unless it is None."""
    columns = (text_column or reading.columns[0], reading.columns[1])
    return replace(reading, columns=columns)


def _format_likeness(likeness: float | None) -> str:
    return "" if likeness is None else f"{likeness:.3f}"


def spreadsheet_cell(text: str) -> str:
    """Escape a text so that no spreadsheet takes it for a formula."""
    return _FORMULA_START.sub(r"\1'", text)
