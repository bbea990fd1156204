"""Predictor: one loaded model that predicts records with their verdicts, in milliseconds."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wg_client.data.dataset import with_reading_config
from wg_client.data.record_inspection import decode_in_batches
from wg_client.data.sensor_log import SENSOR_LOG_SUFFIXES
from wg_client.data.site_data import SiteData
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.models import predict, store
from wg_client.models.calls import VerdictRule
from wg_client.models.manifest import ModelsManifest
from wg_client.models.predict import ModelInputs, Prediction
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.site.reading_config import ReadingConfig
from wg_core.snapshot import UnusableItem

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.projected_trunk import Encoder
    from wg_common.nets.family_network import FamilyTrunk
    from wg_common.nets.network import NetworkTrunks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictor:
    """A stored model, loaded for prediction.

    Attributes:
        manifest: Manifest of its package.
        model_name: Name of the model.
        reading_config: The plant's settings for reading files.
        verdict_rule: Rule that gives calls and verdicts.
        encoder: The model's encoder.
        network: The network alongside the encoder; None: there is none.
        head: Head of the model.
    """

    manifest: ModelsManifest
    model_name: str
    reading_config: ReadingConfig
    verdict_rule: VerdictRule
    encoder: Encoder
    network: FamilyTrunk | NetworkTrunks | None
    head: LinearHead

    @classmethod
    def load(cls, home: ClientHome, manifest: ModelsManifest, model_name: str) -> Predictor:
        """Load a stored model of a plant for prediction.

        Raises:
            VerificationError: A file or the encoder differs from the one that was stored.
        """
        encoder = predict.load_encoder(home, manifest)
        return cls(
            manifest=manifest,
            model_name=model_name,
            reading_config=configuration.load(home).data.reading,
            verdict_rule=VerdictRule.load(home, manifest, model_name),
            encoder=encoder,
            network=predict.load_network(home, manifest, encoder),
            head=head_from_tensors(store.load_model_tensors(home, manifest, model_name)),
        )

    def compute_inputs(self, data: SiteData) -> ModelInputs:
        """Return the head's inputs for records.

        Raises:
            DataError: A record is damaged, or the model does not take its modality.
        """
        predict.check_record_modality(self.manifest, data)
        return predict.compute_features_in_batches(self.encoder, self.network, data)

    def predict(self, data: SiteData, inputs: ModelInputs) -> list[Prediction]:
        """Predict records from their inputs, with calls and verdicts."""
        logits = self.head.logits(inputs[:, : self.head.weight.shape[1]])
        rows = predict.predictions_from_logits(logits, self.manifest, data.names)
        return self.verdict_rule.add_calls_and_verdicts(rows, inputs, logits)

    def predict_file(self, path: Path) -> tuple[list[Prediction], list[UnusableItem]]:
        """Predict the records of one file; return them, and the unreadable ones with reasons.

        Raises:
            DataError: The file cannot be read, or has no record but one unreadable one.
        """
        modality = predict.records_modality(self.manifest).name
        survey = predict.read_new_records(path, self.manifest.labels, self.reading_config, modality)
        return self._predict_data(survey.data, list(survey.problems))

    def _predict_data(
        self, data: SiteData, problems: list[UnusableItem]
    ) -> tuple[list[Prediction], list[UnusableItem]]:
        """Decode and predict records; return them, and all problems."""
        rows: list[Prediction] = []
        for part, unreadable in decode_in_batches(data):
            problems = [*problems, *unreadable]
            if len(part):
                rows += self.predict(part, self.compute_inputs(part))
        if not rows and len(problems) == 1:
            raise DataError(f"{problems[0].name}: {problems[0].reason}")
        return rows, problems

    def predict_bytes(
        self, data: bytes | bytearray, file_name: str
    ) -> tuple[list[Prediction], list[UnusableItem]]:
        """Predict the one record, or the windows of the log, of a file in memory.

        Args:
            data: Content of the file.
            file_name: Name of the file; its suffix determines how it is read.

        Raises:
            DataError: The suffix is not one of the model's modality, or the record is damaged.
        """
        modality = predict.records_modality(self.manifest)
        suffix = Path(file_name).suffix.lower()
        is_log = self.reading_config.log is not None and suffix in SENSOR_LOG_SUFFIXES
        if not (is_log or modality.is_record_file(file_name)):
            raise DataError(
                f"{file_name}: not the name of a file with one {modality.singular}"
                f" ({', '.join(sorted(modality.suffixes))}); 'wg-client predict' reads others"
            )
        with tempfile.TemporaryDirectory(prefix="wg-record-") as folder:
            path = Path(folder) / f"record{suffix}"
            atomic.write_bytes(path, data, mode=atomic.PRIVATE_FILE_MODE)
            try:
                if is_log:
                    rows, problems = self.predict_file(path)
                else:
                    records = predict.load_unlabelled_files(path, [path], self.manifest.labels)
                    rows, problems = self._predict_data(
                        with_reading_config(records, self.reading_config), []
                    )
            except DataError as error:
                message = str(error).replace(str(path), path.name).replace(path.name, file_name)
                raise DataError(message) from error
        return (
            [replace(row, name=file_name + place_in_file(row.name, path)) for row in rows],
            [replace(item, name=file_name + place_in_file(item.name, path)) for item in problems],
        )


PLACE_IN_FILE_PATTERN = re.compile(r"(\[\d+\]| (row|line) \d+)\Z", re.ASCII)
"""Pattern of the end of a record's name, if its file has several records."""


def place_in_file(record_name: str, path: Path) -> str:
    """Return the end of a record's name that follows its file's; empty if there is none."""
    match = PLACE_IN_FILE_PATTERN.search(record_name)
    return match[0] if match and record_name[: match.start()] in (str(path), path.name) else ""
