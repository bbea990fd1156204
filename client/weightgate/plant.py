"""Python interface to a plant's home folder: its budget, models and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_client.data import plant_data as plants
from wg_client.data.dataset import DatasetSurvey
from wg_client.data.record_inspection import decode_in_batches
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_client.methods import registry
from wg_client.models import adoption, predict, store
from wg_client.models.acceptance import (
    AcceptanceResults,
    acceptance_set_inputs,
    evaluate_on_acceptance_set,
    usable_acceptance_set,
)
from wg_client.models.calls import VerdictRule
from wg_client.models.manifest import ModelsManifest
from wg_client.models.predict import Prediction
from wg_client.plant_language import load_plant_language
from wg_client.release import preview
from wg_client.release.preview import ReleasePreview
from wg_client.selection.report import draw_acceptance_curve
from wg_common import language
from wg_common.charts import LineChart, template_environment
from wg_common.language import text
from wg_common.modalities import registry as modalities
from wg_core.errors import DataError, UsageError
from wg_core.release.budget import PlantSpending, read_plant_spending
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import UnusableItem

RecordsLike = str | Path | Sequence[str | Path] | Sequence[NDArray[Any]] | NDArray[Any]
"""A file or folder, several of them, or records as arrays.

An image is uint8 ``[h, w]`` or ``[h, w, 3]``, a window floating ``[channels, samples]``.
"""


@dataclass(frozen=True, slots=True, repr=False)
class Plant:
    """Plant, opened by its home folder: its budget, models, predictions and release preview.

    Attributes:
        home: Home folder.
        config: ``client.yaml``, as it was when the plant was opened.
    """

    home: ClientHome
    config: ClientConfig

    @classmethod
    def open(cls, home: str | Path) -> Plant:
        """Open a home that ``wg-client init`` made.

        Raises:
            UsageError: ``home`` is not a path.
            ConfigError: There is no home, or ``client.yaml`` is wrong.
        """
        if not isinstance(home, str | Path):
            raise UsageError(f"home: {home!r}, expected a path")
        client_home = ClientHome(Path(home))
        client_home.check_initialised()
        return cls(client_home, configuration.load(client_home))

    @property
    def site(self) -> str:
        """Name of the plant, as the server knows it."""
        return self.config.site

    @property
    def labels(self) -> tuple[str, ...]:
        """Declared label domain, in the order of probabilities."""
        return self.config.data.labels

    def __repr__(self) -> str:
        return f"Plant({self.site!r}, home={str(self.home.root)!r})"

    def _repr_html_(self) -> str:
        """Summarise the plant for a notebook: labels, budget, model in use, acceptance curve."""
        spend, picture = self.budget, None
        rows: list[tuple[str, str]] = [
            (text("plant"), self.site),
            (text("labels"), ", ".join(self.labels)),
            (text("privacy spent"), f"ε {spend.epsilon:.2f} / {spend.cap_epsilon}"),
        ]
        if adoption.read_adoption_history(self.home).latest_change.in_use is not None:
            manifest, name = self.chosen_model(None, None)
            rows.append((text("model in use"), text(registry.method_title(name))))
            picture = draw_acceptance_curve(self.acceptance(manifest.package_id))
        return NotebookPage(rows, picture)._repr_html_()

    @property
    def budget(self) -> PlantSpending:
        """Privacy cap and the cost of each release; errors as for ``read_plant_spending``."""
        return read_plant_spending(self.home, self.config)

    @property
    def models(self) -> list[ModelsManifest]:
        """List the models of each applied package, with the findings of the acceptance checks."""
        return store.all_manifests(self.home)

    @property
    def report(self) -> Path:
        """Path of the report on the last model selection, which does not exist before the first."""
        return self.home.report

    def acceptance(self, package: str | None = None) -> AcceptanceResults:
        """Return the errors of a package's models on the acceptance set.

        ``package`` is an id, or its beginning; None: that of the model in use. Errors as for
        ``predict``.
        """
        manifest, _ = self.chosen_model(package, None)
        return evaluate_on_acceptance_set(self.home, plants.open_plant_data(self.home), manifest)

    def acceptance_curve(self, package: str | None = None) -> NotebookPage:
        """Draw shares of false accepts and of false rejects against a kept model's threshold.

        ``package`` is the package whose kept model is judged; argument and errors as for
        ``acceptance``.
        """
        return NotebookPage(chart=draw_acceptance_curve(self.acceptance(package)))

    def wrong_calls(
        self, *, package: str | None = None, model: str | None = None
    ) -> list[dict[str, str | float | None]]:
        """List the records of the acceptance set whose label a model predicts wrongly.

        A dict for each has its name and label, and by ``predict`` the label called, probability,
        likeness, call and verdict. Arguments and errors are those of ``predict``, without ``X``.

        Raises:
            DataError: There is no acceptance set that can judge the model.
        """
        manifest, name = self.chosen_model(package, model)
        site = plants.open_plant_data(self.home)
        records = usable_acceptance_set(site, manifest)
        if records is None:
            raise DataError("there is no acceptance set to judge it: name one (data.acceptance)")
        inputs = acceptance_set_inputs(self.home, site, records, manifest)
        logits = predict.model_logits(self.home, manifest, name, inputs)
        rows = predict.predictions_from_logits(logits, manifest, records.listing.names)
        judge = VerdictRule.load(self.home, manifest, name)
        calls = zip(
            judge.add_calls_and_verdicts(rows, inputs, logits), records.records.labels, strict=True
        )
        return [
            {
                "name": prediction.name,
                "label": self.labels[truth],
                "called": prediction.label,
                "probability": prediction.probability,
                "likeness": prediction.likeness,
                "call": prediction.call,
                "verdict": prediction.verdict,
            }
            for prediction, truth in calls
            if prediction.label != self.labels[truth]
        ]

    def check(self, *, epsilon: str | None = None, delta: str | None = None) -> ReleasePreview:
        """Preview a release: its contents and its privacy cost. Nothing is sent or charged.

        Args:
            epsilon: Epsilon of the release, as a decimal string; None: the largest that the policy
                allows.
            delta: Delta of the release, as a decimal string; None: the largest that the policy
                allows.

        Raises:
            UsageError: ``epsilon`` or ``delta`` is not a string.
            ConfigError: Nothing was frozen, or a string is not a decimal number.
        """
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if not (value is None or isinstance(value, str)):
                raise UsageError(f"{name}: {value!r}, expected a decimal string such as '1'")
        return preview.preview_release(self.home, epsilon=epsilon, delta=delta)

    def predict(
        self, X: RecordsLike, *, package: str | None = None, model: str | None = None
    ) -> list[Prediction]:
        """Predict each record's label, probabilities and likeness to the plant's records.

        Args:
            X: Files, folders or arrays; see ``RecordsLike``.
            package: Id of a package, or its beginning; None: the package of the model in use.
            model: Name of a model; None: the model in use, or the kept model of the package.

        Raises:
            ConfigError: There is no such model.
            DataError: A record cannot be read, or the model does not take its kind.
            VerificationError: The model's file or the encoder has changed.
        """
        manifest, name = self.chosen_model(package, model)
        judge, predictions = VerdictRule.load(self.home, manifest, name), []
        for data in self.read(X, predict.records_modality(manifest).name):
            inputs = predict.compute_model_inputs(self.home, manifest, data)
            logits = predict.model_logits(self.home, manifest, name, inputs)
            rows = predict.predictions_from_logits(logits, manifest, data.names)
            predictions += judge.add_calls_and_verdicts(rows, inputs, logits)
        return predictions

    def chosen_model(self, package: str | None, model: str | None) -> tuple[ModelsManifest, str]:
        """Return the models of a package, and the name of the one that ``predict`` would use."""
        return adoption.find_model(self.home, package, model)

    def read(self, X: RecordsLike, modality: str | None = None) -> list[SiteData]:
        """Return decoded records in parts, read by the settings of ``client.yaml``.

        Args:
            X: Files, folders or arrays; see ``RecordsLike``.
            modality: Modality of the records in files; None: the one that the files imply.

        Raises:
            UsageError: ``X`` is neither paths nor arrays.
            DataError: A record cannot be read; the message has its name.
        """
        if isinstance(X, str | Path):
            X = [X]
        if not isinstance(X, Sequence | np.ndarray):
            raise UsageError(f"X: {type(X).__name__}, expected paths or arrays")
        parts: list[SiteData] = []
        reading = self.config.data.reading
        if len(X) and isinstance(X[0], str | Path):
            surveys = [
                predict.read_new_records(Path(str(path)), self.labels, reading, modality)
                for path in X
            ]
        else:
            surveys = [DatasetSurvey(data=_site_data_of_arrays(X, self.labels), layout="")]
        for survey in surveys:
            _raise_first_problem(survey.problems)
            for part, problems in decode_in_batches(survey.data):
                _raise_first_problem(problems)
                parts.append(part)
        return parts


@dataclass(frozen=True, slots=True)
class NotebookPage:
    """Table and chart for a notebook.

    Attributes:
        rows: Name and value of each line of the table.
        chart: Curve of false accepts and false rejects; None: there is no acceptance set.
    """

    rows: Sequence[tuple[str, str]] = ()
    chart: LineChart | None = None

    def _repr_html_(self) -> str:
        speak = load_plant_language(language.environment_language())
        page = template_environment("wg_client.selection").get_template("plant.html.j2")
        return page.render(rows=self.rows, picture=self.chart, t=speak.translate, say=speak)


def _raise_first_problem(problems: Sequence[UnusableItem]) -> None:
    for problem in problems:
        raise DataError(f"{problem.name}: {problem.reason}")


def _site_data_of_arrays(X: Sequence[Any] | NDArray[Any], labels: tuple[str, ...]) -> SiteData:
    records = [np.asarray(record) for record in X]
    if not records:
        raise DataError("X: no records")
    kind = modalities.modality_of_array(records[0][None])
    if kind is None:
        raise DataError(
            f"X: {records[0].dtype} of shape {records[0].shape}; expected paths, or a list of"
            " images (uint8, h x w or h x w x 3) or windows (floating, channels x samples)"
        )
    for row, record in enumerate(records):
        try:
            kind.check_record(record)
        except DataError as error:
            raise DataError(f"X[{row}]: {error}") from error
    return SiteData(
        records=records,
        modality=kind.name,
        labels=np.full(len(records), UNLABELLED, dtype=np.int64),
        label_names=labels,
        names=tuple(f"X[{row}]" for row in range(len(records))),
        source_rows=np.arange(len(records)),
    )
