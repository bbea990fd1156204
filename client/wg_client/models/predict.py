"""Prediction with a plant's models: labels and probabilities for files, folders and tables.

All heads use the encoder's features, followed by those of a delivered network if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wg_client.data import plant_data as plants
from wg_client.data.class_folders import (
    explain_unsupported_file,
    list_files_below,
    printable_name,
)
from wg_client.data.dataset import (
    DEFAULT_READING_CONFIG,
    RECORDS_CSV_NAME,
    DatasetSurvey,
    SurveyOptions,
    accompanying_files,
    is_record_file,
    records_from_files,
    with_reading_config,
)
from wg_client.data.dataset_survey import survey_usable_dataset
from wg_client.data.sensor_windows import is_sensor_log, survey_logs
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_client.fitting.linear_head import Floats, head_from_tensors
from wg_client.fitting.sure_calls import cap_probabilities, largest_supported_probability
from wg_client.models import store
from wg_client.models.manifest import ModelsManifest
from wg_common.language import text
from wg_common.modalities import record_tables
from wg_common.modalities.base import Modality, Record
from wg_common.modalities.registry import find_modality, list_modality_attribute
from wg_core.errors import DataError
from wg_core.site.home import ClientHome
from wg_core.site.reading_config import DEFAULT_TABLE_COLUMNS, RECORDS_PER_CHUNK, ReadingConfig
from wg_core.snapshot import UnusableItem

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.projected_trunk import Encoder
    from wg_common.nets.family_network import FamilyTrunk
    from wg_common.nets.network import NetworkTrunks

ModelInputs = NDArray[Any]
"""Inputs of models: local features, float64 ``[n, D]``, followed by those of a network beside the
encoder if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Prediction for one record: label, probabilities, and verdict.

    Attributes:
        name: Name of the record.
        label: The most likely label.
        probability: Probability of the label.
        probabilities: Probabilities of all labels, in the order of the label domain.
        likeness: Share of the plant's records whose novelty score is at least as high; None:
            unknown.
        call: ``sure``, ``unsure``, ``new`` (see ``calls``), or empty if unknown.
        verdict: ``pass``, ``reject`` or ``look`` (see ``calls``); empty if the record is not new
            and no label means "no defect".
        distance: Novelty score (``novelty``); None: unknown.
    """

    name: str
    label: str
    probability: float
    probabilities: tuple[float, ...]
    likeness: float | None = None
    call: str = ""
    verdict: str = ""
    distance: float | None = None


def load_records(
    path: Path,
    labels: Sequence[str],
    reading_config: ReadingConfig = DEFAULT_READING_CONFIG,
    modality: str | None = None,
) -> SiteData:
    """Load records to predict: from a file, an ``.npz`` file, a table, class folders or a folder.

    Args:
        modality: Modality of the model; if its records are rows, a file is a table of them.

    Raises:
        DataError: There is nothing to predict, or it cannot be read.
    """
    return _survey_records(path, labels, reading_config, modality).data


def _survey_records(
    path: Path, labels: Sequence[str], reading_config: ReadingConfig, modality: str | None
) -> DatasetSurvey:
    """Survey records to predict; arguments and errors as for ``load_records``."""
    is_table = record_tables.is_record_table(path, text_column=reading_config.text_column)
    takes_rows = modality is not None and bool(find_modality(modality).record_column)
    if (
        not is_table
        and record_tables.may_be_table(path)
        and (takes_rows or reading_config.text_column)
    ):
        record_tables.read_cell_table(
            path, text_column=reading_config.text_column
        )  # names the columns it found
    if path.is_file() and is_record_file(path) and not is_table:
        data = load_unlabelled_files(path, [path], labels)
        return DatasetSurvey(data=data, layout=text("a folder of files without classes"))
    by_class = (path / RECORDS_CSV_NAME).is_file() or any(
        (path / label).is_dir() for label in labels
    )
    if path.is_dir() and not by_class:
        files = sorted(
            entry for entry in path.rglob("*") if entry.is_file() and is_record_file(entry)
        )
        texts = accompanying_files(files)
        files = [entry for entry in files if entry not in texts]
        if not files:
            raise DataError(f"{path}: no {list_modality_attribute('name', 'or')} found")
        data = load_unlabelled_files(path, files, labels)
        return DatasetSurvey(data=data, layout=text("a folder of files without classes"))
    columns = (reading_config.columns[0], DEFAULT_TABLE_COLUMNS[1])
    options = SurveyOptions(
        labels=labels,
        split=None,
        reading=replace(reading_config, columns=columns),
        for_prediction=True,
    )
    return survey_usable_dataset(path, options)


def read_new_records(
    path: Path, labels: Sequence[str], reading_config: ReadingConfig, modality: str | None = None
) -> DatasetSurvey:
    """Read new records at a path with the plant's settings.

    Args:
        modality: Modality of the plant's records; None: the one that the files imply.

    Raises:
        DataError: There is nothing that can be read.
    """
    if reading_config.log is not None and (path.is_dir() or is_sensor_log(path)):
        return survey_logs(
            path, SurveyOptions(labels=labels, reading=reading_config, for_prediction=True)
        )
    survey = _survey_records(path, labels, reading_config, modality)
    return replace(
        survey,
        data=with_reading_config(survey.data, reading_config),
        unsupported_files=tuple(_unpredicted_files(path)),
    )


def _unpredicted_files(path: Path) -> Iterator[UnusableItem]:
    """Yield the files of a folder that are no records and get no prediction, with reasons."""
    for file in list_files_below(path) if path.is_dir() else []:
        if not is_record_file(file) and file.name != RECORDS_CSV_NAME:
            name = printable_name(str(file.relative_to(path)))
            yield UnusableItem(name=name, reason=explain_unsupported_file(file))


def load_unlabelled_files(path: Path, paths: Sequence[Path], labels: Sequence[str]) -> SiteData:
    """Return the records of files in folder ``path``, one in each file, which are read on access.

    Raises:
        DataError: The files are not of one modality.
    """
    records = records_from_files(path, paths)
    return SiteData(
        records=records,
        modality=records.modality.name,
        labels=np.full(len(paths), UNLABELLED, dtype=np.int64),
        label_names=tuple(labels),
        names=tuple(str(path) for path in paths),
    )


def compute_model_inputs(home: ClientHome, manifest: ModelsManifest, data: SiteData) -> ModelInputs:
    """Compute the inputs of a package's models for records.

    Raises:
        VerificationError, ConfigError: The models need an encoder that the home does not hold.
        DataError: A record is damaged, or the models do not take its kind.
    """
    check_record_modality(manifest, data)
    encoder = load_encoder(home, manifest)
    return compute_features_in_batches(encoder, load_network(home, manifest, encoder), data)


def records_modality(manifest: ModelsManifest) -> Modality:
    """Return the modality of the records that a package's models take."""
    from wg_common import catalogue

    return find_modality(catalogue.find_architecture(manifest.architecture).modality)


