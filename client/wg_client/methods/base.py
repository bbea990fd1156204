"""Interface of methods: their inputs (the plant's records and a package) and the resulting model.

Selection between models is in ``wg_client.selection``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.family_features import FamilyNetworkHead
from wg_client.fitting.fitted import FittedModel
from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.joined_columns import JoinedColumns
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.local_models import fit_local_only
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_common import streams
from wg_common.catalogue import FAMILY_SOURCES, SAME_FAMILY, InputScaling
from wg_common.inference.likeness import UNLIKENESS_THRESHOLD
from wg_common.inference.posterior import Posterior
from wg_common.streams import Stream

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.family_network import FamilyTrunk
    from wg_common.nets.network import RecordTrunk


SHEET_LIMIT = -0.12
"""Fit of a data sheet (``sheet_fit``), nats, below which it counts as another machine's."""
SHEET_RATE = 0.03
"""Upper 95 % bound of the share of correct sheets below the limit: none of 96 simulated plants."""
REAL_SHEET_RATE = 0.10
"""Share of correct sheets of a real bearing below the limit: 5 of 48 plants, over two trainings."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlantRecords:
    """Records of a plant with labels, features and folds, as input of all methods.

    Attributes:
        all_labels: int64 ``[N]``, -1 = unlabelled.
        class_count: Size K of the declared label domain.
        encoder_features: Trunk of local-only: the encoder.
        units: Privacy units, or None.
        repetition_keys: Key that repetitions of a record share (``Modality.repetition_keys``), or
            None; they replace units where there are none. Folds split no unit.
        plant_trunk: Trunk fitted on the records, whose features follow the encoder's; None: there
            is no such trunk.
        local_features: Local features of all records, including those of ``plant_trunk``,
            ``[N, D]``; None: not stored.
    """

    all_labels: Ints
    class_count: int
    encoder_features: TrunkFeatures
    units: Sequence[str] | None = None
    repetition_keys: Sequence[str] | None = None
    plant_trunk: PlantTrunk | None = None
    local_features: JoinedColumns | None = None

    @property
    def _unit_keys(self) -> Sequence[str] | None:
        return self.repetition_keys if self.units is None else self.units

    @cached_property
    def _is_labelled(self) -> NDArray[np.bool_]:
        return self.all_labels >= 0

    @cached_property
    def labels(self) -> Ints:
        """Labels ``[n]`` of the labelled records."""
        return self.all_labels[self._is_labelled]

    @property
    def evaluated_labels(self) -> Ints:
        """Labels ``[m]`` of the evaluated records, which are a sample if there are thousands."""
        return self.labels[self.folds.evaluated_rows]

    @cached_property
    def evaluated_groups(self) -> Ints:
        """Index of each evaluated record's unit, ``[m]``; without units, each record's own."""
        return np.unique(self.groups[self.folds.evaluated_rows], return_inverse=True)[1]

    @cached_property
    def groups(self) -> Ints:
        """Index of each labelled record's unit, ``[n]``; without units, each record's own."""
        return np.arange(len(self.labels)) if self._all_groups is None else self._all_groups

    @cached_property
    def _all_groups(self) -> NDArray[np.intp] | None:
        if self._unit_keys is None:
            return None
        names = [
            unit for unit, keep in zip(self._unit_keys, self._is_labelled, strict=True) if keep
        ]
        return np.unique(names, return_inverse=True)[1]

    @cached_property
    def has_two_per_class(self) -> bool:
        """True if each declared class has two labelled records."""
        return int(np.bincount(self.labels, minlength=self.class_count).min()) > 1

    @cached_property
    def has_single_class(self) -> bool:
        """True if all labelled records have one class although several are declared."""
        return self.class_count > 1 and not self.has_several_classes

    @cached_property
    def has_several_classes(self) -> bool:
        """True if labelled records are of two classes or more, so that errors can be measured."""
        return len(np.unique(self.labels)) > 1

    @cached_property
    def independent_count(self) -> int:
        """Number of independent labelled records: of their units, if there are units."""
        return len(self.labels) if self._all_groups is None else len(np.unique(self._all_groups))

    @cached_property
    def unseen_mass(self) -> float:
        """Expected share m of future records of declared classes without local records.

        Each such class counts as an average class.
        """
        local_classes = len(np.unique(self.labels))
        return (self.class_count - local_classes) / self.class_count

    @cached_property
    def folds(self) -> Folds:
        """Folds of the labelled records; not usable if there are too few records."""
        return stratified_folds(
            self.labels, streams.stream_generator(Stream.SELECTION_FOLDS), self._all_groups
        )

    @cached_property
    def local_only_model(self) -> FittedModel | None:
        """Local-only head on the encoder; None without labels."""
        if not len(self.labels):
            return None
        features, sizes = (
            self.features(self.encoder_features),
            (self.encoder_features.block_sizes, self.encoder_features.trunk_block_counts),
        )
        return fit_local_only(features, self.labels, self.class_count, self.folds, *sizes)

    def features(self, trunk: TrunkFeatures) -> Floats:
        """Return features ``[n, d]`` of the labelled records on a trunk."""
        return trunk.features[self._is_labelled]

    def unlabelled_features(self, trunk: TrunkFeatures) -> Floats:
        """Return features ``[N - n, d]`` of the unlabelled records on a trunk."""
        return trunk.features[~self._is_labelled]


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredCandidate:
    """A delivered head, prepared for the plant's records.

    Attributes:
        name: Name in the package.
        source: As in ``wg_common.weights_package.Candidate``.
        trunk: Trunk of its head.
        head: Head over the declared label domain; for a family with other class names, over that
            family's classes.
        unlikeness: Distance of the plant's records from a family's (``inference.likeness``).
        fitted: Out-of-fold evaluation, if it was selected among several networks; the evaluation
            includes that selection.
        architecture: Name of a network's architecture in the catalogue; empty: a head.
        input_scaling: Treatment of the network's inputs.
    """

    name: str
    source: str
    trunk: TrunkFeatures
    head: LinearHead
    unlikeness: float = 0.0
    fitted: FittedModel | None = None
    architecture: str = ""
    input_scaling: InputScaling = "raw"

    @property
    def is_family_head(self) -> bool:
        """True if the candidate was trained on the operator's records of one kind of plant."""
        return self.source in FAMILY_SOURCES

    @property
    def has_declared_order(self) -> bool:
        """True if the head's rows are the declared classes; else labels determine the order."""
        return self.source == SAME_FAMILY or not self.is_family_head


