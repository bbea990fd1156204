"""Heads of the operator's families, fitted on the operator's records at simulated sites.

At a simulated site, some of the family's records are seen through a random camera or sensors
(``Modality.augment_site``); every tenth site has unchanged records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from wg_common import streams
from wg_common.inference.block_scale import block_scale_factors
from wg_common.inference.discriminants import principal_components
from wg_common.inference.family_head import FamilyHead, FeatureLayout, Floats, site_moments
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.streams import Stream
from wg_server.zoo import heads, membership, sources
from wg_server.zoo.membership import MembershipAttackResult
from wg_server.zoo.task_spec import TaskSpec

_RECORDS_PER_SITE = 30  # Approximate number of records at a simulated site, balanced over classes
_DIRECTION_COUNT = 256  # Number of principal directions that a head is fitted on
_RIDGE_PENALTY = 0.04
"""Ridge penalty on weights at unit variance, relative to the loss of all records."""
_DIRECTION_SAMPLE_SIZE = 2000  # Approximate number of records for the principal directions
_HELD_OUT_INTERVAL = 5
"""Every fifth site, and every fifth record of a class, is held out for evaluation."""
_BETWEEN_VARIANCE_FLOOR = (
    1e-9  # Least variance of feature means between sites, relative to that within sites
)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedSites:
    """Local features of one family's records at simulated sites.

    Attributes:
        local_features: For each site, the local features of its n records, float32 ``[n, D]``.
        labels: For each site, the class indices of these records, ``[n]``.
    """

    local_features: Sequence[NDArray[np.float32]]
    labels: Sequence[NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class SiteRecords:
    """Records of a family that are shown at each of C simulated sites, n at a site.

    Attributes:
        record_numbers: Numbers of the records in their family, ``[C, n]``.
        is_held_out: True for records that are held out of the evaluated head, ``[C, n]``.
    """

    record_numbers: NDArray[np.int64]
    is_held_out: NDArray[np.bool_]


def fit_family_head(sites: SimulatedSites, classes: int, layout: FeatureLayout) -> FamilyHead:
    """Fit the head of one of the operator's families at simulated sites.

    Args:
        sites: Features at one or more sites.
        classes: Number of classes K.
        layout: Layout of local features.
    """
    site_moments = _moments_by_site(sites.local_features, layout)
    flat = np.concatenate(
        [
            (local[:, layout.first_head_feature :] - mean.astype(np.float32))
            * block_scale_factors(np.exp(spread), layout.head_block_sizes).astype(np.float32)
            for local, (mean, spread) in zip(sites.local_features, site_moments, strict=True)
        ]
    )
    rows = np.linspace(0, len(flat) - 1, min(len(flat), _DIRECTION_SAMPLE_SIZE)).astype(np.int64)
    sample = flat[rows].astype(np.float64)
    _, vectors = principal_components(sample, min(_DIRECTION_COUNT, *sample.shape))
    z, labels = flat @ vectors.astype(np.float32), np.concatenate(sites.labels)
    weight, bias = heads.fit_head(z, labels, classes, penalty=_RIDGE_PENALTY * len(z))
    return FamilyHead(
        *reference_and_record_count(sites.local_features, layout),
        weight=weight @ vectors.T,
        bias=bias,
    )


HeadFitter = Callable[[Sequence[int], SimulatedSites], FamilyHead]
"""Function that fits a head, given the numbers and the features of some sites."""


def evaluate_head_at_sites(
    sites: SimulatedSites, site_records: SiteRecords, layout: FeatureLayout, fit_head: HeadFitter
) -> tuple[float, MembershipAttackResult]:
    """Fit a head at four fifths of the sites, and measure its accuracy and a membership attack.

    Args:
        sites: Features at ten or more sites.
        site_records: Records at these sites.
        layout: Layout of local features.
        fit_head: Function that fits the evaluated head.

    Returns:
        Accuracy on held-out records at the other sites, and the result of a membership attack by
        each record's mean loss at the training sites, where held-out records are the non-members.
    """
    every = list(
        zip(
            sites.local_features,
            sites.labels,
            site_records.record_numbers,
            site_records.is_held_out,
            strict=True,
        )
    )
    places = [place for place in range(len(every)) if (place + 1) % _HELD_OUT_INTERVAL]
    training = [every[place] for place in places]
    training_records = [(local[~h], labels[~h]) for local, labels, _, h in training]
    head = fit_head(places, SimulatedSites(*zip(*training_records, strict=True)))
    right: list[NDArray[np.bool_]] = []
    for local, labels, _, h in every[_HELD_OUT_INTERVAL - 1 :: _HELD_OUT_INTERVAL]:
        weight, bias = head.adapt_to_site(local, layout)
        right.append((local[h] @ weight.T + bias).argmax(axis=1) == labels[h])
    return float(np.concatenate(right).mean()), _attack_head(head, training, layout)


def _attack_head(
    head: FamilyHead,
    training_sites: Sequence[
        tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
    ],
    layout: FeatureLayout,
) -> MembershipAttackResult:
    """Run a membership attack on a head that was trained at some sites.

    Each site has local features, labels, record numbers, and the mask of held-out records.
    """
    losses = []
    for local, labels, _, _ in training_sites:
        weight, bias = head.adapt_to_site(local, layout)
        scores = log_softmax(local @ weight.T + bias, axis=1)
        losses.append(-scores[np.arange(len(labels)), labels])
    columns = [np.concatenate(column) for column in list(zip(*training_sites, strict=True))[1:]]
    labels, records, held_out = columns
    _, mean = membership.mean_loss_by_record(records, np.concatenate(losses).astype(np.float64))
    order = np.unique(records, return_index=True)[1]  # One view of each record, sorted by number
    return membership.attack_by_loss(mean, ~held_out[order], labels[order])


def reference_and_record_count(
    local_features: Sequence[NDArray[np.float32]], layout: FeatureLayout
) -> tuple[Floats, Floats]:
    """Return moments of local features at a typical site, and their weight at a new site.

    The moments, ``[2, B]``, are mean and log spread of B features, averaged over sites. The weight,
    ``[1]``, says as how many of a new site's own records they count.

    Args:
        local_features: Local features of each site, ``[n, D]``.
        layout: Layout of local features.
    """
    site_moments = _moments_by_site(local_features, layout)
    within = float(np.exp(2 * site_moments[:, 1]).mean())
    count = float(np.mean([len(features) for features in local_features]))
    between = (
        float(site_moments[:, 0].var(axis=0, ddof=min(1, len(site_moments) - 1)).mean())
        - within / count
    )
    return site_moments.mean(axis=0), np.array(
        [within / max(between, _BETWEEN_VARIANCE_FLOOR * within)]
    )


def _moments_by_site(
    local_features: Sequence[NDArray[np.float32]], layout: FeatureLayout
) -> Floats:
    """Return mean and log spread of features at each site, ``[C, 2, B]``."""
    return np.stack([site_moments(features, layout) for features in local_features])


def simulate_sites(
    encoder: Encoder, task: sources.LabelledTask, spec: TaskSpec, site_count: int
) -> tuple[SimulatedSites, SiteRecords]:
    """Encode about 30 of a task's records at each simulated site, balanced over classes.

    Returns the local features at each site, and the numbers of its records.
    """
    local, site_rows = [], []
    of_class = [np.flatnonzero(task.labels == label) for label in range(len(task.class_names))]
    per_class = max(2, _RECORDS_PER_SITE // len(of_class))
    for site in range(site_count):
        rng = streams.stream_generator(Stream.FAMILY_HEAD, spec.seed, spec.family, indices=(site,))
        rows = np.concatenate(
            [np.resize(rng.permutation(members), per_class) for members in of_class]
        )
        records = sources.simulate_site(task.records_at(rows), task.modality, site, rng)
        local.append(encoder.encode_local_batched(records))
        site_rows.append(rows)
    out = held_out_mask(task.labels, len(of_class))
    numbers = np.stack(site_rows)
    return SimulatedSites(local, list(task.labels[numbers])), SiteRecords(numbers, out[numbers])


def held_out_mask(labels: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Return a mask ``[n]`` of the records to hold out for evaluation, every fifth of a class."""
    out = np.zeros(len(labels), bool)
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        out[members[min(_HELD_OUT_INTERVAL, len(members)) - 1 :: _HELD_OUT_INTERVAL]] = (
            len(members) > 1
        )
    return out
