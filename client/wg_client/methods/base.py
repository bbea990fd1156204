"""The seam of methods: what one sees of the plant's records and of a package, and what it makes.

Nothing here chooses between models; ``wg_client.selection`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.fitted import Fitted
from wg_client.fitting.folds import Folds, stratify
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.local_models import fit_local
from wg_client.fitting.standardised import HeadBeside
from wg_common import streams
from wg_common.catalogue import FAMILIES, SAME_FAMILY, Inputs
from wg_common.inference.likeness import LIMIT
from wg_common.inference.posterior import Posterior
from wg_common.streams import Stream

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.family_network import TrunkBeside
    from wg_common.nets.network import RecordTrunk


SHEET_LIMIT = -0.12
"""Fit of a data sheet (``sheet_fit``), nats, below which it is another machine's."""
SHEET_RATE = 0.03
"""Share of true sheets below it, at most: none of 96 simulated plants, 95 % bound."""
REAL_SHEET_RATE = 0.10
"""The same of a real bearing: 5 of 48 plants, over two trainings."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledRecords:
    """A plant's records; out-of-fold figures are those of the judged ones among the labelled.

    Attributes:
        all_labels: int64 ``[N]``, -1 = unlabelled.
        classes: Size K of the declared label domain.
        public: What local-only stands on: the encoder.
        units: Privacy units, or None.
        patterns: What records that repeat one another share (``Modality.patterns``), or None; taken
            for units where there are none. Folds split no unit.
        plant_trunk: What is fitted on the records and stands behind the encoder; None: nothing.
        columns: Local features of all records, its features last, ``[N, D]``; None: not kept.
    """

    all_labels: Ints
    classes: int
    public: Trunk
    units: Sequence[str] | None = None
    patterns: Sequence[str] | None = None
    plant_trunk: PlantTrunk | None = None
    columns: NDArray[np.float32] | None = None

    @property
    def _kin(self) -> Sequence[str] | None:
        return self.patterns if self.units is None else self.units

    @cached_property
    def _is_labelled(self) -> NDArray[np.bool_]:
        return self.all_labels >= 0

    @cached_property
    def labels(self) -> Ints:
        """Labels ``[n]`` of the labelled records."""
        return self.all_labels[self._is_labelled]

    @property
    def judged_labels(self) -> Ints:
        """Labels ``[m]`` of the records that are judged: of all but where there are thousands."""
        return self.labels[self.folds.rows]

    @cached_property
    def judged_groups(self) -> Ints:
        """Index of each judged record's privacy unit, ``[m]``; its own where there is none."""
        return np.unique(self.groups[self.folds.rows], return_inverse=True)[1]

    @cached_property
    def groups(self) -> Ints:
        """Index of each labelled record's privacy unit, ``[n]``; its own where there is none."""
        return np.arange(len(self.labels)) if self._groups is None else self._groups

    @cached_property
    def _groups(self) -> NDArray[np.intp] | None:
        if self._kin is None:
            return None
        names = [unit for unit, keep in zip(self._kin, self._is_labelled, strict=True) if keep]
        return np.unique(names, return_inverse=True)[1]

    @cached_property
    def every_class_twice(self) -> bool:
        """True if each declared class has two labelled records."""
        return int(np.bincount(self.labels, minlength=self.classes).min()) > 1

    @cached_property
    def one_class(self) -> bool:
        """True if all labelled records are of one of several classes: no head can learn another."""
        return self.classes > 1 and len(np.unique(self.labels)) == 1

    @cached_property
    def independent(self) -> int:
        """Number of labelled records that say something anew: of their units, where these count."""
        return len(self.labels) if self._groups is None else len(np.unique(self._groups))

    @cached_property
    def unseen_mass(self) -> float:
        """Share m of future records expected from declared classes without local records.

        Each counts as an average class.
        """
        local_classes = len(np.unique(self.labels))
        return (self.classes - local_classes) / self.classes

    @cached_property
    def folds(self) -> Folds:
        """Folds of the labelled records; not usable where they are too few."""
        return stratify(self.labels, streams.rng(Stream.SELECTION_FOLDS), self._groups)

    @cached_property
    def local(self) -> Fitted | None:
        """The best head that labels alone give on the encoder; None without labels."""
        if not len(self.labels):
            return None
        features, sizes = self.features(self.public), (self.public.blocks, self.public.trunk_blocks)
        return fit_local(features, self.labels, self.classes, self.folds, *sizes)

    def features(self, trunk: Trunk) -> Floats:
        """Features ``[n, d]`` of the labelled records on a trunk."""
        return trunk.features[self._is_labelled]

    def unlabelled_features(self, trunk: Trunk) -> Floats:
        """Features ``[N - n, d]`` of the others."""
        return trunk.features[~self._is_labelled]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One delivered head, seen from the plant.

    Attributes:
        name: Name in the package.
        source: As in ``wg_common.weights_package.Candidate``.
        trunk: What its head stands on.
        head: Head over the declared label domain; of a family whose class names are others,
            over that family's classes.
        unlikeness: Distance of the plant's records from a family's (``inference.likeness``).
        fitted: How it does out of fold, where it was chosen among several networks: judged with the
            choice of it.
        architecture: Name of a network's architecture in the catalogue; empty: a head.
        inputs: Treatment of what goes into it.
    """

    name: str
    source: str
    trunk: Trunk
    head: LinearHead
    unlikeness: float = 0.0
    fitted: Fitted | None = None
    architecture: str = ""
    inputs: Inputs = "raw"

    @property
    def of_kind(self) -> bool:
        """True if it was learnt from the operator's records of one kind of plant."""
        return self.source in FAMILIES

    @property
    def has_declared_order(self) -> bool:
        """True if its rows are the declared classes; else labels say which are."""
        return self.source == SAME_FAMILY or not self.of_kind


