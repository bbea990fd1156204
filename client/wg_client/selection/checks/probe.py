"""Some of the plant's records, which checks change and show to a model again.

A changed record goes the way of a new one: through the encoder, and a network beside it.
What has been seen once is kept, since all models of a package stand on few trunks.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from wg_client.data.recipient import Recipient
from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.base import LabelledRecords, Model, PlantNetwork
from wg_client.models.sight import Inputs, Sight
from wg_common import streams
from wg_common.modalities.base import Record
from wg_common.modalities.registry import modality
from wg_common.streams import Stream
from wg_core.errors import InternalError

Alter = Callable[[Record, np.random.Generator], Record]


@dataclass(eq=False, kw_only=True)
class Probe:
    """Records that may be changed.

    Attributes:
        records: They.
        rows: Their places among the plant's records, ascending, int64 ``[m]``.
        labels: Names of the classes.
        modality: Name of their kind.
        sight: How models see records.
        weight_bytes: Size of the encoder that heads stand on, bytes.
    """

    records: Sequence[Record]
    rows: Ints
    labels: Sequence[str]
    modality: str
    sight: Sight
    weight_bytes: int = 0
    _inputs: dict[str, Inputs] = field(default_factory=dict, init=False, repr=False)
    _held_out: list[tuple[Model, dict[int, LinearHead]]] = field(
        default_factory=list, init=False, repr=False
    )
    _seconds: list[tuple[Trunk, float]] = field(default_factory=list, init=False, repr=False)
    _features: list[tuple[Trunk, dict[str, Floats]]] = field(
        default_factory=list, init=False, repr=False
    )

    def features(
        self, trunk: Trunk, name: str = "", changes: Mapping[str, Alter] | None = None
    ) -> Floats:
        """Features ``[m, d]`` on a trunk of the records as they are, or changed.

        Args:
            trunk: The trunk.
            name: Of one of ``changes``; empty: as they are.
            changes: All that are tried, by name. Each draws from a stream of its own. They are made
                once and seen together: an encoder runs full batches.
        """
        features_by_name = _of(self._features, trunk)
        if features_by_name is None:
            features_by_name = {}
            self._features.append((trunk, features_by_name))
        if name not in features_by_name:
            if name not in self._inputs:
                self._see(changes if changes and name in changes else {"": None})
            features_by_name[name] = self.sight.features(trunk, self._inputs[name])
        return features_by_name[name]

    def _see(self, changes: Mapping[str, Alter | None]) -> None:
        altered_records = (
            record for name, alter in changes.items() for record in self._altered(name, alter)
        )
        parts = np.split(self.sight.inputs(altered_records), len(changes))
        self._inputs |= dict(zip(changes, parts, strict=True))

    def logits(self, model: Model, records: LabelledRecords, features: Floats) -> Floats:
        """Logits ``[m, K]`` of the probe's records, which ``features`` come from.

        Each labelled record by a head that did not learn from it, where the method gives such.
        """
        logits = model.fitted.head.logits(features)
        folds = records.folds
        if model.fitted.held_out is None or not folds.usable:
            return logits
        place = np.cumsum(records.all_labels >= 0) - 1
        labelled = records.all_labels[self.rows] >= 0
        # No head of a fold has seen a record that is not judged.
        of_labelled = np.zeros(len(records.labels), dtype=np.int64)
        of_labelled[folds.rows] = folds.assignment[0]
        fold = np.where(labelled, of_labelled[place[self.rows] * labelled], -1)
        for index in np.unique(fold[labelled]):
            in_fold = fold == index
            logits[in_fold] = self._without(model, int(index)).logits(features[in_fold])
        return logits

    def _without(self, model: Model, fold: int) -> LinearHead:
        """The head of a model that predicted a fold of the first repeat; it is fitted once."""
        fold_heads = _of(self._held_out, model)
        if fold_heads is None:
            fold_heads = {}
            self._held_out.append((model, fold_heads))
        if fold not in fold_heads:
            held_out = model.fitted.held_out
            if held_out is None:
                raise InternalError(f"{model.origin}: nothing was held out")
            fold_heads[fold] = held_out(0, fold)
        return fold_heads[fold]

    def seconds(self, trunk: Trunk) -> float:
        """Least time that one record took of three, from record to features."""
        least_seconds = _of(self._seconds, trunk)
        if least_seconds is not None:
            return least_seconds
        durations = []
        for _ in range(3):
            start = time.perf_counter()
            self.sight.features(trunk, self.sight.alone(self.records[0]))
            durations.append(time.perf_counter() - start)
        self._seconds.append((trunk, min(durations)))
        return min(durations)

    def _altered(self, name: str, alter: Alter | None) -> Iterator[Record]:
        rng = streams.rng(Stream.PROBE, then=tuple(name.encode()))
        return (record if alter is None else alter(record, rng) for record in self.records)


K = TypeVar("K")
V = TypeVar("V")


def _of(entries: Sequence[tuple[K, V]], key: K) -> V | None:
    """What is known of this very object: arrays have no hash."""
    return next((value for of, value in entries if of is key), None)


def of_plant(
    plant: Recipient, max_records: int, network: PlantNetwork | None = None
) -> Probe | None:
    """A probe of at most ``max_records`` records, of all classes alike; None without any record.

    Args:
        network: What came with the package beside the encoder.
    """
    labels = plant.data.labels
    rows = spread_rows(labels, max_records)
    if not len(rows):
        return None
    probe = Probe(
        records=[plant.data.records[int(row)] for row in rows],
        rows=rows,
        labels=plant.data.label_names,
        modality=plant.data.modality,
        sight=Sight.of_plant(plant, network),
        weight_bytes=len(plant.encoder_package),
    )
    # Unchanged records were encoded when they were frozen.
    feature_blocks = [plant.features.local, *([] if network is None else [network.features])]
    probe._inputs[""] = np.hstack([block[rows] for block in feature_blocks]).astype(np.float64)
    return probe


def looks(records: int, kind: str, probe_records: int) -> int:
    """Records that the checks of a plant's models on one encoder encode anew, at most.

    Args:
        records: Of the plant.
        kind: Name of their modality.
        probe_records: How many are changed, at most.
    """
    return len(modality(kind).changes()) * min(records, probe_records)


def spread_rows(labels: Ints, max_records: int) -> Ints:
    """Places of at most ``max_records`` records: the classes in turn, spread evenly within each.

    Records without a label are taken where those with one are too few.
    """
    rng = streams.rng(Stream.PROBE)
    order = rng.permutation(len(labels))
    turn = np.zeros(len(labels))
    for label in np.unique(labels):
        class_rows = order[labels[order] == label]
        turn[class_rows] = np.arange(len(class_rows)) + (len(labels) if label < 0 else 0)
    return np.sort(order[np.argsort(turn[order], kind="stable")[:max_records]])
