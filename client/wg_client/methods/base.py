"""Interface of methods: each fits a model from the plant's records and a weights package.

``wg_client.selection`` compares the models, and selects one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.family_features import FamilyNetworkHead
from wg_client.fitting.fitted_model import FittedModel
from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.joined_columns import JoinedColumns
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.local_models import fit_local_only
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_common import streams
from wg_common.catalogue import FAMILY_SOURCES, SAME_FAMILY_SOURCE, InputScaling
from wg_common.inference.family_likeness import UNLIKENESS_THRESHOLD
from wg_common.inference.posterior import Posterior
from wg_common.streams import Stream

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.family_network import FamilyTrunk
    from wg_common.nets.network import NetworkTrunks


SHEET_FIT_LIMIT = -0.12
"""Fit of a data sheet to records (``sheet_fit``), nats, below which the sheet is in doubt."""
SIMULATED_SHEET_FALSE_ALARM_RATE = 0.03
"""Upper 95 % bound of the share of simulated bearings' correct sheets that are in doubt
(docs/failures.md, WG-F14)."""
REAL_SHEET_FALSE_ALARM_RATE = 0.10
"""Share of a real bearing's correct sheets that are in doubt, over the two trainings in
docs/failures.md (WG-F14)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlantRecords:
    """Records of a plant with labels, features and folds, as input of all methods.

    Attributes:
        all_labels: int64 ``[N]``, -1 = unlabelled.
        class_count: Size K of the declared label domain.
        encoder_features: Features of the records on which the local-only head is fitted.
        privacy_units: Privacy unit of each record; None: no unit is named. A fold never splits a
            unit.
        repetition_keys: Key that all repetitions of a record share (``Modality.repetition_keys``),
            used as its unit if ``privacy_units`` is None; None: there are no keys.
        plant_trunk: Trunk fitted on these records, which adds features after the encoder's; None:
            there is no such trunk.
        local_features: Local features of all records, including those of ``plant_trunk``,
            ``[N, D]``; None: not stored.
    """

    all_labels: Ints
    class_count: int
    encoder_features: TrunkFeatures
    privacy_units: Sequence[str] | None = None
    repetition_keys: Sequence[str] | None = None
    plant_trunk: PlantTrunk | None = None
    local_features: JoinedColumns | None = None

    @property
    def _unit_keys(self) -> Sequence[str] | None:
        return self.repetition_keys if self.privacy_units is None else self.privacy_units

    @cached_property
    def _labelled_mask(self) -> NDArray[np.bool_]:
        return self.all_labels >= 0

    @cached_property
    def labels(self) -> Ints:
        """Labels ``[n]`` of the labelled records."""
        return self.all_labels[self._labelled_mask]

    @property
    def evaluated_labels(self) -> Ints:
        """Labels ``[m]`` of the records evaluated out of fold: all labelled ones, or a sample."""
        return self.labels[self.folds.evaluated_rows]

    @cached_property
    def evaluated_unit_indices(self) -> Ints:
        """Index of each evaluated record's unit, ``[m]``; without units, a record is a unit."""
        return np.unique(self.unit_indices[self.folds.evaluated_rows], return_inverse=True)[1]

    @cached_property
    def unit_indices(self) -> Ints:
        """Index of each labelled record's unit, ``[n]``; without units, a record is a unit."""
        return np.arange(len(self.labels)) if self._all_groups is None else self._all_groups

    @cached_property
    def _all_groups(self) -> NDArray[np.intp] | None:
        if self._unit_keys is None:
            return None
        names = [
            unit for unit, keep in zip(self._unit_keys, self._labelled_mask, strict=True) if keep
        ]
        return np.unique(names, return_inverse=True)[1]

    @cached_property
    def has_two_records_per_class(self) -> bool:
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
    def independent_record_count(self) -> int:
        """Number of privacy units with labelled records; without units, of labelled records."""
        return len(self.labels) if self._all_groups is None else len(np.unique(self._all_groups))

    @cached_property
    def unseen_mass(self) -> float:
        """Expected share m of future records whose declared class has no labelled record here.

        Each such class is taken to be as frequent as an average class.
        """
        local_classes = len(np.unique(self.labels))
        return (self.class_count - local_classes) / self.class_count

    @cached_property
    def folds(self) -> Folds:
        """Cross-validation folds of the labelled records; unusable if these are too few."""
        return stratified_folds(
            self.labels, streams.stream_generator(Stream.SELECTION_FOLDS), self._all_groups
        )

    @cached_property
    def local_only_model(self) -> FittedModel | None:
        """Model fitted on the plant's own labels alone (local-only); None without labels."""
        if not len(self.labels):
            return None
        features, sizes = (
            self.labelled_features(self.encoder_features),
            (self.encoder_features.block_sizes, self.encoder_features.trunk_block_counts),
        )
        return fit_local_only(features, self.labels, self.class_count, self.folds, *sizes)

    def labelled_features(self, trunk: TrunkFeatures) -> Floats:
        """Return a trunk's features ``[n, d]`` of the labelled records."""
        return trunk.features[self._labelled_mask]

    def unlabelled_features(self, trunk: TrunkFeatures) -> Floats:
        """Return a trunk's features ``[N - n, d]`` of the unlabelled records."""
        return trunk.features[~self._labelled_mask]


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredCandidate:
    """A delivered head, prepared for the plant's records.

    Attributes:
        name: Name in the package.
        source: Source of the candidate, one of ``wg_common.catalogue.CandidateSource``.
        trunk: Features that the head takes.
        head: Head over the declared label domain; for a family with other class names, over that
            family's classes.
        family_unlikeness: Score that rises as the plant's records differ from those of the
            candidate's family (``inference.family_likeness``); 0 without a family.
        evaluated_model: Out-of-fold evaluation of a selection among several networks, if there was
            one.
        architecture: Name of a network's architecture in the catalogue; empty: the candidate is a
            head on the encoder.
        input_scaling: ``raw`` or ``standardised`` inputs of the network.
    """

    name: str
    source: str
    trunk: TrunkFeatures
    head: LinearHead
    family_unlikeness: float = 0.0
    evaluated_model: FittedModel | None = None
    architecture: str = ""
    input_scaling: InputScaling = "raw"

    @property
    def is_family_head(self) -> bool:
        """True if the candidate was trained on the operator's records of one kind of plant."""
        return self.source in FAMILY_SOURCES

    @property
    def has_declared_row_order(self) -> bool:
        """True if the head's rows are in the declared order; else labels determine their order."""
        return self.source == SAME_FAMILY_SOURCE or not self.is_family_head