@dataclass(frozen=True, slots=True, eq=False)
class PlantNetwork:
    """Networks of one architecture that came with a package, and stand beside the encoder.

    Attributes:
        architecture: Name in the catalogue.
        trunk: Their tensors, as of ``wg_common.nets.network.with_numbers``.
        module: The trunks, at work.
        features: Features of all of the plant's records, ``[n, F]``.
        head: Head of a family's network, on the features.
    """

    architecture: str
    trunk: Mapping[str, NDArray[np.float32]]
    module: TrunkBeside | RecordTrunk
    features: NDArray[np.float32]
    head: HeadBeside | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Package:
    """Contents of a package, seen through the plant's records.

    Attributes:
        candidates: Delivered heads, in the server's order.
        posterior: What it says of class means without this plant; None if nothing.
        others_released: Whether other sites have released any of what it was made from.
        stated: Whether a network in it was made for what the plant states in public of its source.
        network: What stands beside the encoder under what was delivered; None if nothing came.
        sheet_fit: Fit of the plant's data sheet and its records (``methods.sheet_fit``); None: not
            known.
    """

    candidates: Sequence[Candidate]
    posterior: Posterior | None = None
    others_released: bool = True
    stated: bool = False
    network: PlantNetwork | None = None
    sheet_fit: float | None = None

    @property
    def family(self) -> bool:
        """True if the server hands on heads of a kind of plant that this one's records are like."""
        return any(c.of_kind and c.unlikeness <= LIMIT for c in self.candidates)

    @property
    def unlike(self) -> float:
        """Distance of the records from those of the kind that class names say; 0 without one."""
        return max((c.unlikeness for c in self.candidates), default=0.0)

    @property
    def is_known_elsewhere(self) -> bool:
        """True if more than this plant's records and public data says something of its classes."""
        return self.others_released or self.family or self.stated

    @property
    def says_anything(self) -> bool:
        """True if it says anything of the plant's classes, by their names or otherwise."""
        return (
            self.is_known_elsewhere
            or self.unlike > LIMIT
            or (self.posterior is not None and self.posterior.says_anything)
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Model:
    """Model that a method made.

    Attributes:
        trunk: What its head stands on.
        fitted: The head on the trunk's features, and its out-of-fold predictions.
        origin: Name of the candidate that it started from, or an empty string.
        of_kind: Whether it was made for this kind of plant, or for the machine that it states, by
            the server's word, and without any other plant's.
        made_for_machine: Whether it is what was delivered for the machine that the plant states,
            as it came.
        unchecked_rank: Place among the models that may be kept where there is no label to check
            any, the largest first; None: never.
    """

    trunk: Trunk
    fitted: Fitted
    origin: str = ""
    of_kind: bool = False
    made_for_machine: bool = False
    unchecked_rank: int | None = None

    @property
    def head(self) -> LinearHead:
        """Over the declared label domain, on local features or the model's own trunk."""
        return self.trunk.outward(self.fitted.head)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Those of its head; logits at the temperature that held-out records ask for."""
        return self.head.tensors()


class Method(Protocol):
    """One way to make a model."""

    @property
    def name(self) -> str:
        """In manifests and commands; see ``names``."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def reference(self) -> bool:
        """True if it is only compared with, and never itself delivered."""

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """Make the model and judge it out of fold; None if records or package lack what it needs.

        Out-of-fold predictions of a record come from fits and choices that did not see its label
        (``fitting.folds``).
        """
