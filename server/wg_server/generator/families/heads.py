"""Catalogue of the operator's families: heads on standardised features, offered by class names.

A plant releases 64 features of a record, but learns on many more, which never leave it. The
operator's own records need neither noise nor release, so heads of a family are fitted on *all*
local features, under any number of simulated cameras (``wg_server.zoo.family_heads``). If the zoo
has a network of the family, trained at simulated sites, the head comes with this network
(``wg_common.nets.family_network``).

A plant whose class names match those of a family, in the same or in other words, is offered that
family. A plant whose class names match no family is offered all families with enough classes, and
its labels decide. Matching needs no release and proves nothing: the plant tests its own records for
likeness to each family (``wg_common.inference.family_likeness``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from wg_common.catalogue import ANY_FAMILY_SOURCE, SAME_FAMILY_SOURCE, CandidateSource
from wg_common.inference import family_head, family_likeness
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_common.inference.family_likeness import LikenessTest
from wg_common.inference.hostile_tensors import split_prefix
from wg_common.nets import family_network
from wg_common.nets.family_network import FamilyNetwork
from wg_common.weights_package import NO_PRIVACY, PrivacyGuarantee
from wg_core.errors import DecodeError
from wg_server.generator.prior.class_names import same_class_log_ratio

OFFERED_FAMILIES_LIMIT = 16
"""Largest number of families offered to a plant; each takes about a megabyte with its network."""
_MIN_MATCHED_SHARE = 0.5
"""Share of a plant's class names that must match for a family to be offered as matching."""
_SAME_NAME_LOG_ODDS = 1e3
"""Log odds assigned to two equal names, so that they are matched first."""

NumpyTensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, slots=True, eq=False)
class OperatorFamily:
    """Head and network of one of the operator's families, which has R classes.

    Attributes:
        labels: Names of the R classes.
        head: Head on standardised local features.
        likeness: Test of a plant's records for likeness to the family.
        network: Network trained at simulated sites of the family, or None.
        privacy: Privacy guarantee for the operator's records that the head was trained on.
    """

    labels: tuple[str, ...]
    head: FamilyHead
    likeness: LikenessTest
    network: FamilyNetwork | None = None
    privacy: PrivacyGuarantee = NO_PRIVACY

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of head, likeness test and network, by name."""
        network_tensors = family_network.pack_network(self.network)
        return self.head.tensors() | self.likeness.tensors() | network_tensors

    def candidate_tensors(self, rows: NDArray[np.integer[Any]]) -> NumpyTensors:
        """Return the tensors, by name, of a candidate with only the classes of indices ``rows``."""
        network = None if self.network is None else self.network.select_classes(rows)
        tensors = self.head.select_classes(rows).tensors() | self.likeness.tensors()
        return tensors | family_network.pack_half_precision(network)


@dataclass(frozen=True, slots=True, eq=False)
class OperatorFamilies:
    """All families of the operator.

    Attributes:
        layout: Layout of local features, the same for all heads.
        families: Families by name; at least one.
    """

    layout: FeatureLayout
    families: Mapping[str, OperatorFamily] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of all families, named by the family's number and the array's name."""
        return {
            f"{number}.{name}": value
            for number, family in enumerate(self.families.values())
            for name, value in family.tensors().items()
        }


def families_from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    labels: Mapping[str, Sequence[str]],
    layout: FeatureLayout,
    dimension: int,
    architecture: str,
) -> OperatorFamilies:
    """Read families from the arrays that ``OperatorFamilies.arrays`` returns.

    Args:
        arrays: Arrays by name.
        labels: Class names by family, in the order of the arrays.
        layout: Layout of local features.
        dimension: Number of released features.
        architecture: Allowed architecture of the networks; empty: no networks are allowed.

    Raises:
        DecodeError: The arrays are inconsistent.
    """
    by_number: dict[str, dict[str, NDArray[Any]]] = {}
    for name, value in arrays.items():
        number, _, tensor_name = name.partition(".")
        by_number.setdefault(number, {})[tensor_name] = value
    if not labels or set(by_number) != set(map(str, range(len(labels)))):
        raise DecodeError("generator: arrays of the operator's families do not fit together")
    families = {}
    for place, (family, class_names) in enumerate(labels.items()):
        classes = len(class_names)
        tensors, network = split_prefix(by_number[str(place)], family_network.TENSOR_PREFIX)
        tensors, of_likeness = split_prefix(tensors, family_likeness.TENSOR_PREFIX)
        families[family] = OperatorFamily(
            labels=tuple(class_names),
            head=family_head.family_head_from_tensors(tensors, classes, layout),
            likeness=family_likeness.likeness_test_from_tensors(of_likeness, dimension),
            network=family_network.unpack_network(network, architecture, classes),
        )
    return OperatorFamilies(layout, families)


def family_candidates(
    operator_families: OperatorFamilies, labels: Sequence[str]
) -> Iterator[tuple[CandidateSource, NumpyTensors, PrivacyGuarantee]]:
    """Yield the families that a plant is offered as candidates, the best match first.

    Args:
        operator_families: All families of the operator.
        labels: Names of the plant's K classes.

    Yields:
        Source, tensors and privacy guarantee: of each family that matches more than half of the
        names, with rows in the plant's order; or, if there is none, of all families with at least K
        classes, with rows in the family's order.
    """
    large_enough = [f for f in operator_families.families.values() if len(f.labels) >= len(labels)]
    matches = [(_match_share_and_rows(family.labels, labels), family) for family in large_enough]
    named_matches = [(match, family) for match, family in matches if match[0] > _MIN_MATCHED_SHARE]
    named_matches.sort(key=lambda pair: -pair[0][0])
    for (_, rows), family in named_matches[:OFFERED_FAMILIES_LIMIT]:
        yield SAME_FAMILY_SOURCE, family.candidate_tensors(rows), family.privacy
    if not named_matches:
        for family in large_enough[:OFFERED_FAMILIES_LIMIT]:
            every = np.arange(len(family.labels))
            yield ANY_FAMILY_SOURCE, family.candidate_tensors(every), family.privacy


def _match_share_and_rows(
    family_labels: Sequence[str], labels: Sequence[str]
) -> tuple[float, NDArray[np.intp]]:
    """Match K class names; return the mean match probability, and the family's rows, ``[K]``."""
    ratio = same_class_log_ratio(labels, family_labels)
    likeness_share = np.where(ratio == 0, 0.0, expit(ratio))
    family_rows, rows = linear_sum_assignment(-np.minimum(ratio, _SAME_NAME_LOG_ODDS))
    return float(likeness_share[family_rows, rows].mean()), rows