def check_record_modality(manifest: ModelsManifest, data: SiteData) -> None:
    """Raise ``DataError`` if the models of a package do not take these records."""
    modality = records_modality(manifest)
    if modality.name != data.modality:
        name, found, wanted = data.names[0], data.modality, modality.name
        if modality.record_column:
            raise DataError(
                f"{name}: of {found}, but the model is for {wanted}; name each table by itself, not"
                " its folder"
            )
        raise DataError(f"{name}: of {found}, but the model is for {wanted}")


def compute_features_in_batches(
    encoder: Encoder, network: FamilyTrunk | NetworkTrunks | None, data: SiteData
) -> ModelInputs:
    """Compute the model inputs of records, ``[n, D]``, a batch at a time."""
    parts = [
        compute_features(encoder, network, list(data.records[start : start + RECORDS_PER_CHUNK]))
        for start in range(0, max(len(data.records), 1), RECORDS_PER_CHUNK)
    ]
    return np.concatenate(parts)


def load_encoder(home: ClientHome, manifest: ModelsManifest) -> Encoder:
    """Load the encoder of a package's models, with the trunk fitted at the plant if there is one.

    Raises:
        VerificationError, ConfigError: The home does not hold the encoder, or a file has changed.
        DecodeError: The file of the trunk is damaged.
    """
    from wg_common.nets.encoder.plant_trunk import PlantTrunk

    encoder, trunk = (
        plants.load_pinned_encoder(home, manifest.encoder),
        store.load_companion_tensors(home, manifest, store.PLANT_TRUNK_NAME),
    )
    return encoder if trunk is None else encoder.with_plant_trunk(PlantTrunk.from_tensors(trunk))


def compute_features(
    encoder: Encoder, network: FamilyTrunk | NetworkTrunks | None, records: Sequence[Record]
) -> ModelInputs:
    """Return local features of records, followed by those of a network alongside the encoder."""
    local = encoder.encode_local_batched(records)
    blocks = [local] if network is None else [local, network.features(records)]
    return np.hstack(blocks).astype(np.float64)


def load_network(
    home: ClientHome, manifest: ModelsManifest, encoder: Encoder
) -> FamilyTrunk | NetworkTrunks | None:
    """Load the network alongside the encoder that heads of a package use; None: there is none.

    Args:
        encoder: The package's encoder.

    Raises:
        VerificationError: The file differs from the one that was stored.
    """
    from wg_common.nets.family_network import rebuild_stored_trunk

    trunk = store.load_companion_tensors(home, manifest, store.NETWORK_NAME)
    if trunk is None or manifest.network is None:
        return None
    return rebuild_stored_trunk(manifest.network.architecture, trunk, encoder.trunk_settings)


def model_logits(
    home: ClientHome, manifest: ModelsManifest, name: str, inputs: ModelInputs
) -> Floats:
    """Return the logits ``[n, K]`` of a model.

    Args:
        name: The model, or ``manifest.KEPT_ALIAS``.
        inputs: From ``compute_model_inputs`` with the same manifest.

    Raises:
        VerificationError: The model's file differs from the one that was stored.
    """
    head = head_from_tensors(store.load_model_tensors(home, manifest, name))
    # A head that does not use the network has fewer features.
    return head.logits(inputs[:, : head.weight.shape[1]])


def capped_probabilities(logits: Floats, manifest: ModelsManifest) -> Floats:
    """Convert logits ``[n, K]`` to probabilities, none above what the plant's labels support.

    Few labelled records support no probability near 1 (``largest_supported_probability``).
    """
    limit = largest_supported_probability(manifest.judged_labels) if manifest.judged_labels else 1.0
    return cap_probabilities(logits, limit)


def predict(
    home: ClientHome,
    manifest: ModelsManifest,
    name: str,
    inputs: ModelInputs,
    record_names: Sequence[str],
) -> list[Prediction]:
    """Predict the most likely label of each record and its probability."""
    return predictions_from_logits(
        model_logits(home, manifest, name, inputs), manifest, record_names
    )


def predictions_from_logits(
    logits: Floats, manifest: ModelsManifest, record_names: Sequence[str]
) -> list[Prediction]:
    """Make predictions from logits ``[n, K]``, still without calls and verdicts."""
    chances = capped_probabilities(logits, manifest)
    best = chances.argmax(axis=1)
    return [
        Prediction(
            name=record_names[row],
            label=manifest.labels[index],
            probability=float(chances[row, index]),
            probabilities=tuple(map(float, chances[row])),
        )
        for row, index in enumerate(best)
    ]
