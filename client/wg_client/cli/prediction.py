"""What ``wg-client predict`` does, part by part: a damaged file keeps no other from its label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
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
    from wg_client.models.calls import Judge
    from wg_client.models.manifest import ModelsManifest
    from wg_client.models.predict import Accuracy, Prediction
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
    """Predictions of one model, gathered."""

    def __init__(
        self,
        home: ClientHome,
        manifest: ModelsManifest,
        name: str,
        *,
        evaluate: bool,
        heat_maps: Path | None = None,
    ) -> None:
        from wg_client.models.calls import Judge
        from wg_client.models.shadow import Beside

        self._beside = Beside.of_home(home, manifest, name)
        self._judge = Judge.of_model(home, manifest, name)
        self._heat_maps = heat_maps
        self._home = home
        self._manifest = manifest
        self._name = name
        self._evaluate = evaluate
        self._found: list[_OfPath] = []

    @property
    def count(self) -> int:
        """How many records were predicted."""
        return sum(len(path_result.rows) for path_result in self._found)

    @property
    def problems(self) -> list[Problem]:
        """What was left out."""
        return [problem for path_result in self._found for problem in path_result.problems]

    @cached_property
    def compared(self) -> tuple[int, tuple[Difference, ...]]:
        """What the shadow predicted, too, and where it differs; kept in the home when asked."""
        return (0, ()) if self._beside is None else self._beside.save()

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
            _check_labels(path, self._manifest.labels)
        path_result = _OfPath(path)
        data, path_result.problems = records_at(self._home, self._manifest.labels, path)
        _name_others(path)
        inputs, parts = [], []  # kept for an evaluation alone
        with cli.progress(text("{path}: records", path=path), len(data)) as bar:
            done = 0
            for part, problems in decoded_parts(data):
                path_result.problems += problems
                done += len(part) + len(problems)
                if len(part):
                    encoded = predicting.encode_records(self._home, self._manifest, part)
                    rows = predicting.predict(
                        self._home, self._manifest, self._name, encoded, part.names
                    )
                    path_result.rows += self._judge.judge(rows, encoded)
                    if self._beside is not None:
                        self._beside.see(part, encoded, rows)
                    if self._heat_maps is not None:
                        write_heat_maps(self._heat_maps, self._judge, part)
                    if self._evaluate:
                        inputs.append(encoded)
                        parts.append(part)
                bar.update(done, text("predicted"))
        if not path_result.rows and len(path_result.problems) == 1:
            raise DataError(f"{path_result.problems[0].name}: {path_result.problems[0].reason}")
        if self._evaluate and parts:
            read = replace(
                data,
                records=(),
                labels=np.concatenate([part.labels for part in parts]),
                names=tuple(name for part in parts for name in part.names),
                units=None,
                rows=None,
            )
            path_result.evaluation = predicting.evaluate(
                self._home, self._manifest, np.concatenate(inputs), read
            )
        self._found.append(path_result)

    def document(self) -> dict[str, Any]:
        """What ``--json`` says."""
        compared, differences = self.compared
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
        return {
            "package": self._manifest.package_id,
            "model": self._manifest.entry(self._name).name,
            "kept": self._manifest.kept,
            "labels": list(self._manifest.labels),
            "results": results,
            "shadow": {"compared": compared, "differences": canonical.to_builtins(differences)},
        }

    def lines(self) -> Iterator[str]:
        """What a person is shown."""
        for path_result in self._found:
            if path_result.rows:
                cli.note(
                    text(
                        "file, label, its probability, likeness to your own records, call"
                        " (sure, unsure, new), verdict (pass, reject):"
                    )
                )
            for row in path_result.rows:
                shown = "\t".join(map(cli.printable, (row.name, row.label)))
                figures = f"{row.probability:.3f}\t{_share(row.likeness)}"
                yield f"{shown}\t{figures}\t{row.call}\t{row.verdict}".rstrip()
            for accuracy in path_result.evaluation or ():
                yield text(
                    "{model:24} {accuracy:5.1f} ± {error:4.1f} % of {records} records{mark}",
                    model=accuracy.model,
                    accuracy=100 * accuracy.accuracy,
                    error=100 * accuracy.error,
                    records=accuracy.records,
                    mark=text(" (kept)") if accuracy.model == self._manifest.kept else "",
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
    others = [file for file in files if not is_record(file) and file.name != RECORDS_CSV]
    if others:
        name, why = others[0].relative_to(path), why_no_record(others[0])
        note(
            text(
                "  {count} other files, such as {name}: {why}",
                count=len(others),
                name=name,
                why=why,
            )
        )


def write_heat_maps(folder: Path, judge: Judge, part: SiteData) -> int:
    """Write a PNG for each image, named after it; returns how many.

    Raises:
        StorageError: The folder cannot be written.
    """
    pictures = judge.heat_maps(part.records)
    for name, picture in zip(part.names, pictures, strict=False):
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[-120:].lstrip(".")
        number = canonical.sha256_hex(name.encode("utf-8", "surrogateescape"))[:8]
        atomic.write_bytes(folder / f"{plain}-{number}.png", picture, mode=atomic.PRIVATE)
    return len(pictures)


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
