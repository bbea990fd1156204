"""Selection among the operator's families by class names, records and labels.

A family with the plant's class names is delivered with its rows in the plant's order. If no names
match, all families are delivered with their own classes: of those that the plant's records
resemble, its labels select one, and match the rows to the plant's classes. Neither the selection
nor the match leaves the plant.

The rows are matched again for each fold (``delivered_head``), without the held-out labels. The
family is selected only once, by all labels, since there are only a few families.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from wg_client.data.recipient_plant import EncodedRecords
from wg_client.fitting.linear_assignment import assign_likeliest_rows
from wg_client.fitting.linear_head import Ints, LinearHead, total_tempered_loss
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.inference import family_head, family_likeness
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_common.inference.family_likeness import LikenessTest
from wg_common.inference.hostile_tensors import Tensors, split_prefix
from wg_common.nets import family_network
from wg_common.weights_package import Candidate as PackedCandidate
from wg_core.errors import DecodeError

FAMILY_CLASSES_LIMIT = 4096
"""Most classes of a family."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DeliveredFamily:
    """A delivered family of R classes (R is at least the plant's K), with the plant's features.

    Attributes:
        name: Name of the candidate.
        source: Source of the candidate.
        head: Family head, with a row for each of the R classes.
        likeness_test: Test of how unlike the family's records other records are.
        network_tensors: Tensors of a network that came with the head.
        layout: Layout of local features.
        local_features: Local features of all records, ``[n, D]``.
        released_features: Released features of all records, ``[n, d]``.
    """

    name: str
    source: str
    head: FamilyHead
    likeness_test: LikenessTest
    network_tensors: Tensors
    layout: FeatureLayout
    local_features: NDArray[np.floating]
    released_features: NDArray[np.floating]

    @property
    def is_matched_by_name(self) -> bool:
        """True if class names matched the rows of the family's head to the plant's classes."""
        return self.source == SAME_FAMILY_SOURCE

    @cached_property
    def unlikeness(self) -> float:
        """Score that rises as the plant's records differ from the family's records."""
        return self.likeness_test.unlikeness(self.released_features)

    @property
    def is_too_unlike(self) -> bool:
        """True if the plant's records are too unlike the family's records."""
        return self.unlikeness > family_likeness.UNLIKENESS_THRESHOLD

    def penalised_log_loss(self, labels: Ints, class_count: int) -> float:
        """Return the log loss of the family's head on the labelled records.

        If class names do not identify the family, the head's rows take the likeliest order, and the
        logarithm of the number of possible orders is added.

        Args:
            labels: Labels ``[n]``, -1 = unlabelled; each class has some.
            class_count: Number K of the plant's declared classes.
        """
        labelled, rows = labels >= 0, len(self.head.bias)
        head = LinearHead(*self.head.adapt_to_site(self.local_features, self.layout))
        features = self.local_features[labelled].astype(np.float64)
        orders = 0.0
        if not self.is_matched_by_name:
            order = assign_likeliest_rows(head.logits(features), labels[labelled], class_count)
            head = LinearHead(head.weight[order], head.bias[order])
            orders = float(gammaln(1 + rows) - gammaln(1 + rows - class_count))
        return total_tempered_loss(head, features, labels[labelled]) + orders


def read_family(
    candidate: PackedCandidate,
    tensors: Tensors,
    class_count: int,
    layout: FeatureLayout,
    encoded_records: EncodedRecords,
) -> DeliveredFamily:
    """Read a family from a package's tensors.

    Args:
        class_count: Number K of the plant's declared classes.
        layout: Layout of local features.
        encoded_records: Features of all of the plant's records.

    Raises:
        DecodeError: The tensors are not those of a family, or it has too few or too many classes.
    """
    rows = len(np.atleast_1d(tensors["bias"])) if "bias" in tensors else 0
    if (
        not class_count
        <= rows
        <= (class_count if candidate.source == SAME_FAMILY_SOURCE else FAMILY_CLASSES_LIMIT)
    ):
        raise DecodeError(f"family of {rows} classes, expected {class_count}")
    head, network = split_prefix(tensors, family_network.TENSOR_PREFIX)
    head, of_likeness = split_prefix(head, family_likeness.TENSOR_PREFIX)
    return DeliveredFamily(
        name=candidate.name,
        source=candidate.source,
        head=family_head.family_head_from_tensors(head, rows, layout),
        likeness_test=family_likeness.likeness_test_from_tensors(
            of_likeness, encoded_records.released_width
        ),
        network_tensors=network,
        layout=layout,
        local_features=encoded_records.local_features[
            :, : layout.scaled_count + sum(layout.block_sizes)
        ],
        released_features=encoded_records.released_features,
    )


def choose_family(
    families: Sequence[DeliveredFamily], labels: Ints, class_count: int
) -> DeliveredFamily | None:
    """Select a family for the plant, or None; one unlike its records only if class names match.

    Args:
        families: Families in the server's order.
        labels: Labels of all records, -1 = unlabelled.
        class_count: Number K of the plant's declared classes.
    """
    like = [family for family in families if not family.is_too_unlike]
    named_families = [family for family in like if family.is_matched_by_name] or [
        family for family in families if family.is_matched_by_name
    ]
    complete = len(np.unique(labels[labels >= 0])) == class_count
    possible = named_families or (like if complete else [])
    if not possible or not complete or len(possible) == 1:
        return next(iter(possible), None)
    return min(possible, key=lambda family: family.penalised_log_loss(labels, class_count))
