"""Predictions with a plant's models: labels and probabilities for records and folders of them.

Heads share the encoder's features; those of networks that came beside it may stand behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wg_client.data import plant as plants
from wg_client.data.dataset import READING, RECORDS_CSV, is_record, lies_beside, records_of
from wg_client.data.site_data import UNLABELLED, SiteData
from wg_client.data.survey import load_dataset
from wg_client.fitting.linear_head import Floats, head_from_tensors
from wg_client.fitting.sure_calls import bound_probabilities, probability_limit
from wg_client.models import store
from wg_client.models.manifest import ModelsManifest
from wg_common.modalities import cells
from wg_common.modalities.base import Record
from wg_common.modalities.registry import list_attribute
from wg_core.errors import DataError
from wg_core.site.home import ClientHome
from wg_core.site.reading import COLUMNS, ReadingConfig

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.module import Encoder
    from wg_common.nets.family_network import TrunkBeside
    from wg_common.nets.network import RecordTrunk

Inputs = NDArray[Any]
"""What models see: local features, float64 ``[n, D]``, with those of a network beside the encoder
behind them if there is one."""
_BATCH = 64  # Records in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One record's prediction.

    Attributes:
        name: Name of the record.
        label: The most likely one.
        probability: Probability of the label.
        probabilities: Probabilities of all labels, in the order of the label domain.
        likeness: Share of the plant's own records that are at least as unlike all others; None
            where that is not known.
        call: ``sure``, ``unsure``, ``new`` (see ``calls``), or empty where that is not known.
        verdict: ``pass`` or ``reject`` at the model's threshold (see ``acceptance``), ``look`` for
            a record that is new, or empty for one that is not where no label says what is good.
        distance: Score of its unlikeness (``novelty``); None where that is not known.
    """

    name: str
    label: str
    probability: float
    probabilities: tuple[float, ...]
    likeness: float | None = None
    call: str = ""
    verdict: str = ""
    distance: float | None = None


def load_records(path: Path, labels: Sequence[str], reading: ReadingConfig = READING) -> SiteData:
    """Records to predict: a file, a ``.npz`` file or table, a class folder, a folder of files.

    Raises:
        DataError: There is nothing to predict, or it cannot be read.
    """
    if path.is_file() and is_record(path) and not cells.holds_records(path, column=reading.text):
        return _unlabelled_data(path, [path], labels)
    by_class = (path / RECORDS_CSV).is_file() or any((path / label).is_dir() for label in labels)
    if path.is_dir() and not by_class:
        files = sorted(entry for entry in path.rglob("*") if entry.is_file() and is_record(entry))
        texts = lies_beside(files)
        files = [entry for entry in files if entry not in texts]
        if not files:
            raise DataError(f"{path}: no {list_attribute('name', 'or')} found")
        return _unlabelled_data(path, files, labels)
    return load_dataset(
        path, labels, split=None, reading=replace(reading, columns=(reading.columns[0], COLUMNS[1]))
    )


def encode_records(home: ClientHome, manifest: ModelsManifest, data: SiteData) -> Inputs:
    """Compute the inputs of a package's models for records.

    Raises:
        VerificationError, ConfigError: They stand on an encoder that the home does not hold.
        DataError: A record is damaged, or is not what the models take.
    """
    check_records(manifest, data)
    encoder = load_encoder(home, manifest)
    return features_of(encoder, load_network(home, manifest, encoder), data)


def check_records(manifest: ModelsManifest, data: SiteData) -> None:
    """Refuse records that models of a package do not take: ``DataError``."""
    from wg_common import catalogue

    architecture = catalogue.architecture_of(manifest.architecture)
    if architecture.modality != data.modality:
        raise DataError(
            f"{data.names[0]}: of {data.modality}, and the model, {architecture.name}, is for"
            f" {architecture.modality}"
        )


def features_of(
    encoder: Encoder, network: TrunkBeside | RecordTrunk | None, data: SiteData
) -> Inputs:
    """Features of records, ``[n, D]``, with memory for a part of them at a time."""
    parts = [
        features(encoder, network, list(data.records[start : start + _BATCH]))
        for start in range(0, max(len(data.records), 1), _BATCH)
    ]
    return np.concatenate(parts)


def load_encoder(home: ClientHome, manifest: ModelsManifest) -> Encoder:
    """The encoder that models of a package stand on, with a trunk behind it that is fitted here.

    Raises:
        VerificationError, ConfigError: The home does not hold it, or a file is another one.
        DecodeError: The file of the trunk is damaged.
    """
    from wg_common.nets.encoder.plant_trunk import PlantTrunk

    encoder, trunk = (
        plants.pinned_encoder(home, manifest.encoder),
        store.load_plant_trunk(home, manifest),
    )
    return encoder if trunk is None else encoder.at_plant(PlantTrunk.from_tensors(trunk))


def features(
    encoder: Encoder, network: TrunkBeside | RecordTrunk | None, records: Sequence[Record]
) -> Inputs:
    """Local features of records, and behind them those of a network beside the encoder."""
    local = encoder.encode_batched(records)
    blocks = [local] if network is None else [local, network.features(records)]
    return np.hstack(blocks).astype(np.float64)


def load_network(
    home: ClientHome, manifest: ModelsManifest, encoder: Encoder
) -> TrunkBeside | RecordTrunk | None:
    """The network that heads of a package stand on beside the encoder; None: there is none.

    Args:
        encoder: What they stand on.

    Raises:
        VerificationError: The file is not the one that was written.
    """
    from wg_common.nets.family_network import stored_trunk

    trunk = store.load_network(home, manifest)
    if trunk is None or manifest.network is None:
        return None
    return stored_trunk(manifest.network.architecture, trunk, encoder.settings)


def logits(home: ClientHome, manifest: ModelsManifest, name: str, inputs: Inputs) -> Floats:
    """Logits ``[n, K]`` of a model.

    Args:
        name: The model, or ``manifest.KEPT``.
        inputs: From ``encode_records`` with the same manifest.

    Raises:
        VerificationError: The model's file is not the one that was written.
    """
    head = head_from_tensors(store.load_tensors(home, manifest, name))
    # Of fewer features where it does without the network.
    return head.logits(inputs[:, : head.weight.shape[1]])


def probabilities(values: Floats, manifest: ModelsManifest) -> Floats:
    """Probabilities of logits ``[n, K]``, none above what the plant's labels can know."""
    limit = probability_limit(manifest.judged_labels) if manifest.judged_labels else 1.0
    return bound_probabilities(values, limit)


def predict(
    home: ClientHome, manifest: ModelsManifest, name: str, inputs: Inputs, names: Sequence[str]
) -> list[Prediction]:
    """Most likely label of each record and its probability."""
    return predictions(logits(home, manifest, name, inputs), manifest, names)


def predictions(values: Floats, manifest: ModelsManifest, names: Sequence[str]) -> list[Prediction]:
    """Predictions of logits ``[n, K]``; the calls are still to be judged."""
    chances = probabilities(values, manifest)
    best = chances.argmax(axis=1)
    return [
        Prediction(
            name=names[row],
            label=manifest.labels[index],
            probability=float(chances[row, index]),
            probabilities=tuple(map(float, chances[row])),
        )
        for row, index in enumerate(best)
    ]


def _unlabelled_data(path: Path, paths: Sequence[Path], labels: Sequence[str]) -> SiteData:
    records = records_of(path, paths)
    return SiteData(
        records=records,
        modality=records.modality.name,
        labels=np.full(len(paths), UNLABELLED, dtype=np.int64),
        label_names=tuple(labels),
        names=tuple(str(path) for path in paths),
    )