@dataclass(frozen=True, slots=True, eq=False)
class PlantNetwork:
    """Networks of one architecture from a package, used alongside the encoder.

    Attributes:
        architecture: Name of the architecture in the catalogue.
        trunk_tensors: Tensors of the networks' trunks, as ``nets.network.number_trunk_tensors``
            names them.
        trunk_module: The trunks as one module in evaluation mode.
        features: Features that the networks compute from the plant's records, ``[n, F]``.
        head: Head of a family's network on these features; None for other networks.
    """

    architecture: str
    trunk_tensors: Mapping[str, NDArray[np.float32]]
    trunk_module: FamilyTrunk | NetworkTrunks
    features: NDArray[np.float32]
    head: FamilyNetworkHead | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedPackage:
    """Contents of a package, prepared for the plant's records.

    Attributes:
        candidates: Delivered heads, in the server's order.
        posterior: Posterior of class means from other sites' statistics; None: not delivered.
        other_sites_released: True if other sites' released statistics went into the package.
        made_for_machine: True if a network in it was made for the plant's declared machine.
        network: Delivered network that runs alongside the encoder; None if there is none.
        sheet_fit: Fit of the plant's data sheet to its records, nats (``methods.sheet_fit``);
            None: unknown.
    """

    candidates: Sequence[DeliveredCandidate]
    posterior: Posterior | None = None
    other_sites_released: bool = True
    made_for_machine: bool = False
    network: PlantNetwork | None = None
    sheet_fit: float | None = None

    @property
    def has_similar_family(self) -> bool:
        """True if the package has a head of a family that the plant's records resemble."""
        return any(
            c.is_family_head and c.family_unlikeness <= UNLIKENESS_THRESHOLD
            for c in self.candidates
        )

    @property
    def family_unlikeness(self) -> float:
        """Largest unlikeness of the plant's records to a candidate's family; 0 without families."""
        return max((c.family_unlikeness for c in self.candidates), default=0.0)

    @property
    def has_outside_knowledge(self) -> bool:
        """True if the package holds other plants' or the operator's knowledge of the classes."""
        return self.other_sites_released or self.has_similar_family or self.made_for_machine

    @property
    def is_informative(self) -> bool:
        """True if the package has any evidence for or against a model of the plant's classes."""
        return (
            self.has_outside_knowledge
            or self.family_unlikeness > UNLIKENESS_THRESHOLD
            or (self.posterior is not None and self.posterior.is_informative)
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FittedMethod:
    """Model that a method fitted, with its provenance.

    Attributes:
        trunk: Features that the model's head takes.
        fitted_model: The head on the trunk's features, and its out-of-fold predictions.
        origin_candidate: Name of the delivered candidate that the model started from; empty: none.
        made_for_plant_kind: True if the server made the model for this kind of plant or for the
            declared machine, without any other plant's statistics.
        made_for_machine: True for the unchanged network delivered for the declared machine.
        priority_without_labels: Priority if a model must be kept without labels, the largest first;
            None: the model is never kept without labels.
    """

    trunk: TrunkFeatures
    fitted_model: FittedModel
    origin_candidate: str = ""
    made_for_plant_kind: bool = False
    made_for_machine: bool = False
    priority_without_labels: int | None = None

    @property
    def head(self) -> LinearHead:
        """Head over the declared label domain, on local features or the model's own trunk."""
        return self.trunk.to_local_head(self.fitted_model.head)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of the model's head, with the temperature applied."""
        return self.head.tensors()


class Method(Protocol):
    """Interface of a method: one way to make a model."""

    @property
    def name(self) -> str:
        """Name of the method in manifests and commands, one of ``methods.method_names``."""

    @property
    def title(self) -> str:
        """Title of the method in reports."""

    @property
    def is_reference(self) -> bool:
        """True if the method uses nothing delivered and only serves as the baseline."""

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Fit the model and evaluate it out of fold; None if records or package lack its inputs.

        The out-of-fold prediction of a record is made by a model that was fitted and selected
        without the record's label (``fitting.folds``).
        """
