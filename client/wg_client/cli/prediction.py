"""What ``wg-client predict`` does, part by part: a damaged file keeps no other from its label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_core import atomic, cli
from wg_core.cli import note
from wg_core.errors import DataError
from wg_core.language import text
from wg_core.site import config as configuration
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.data.site_data import SiteData
    from wg_client.models.manifest import ModelsManifest
    from wg_client.models.predict import Accuracy, Inputs, Prediction
    from wg_client.models.shadow import Difference
    from wg_core.snapshot import Problem

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(slots=True)
class _OfPath:
    """Predictions of one argument of the command."""

    path: Path
    rows: list[Prediction] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    evaluation: list[Accuracy] | None = None


class Predictions:
    """Predictions of one model, gathered.

    Before there is a model: how like the plant's own each record is.
    """

    def __init__(
        self, home: ClientHome, model: tuple[ModelsManifest, str] | None, *, evaluate: bool
    ) -> None:
        from wg_client.models.calls import Judge
        from wg_client.models.shadow import Shadow

        self._shadow = None if model is None else Shadow.of_model(home, *model)
        self._judge = Judge.of_records(home) if model is None else Judge.of_model(home, *model)
        self._home = home
        self._model = model
        self._evaluate = evaluate
        self._found: list[_OfPath] = []
        self._differences: list[Difference] = []

    @property
    def count(self) -> int:
        """How many records were predicted."""
        return sum(len(path_result.rows) for path_result in self._found)

    @property
    def problems(self) -> list[Problem]:
        """What was left out."""
        return [problem for path_result in self._found for problem in path_result.problems]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label domain."""
        if self._model is not None:
            return self._model[0].labels
        return configuration.load(self._home).data.labels

    def add(self, path: Path) -> None:
        """Predict the records of a path, and say how far that is.

        Raises:
            DataError: There is nothing to predict, or nothing to evaluate with.
            VerificationError: The model's file, or the encoder, is another one.
        """
        import numpy as np

        from wg_client.data.inspection import decoded_parts
        from wg_client.models import predict as predicting

        if self._evaluate:
            _check_labels(path, self.labels)
        path_result = _OfPath(path)
        data, path_result.problems = records_at(self._home, self.labels, path)
        _name_others(path)
        inputs, parts = [], []  # kept for an evaluation alone
        with cli.progress(text("{path}: records", path=path), len(data)) as bar:
            done = 0
            for part, problems in decoded_parts(data):
                path_result.problems += problems
                done += len(part) + len(problems)
                if len(part):
                    rows, encoded = self._predicted(part)
                    path_result.rows += rows
                    if self._evaluate and encoded is not None:
                        inputs.append(encoded)
                        parts.append(part)
                bar.update(done, text("predicted"))
        if not path_result.rows and len(path_result.problems) == 1:
            raise DataError(f"{path_result.problems[0].name}: {path_result.problems[0].reason}")
        if self._model is not None and parts:
            read = replace(
                data,
                records=(),
                labels=np.concatenate([part.labels for part in parts]),
                names=tuple(name for part in parts for name in part.names),
                units=None,
                rows=None,
            )
            path_result.evaluation = predicting.evaluate(
                self._home, self._model[0], np.concatenate(inputs), read
            )
        self._found.append(path_result)

    def _predicted(self, part: SiteData) -> tuple[list[Prediction], Inputs | None]:
        """What is said of records, and what the model saw of them."""
        from wg_client.models import predict as predicting

        if self._model is None:
            inputs = self._judge.features(part.records)
            return self._judge.judge(predicting.without_model(part.names), inputs), None
        manifest, name = self._model
        inputs = predicting.encode_records(self._home, manifest, part)
        rows = predicting.predict(self._home, manifest, name, inputs, part.names)
        if self._shadow is not None:
            self._differences += self._shadow.differences(self._home, part, inputs, rows)
        return self._judge.judge(rows, inputs), inputs

    def document(self) -> dict[str, Any]:
        """What ``--json`` says."""
        results = []
        for path_result in self._found:
            result: dict[str, Any] = {
                "path": str(path_result.path),
                "predictions": canonical.to_builtins(path_result.rows),
                "left_out": canonical.to_builtins(path_result.problems),
            }
            if path_result.evaluation is not None:
                result["evaluation"] = canonical.to_builtins(path_result.evaluation)
            results.append(result)
        provenance = dict.fromkeys(("package", "model", "kept"))
        if self._model is not None:
            manifest, name = self._model
            entry = manifest.entry(name)
            provenance = {
                "package": manifest.package_id,
                "model": entry.name,
                "kept": manifest.kept,
            }
        return {
            **provenance,
            "labels": list(self.labels),
            "results": results,
            "shadow": {
                "compared": self.count if self._shadow is not None else 0,
                "differences": canonical.to_builtins(self._differences),
            },
        }

    def shadow_lines(self, *, shown: int = 20) -> Iterator[str]:
        """Where the shadow calls records by another label; nothing where there is none."""
        if self._shadow is None:
            return
        yield text(
            "shadow: {differ} of {compared} labels differ",
            differ=len(self._differences),
            compared=self.count,
        )
        for difference in self._differences[:shown]:
            yield text(
                "  {name}: {label} ({chance:.2f}), shadow {other} ({other_chance:.2f})",
                name=cli.printable(difference.name),
                label=cli.printable(difference.in_use),
                chance=difference.probability,
                other=cli.printable(difference.shadow),
                other_chance=difference.shadow_probability,
            )
        if len(self._differences) > shown:
            yield text("  {count} more; --json names all", count=len(self._differences) - shown)

    def lines(self) -> Iterator[str]:
        """What a person is shown."""
        kept_model = "" if self._model is None else self._model[0].kept
        for path_result in self._found:
            if path_result.rows and self._model is None:
                cli.note(text("no model yet: likeness to your own records alone"))
            elif path_result.rows:
                cli.note(
                    text(
                        "file, label, its probability, likeness to your own records, call"
                        " (sure, unsure, new), verdict (pass, reject):"
                    )
                )
            for row in path_result.rows:
                label = [cli.printable(row.label), f"{row.probability:.3f}"] if row.label else []
                cells = [*label, _share(row.likeness), row.call, row.verdict]
                yield "\t".join([cli.printable(row.name), *cells]).rstrip()
            for accuracy in path_result.evaluation or ():
                yield text(
                    "{model:24} {accuracy:5.1f} ± {error:4.1f} % of {records} records{mark}",
                    model=accuracy.model,
                    accuracy=100 * accuracy.accuracy,
                    error=100 * accuracy.error,
                    records=accuracy.records,
                    mark=text(" (kept)") if accuracy.model == kept_model else "",
                )

    def write(self, out: Path) -> None:
        """Write a CSV file that spreadsheets open: UTF-8 with its mark, no formulas.

        Raises:
            StorageError: It cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(("file", "label", "probability", "likeness", "call", "verdict"))
        for path_result in self._found:
            for row in path_result.rows:
                table.writerow(
                    (
                        _cell(row.name),
                        _cell(row.label),
                        f"{row.probability:.6f}",
                        _share(row.likeness),
                        row.call,
                        row.verdict,
                    )
                )
        data = text.getvalue().encode("utf-8-sig", "backslashreplace")
        atomic.write_bytes(out, data, mode=atomic.PRIVATE)


def records_at(
    home: ClientHome, labels: tuple[str, ...], path: Path
) -> tuple[SiteData, list[Problem]]:
    """The records at a path, read as the plant's own are, and what of it cannot be used.

    Raises:
        DataError: There is nothing, or nothing that can be read.
    """
    from wg_client.data.dataset import with_reading
    from wg_client.data.sensor_windows import is_log, survey_logs
    from wg_client.models import predict as predicting

    reading = configuration.load(home).data.reading
    if reading.log is not None and (path.is_dir() or is_log(path)):
        log_survey = survey_logs(path, labels, None, reading, None, lenient=True)
        return log_survey.data, list(log_survey.problems)
    return with_reading(predicting.load_records(path, labels), reading), []


def _name_others(path: Path) -> None:
    """Name a file of a folder that is no record: it gets no prediction."""
    from wg_client.data.dataset import RECORDS_CSV, is_record
    from wg_client.data.folders import files_below, why_no_record

    files = files_below(path) if path.is_dir() else []
    ignored_files = [file for file in files if not is_record(file) and file.name != RECORDS_CSV]
    if ignored_files:
        name, why = ignored_files[0].relative_to(path), why_no_record(ignored_files[0])
        note(
            text(
                "  {count} other files, such as {name}: {why}",
                count=len(ignored_files),
                name=name,
                why=why,
            )
        )


def _share(likeness: float | None) -> str:
    return "" if likeness is None else f"{likeness:.3f}"


def _cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _check_labels(path: Path, labels: tuple[str, ...]) -> None:
    """Refuse class folders none of which is one of the model's classes: all would be unlabelled."""
    from wg_client.data.dataset import RECORDS_CSV, listed

    if not path.is_dir() or (path / RECORDS_CSV).is_file():
        return
    folders = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != UNLABELLED_FOLDER
    )
    if folders and not set(folders) & set(labels):
        raise DataError(
            f"{path}: its folders are {listed(folders)}, the model's labels {listed(labels)}: none"
            " is the same; give the folders the model's names"
        )