@dataclass(frozen=True, slots=True, eq=False)
class PlantNetwork:
    """Networks of one architecture from a package, used alongside the encoder.

    Attributes:
        architecture: Name in the catalogue.
        trunk: Their tensors, as in ``wg_common.nets.network.prefix_trunk_numbers``.
        module: Their trunks as a module in evaluation mode.
        features: Features of all of the plant's records, ``[n, F]``.
        head: Head of a family's network on these features; None for other networks.
    """

    architecture: str
    trunk: Mapping[str, NDArray[np.float32]]
    module: FamilyTrunk | RecordTrunk
    features: NDArray[np.float32]
    head: FamilyNetworkHead | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPackage:
    """Contents of a package, prepared for the plant's records.

    Attributes:
        candidates: Delivered heads, in the server's order.
        posterior: Knowledge of class means from other sites; None if there is none.
        others_released: Other sites released statistics that the package was made from.
        made_for_machine: A network in the package was made for the plant's declared machine.
        network: Delivered network that runs alongside the encoder; None if there is none.
        sheet_fit: Fit of the plant's data sheet and its records (``methods.sheet_fit``); None:
            unknown.
    """

    candidates: Sequence[DeliveredCandidate]
    posterior: Posterior | None = None
    others_released: bool = True
    made_for_machine: bool = False
    network: PlantNetwork | None = None
    sheet_fit: float | None = None

    @property
    def has_similar_family(self) -> bool:
        """True if the package has a head of a family that the plant's records resemble."""
        return any(
            c.is_family_head and c.unlikeness <= UNLIKENESS_THRESHOLD for c in self.candidates
        )

    @property
    def unlikeness(self) -> float:
        """Distance of the plant's records from the candidates' families; 0 without families."""
        return max((c.unlikeness for c in self.candidates), default=0.0)

    @property
    def is_known_elsewhere(self) -> bool:
        """True if the package holds other plants' or the operator's knowledge of the classes."""
        return self.others_released or self.has_similar_family or self.made_for_machine

    @property
    def is_informative(self) -> bool:
        """True if the package says anything about the plant's classes."""
        return (
            self.is_known_elsewhere
            or self.unlikeness > UNLIKENESS_THRESHOLD
            or (self.posterior is not None and self.posterior.is_informative)
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FittedMethod:
    """A model that a method made.

    Attributes:
        trunk: Trunk of its head.
        fitted: The head on the trunk's features, and its out-of-fold predictions.
        origin: Name of the candidate that it started from, or an empty string.
        made_for_kind: The server made it for this kind of plant or for the declared machine,
            without any other plant's statistics.
        made_for_machine: It is the network that was delivered for the declared machine, unchanged.
        unchecked_rank: Priority among the models that may be kept without labels, highest first;
            None: it is never kept without labels.
    """

    trunk: TrunkFeatures
    fitted: FittedModel
    origin: str = ""
    made_for_kind: bool = False
    made_for_machine: bool = False
    unchecked_rank: int | None = None

    @property
    def head(self) -> LinearHead:
        """Head over the declared label domain, on local features or the model's own trunk."""
        return self.trunk.to_local_head(self.fitted.head)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of the model's head, with the temperature applied."""
        return self.head.tensors()


class Method(Protocol):
    """Interface of a method: one way to make a model."""

    @property
    def name(self) -> str:
        """Name in manifests and commands; see ``names``."""

    @property
    def title(self) -> str:
        """Title in reports."""

    @property
    def is_reference(self) -> bool:
        """True if the method uses nothing delivered and only serves as the baseline."""

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Make the model and evaluate it out of fold; None if records or package lack its inputs.

        Out-of-fold predictions of a record come from fits and selections without its label
        (``fitting.folds``).
        """
