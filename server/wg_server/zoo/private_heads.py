"""Heads of private families, trained by private gradient descent at simulated sites.

Each record is encoded at the same simulated sites, whatever the other records are. How features are
standardised at a site, and on which directions the head is trained, is computed from rendered,
public records. A head thus depends on private records only through noisy sums
(``wg_core.privacy.gradients``). The first sums estimate the mean of the records' features, which a
plant later replaces by that of its own records. The others are sums of gradients for training the
head (``wg_common.nets.private_head``), where a record's gradient is its mean over the sites.

*Guarantee.* A head is (epsilon, delta)-differentially private for adding or removing one record of
its family. Accuracies on a model card are not private: they are measured on the records.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.inference.block_scale import block_scale_factors
from wg_common.inference.discriminants import principal_components
from wg_common.inference.family_head import FamilyHead, FeatureLayout, Floats, site_moments
from wg_common.modalities.base import Record
from wg_common.nets import private_head
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.encoder.projection_fit import discriminant_directions, subtract_group_means
from wg_common.streams import Stream
from wg_common.weights_package import PrivacyGuarantee
from wg_core.privacy import gradients, mechanism
from wg_core.privacy.gradients import ChargedGradientSums, GradientSchema, LabelledFeatures
from wg_server.zoo import family_heads, sources
from wg_server.zoo.family_heads import SimulatedSites, SiteRecords
from wg_server.zoo.membership import MembershipAttackResult
from wg_server.zoo.task_spec import TaskSpec

SIMULATED_SITE_COUNT = 10  # Number of simulated sites at which each record is encoded
_RENDERED_FAMILY_COUNT, _RENDERED_RECORDS_PER_CLASS = (
    10,
    4,
)  # Numbers of rendered families, and of records per class
_PRINCIPAL_DIRECTION_COUNT, _HEAD_INPUT_COUNT = (
    256,
    64,
)  # Numbers of principal directions, and of a head's inputs
_MEAN_ESTIMATION_STEPS = 20  # Number of noisy sums that estimate the records' mean
_UNLIMITED_RECORD_COUNT = (
    1 << 40
)  # Records per class, in effect all: selecting some would break the guarantee


@dataclass(frozen=True, slots=True, eq=False)
class _HeadInputMap:
    """Map from local features to a private head's inputs, computed from public records only.

    Attributes:
        moments_by_site: Mean, and logarithm of the spread, of each feature at each site, ``[C, 2,
            B]``.
        typical_moments: Values of ``FamilyHead.reference`` and ``FamilyHead.records``.
        basis: Map from standardised features to inputs with norms of about 1, ``[B, d]``.
        layout: Layout of local features.
    """

    moments_by_site: Floats
    typical_moments: tuple[Floats, Floats]
    basis: Floats
    layout: FeatureLayout

    def map_to_inputs(self, site_number: int, local_features: NDArray[np.float32]) -> Floats:
        """Map the local features ``[n, D]`` at a site to inputs ``[n, d]``, each row by itself."""
        mean, spread = self.moments_by_site[site_number]
        basis = (
            block_scale_factors(np.exp(spread), self.layout.head_block_sizes)[:, None] * self.basis
        )
        rows = local_features[:, self.layout.first_head_feature :].astype(np.float64) - mean
        return np.stack([row @ basis for row in rows])


def train_private_family_head(
    encoder: Encoder, spec: TaskSpec, privacy: PrivacyGuarantee
) -> tuple[sources.LabelledTask, FamilyHead, float, MembershipAttackResult]:
    """Train the head of a private family, and measure accuracy and a membership attack.

    Args:
        spec: Task of the family; all records of its files are used.
        privacy: Guarantee for each record.

    Returns:
        The records, the head, and accuracy and attack (``family_heads.evaluate_head_at_sites``) of
        another head, trained at some of the sites without held-out records.
    """
    task = sources.load_task(replace(spec, sites=1, per_class=_UNLIMITED_RECORD_COUNT))
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    space = _fit_head_input_map(encoder, spec, task.modality, layout)
    local = list(_local_features_by_site(encoder.encode_local, task.records, task.modality, spec))
    sites = SimulatedSites(local, [task.labels] * SIMULATED_SITE_COUNT)
    numbers = np.tile(np.arange(len(task.labels)), (SIMULATED_SITE_COUNT, 1))
    out = family_heads.held_out_mask(task.labels, len(task.class_names))
    schema = GradientSchema(
        encoder=encoder.id,
        dimension=_HEAD_INPUT_COUNT,
        labels=task.class_names,
        steps=gradients.DEFAULT_STEPS + _MEAN_ESTIMATION_STEPS,
        unit_rule="weight",
    )
    sigma = mechanism.noise_scale(schema, float(privacy.epsilon), float(privacy.delta))

    def fit(places: Sequence[int], at: SimulatedSites) -> FamilyHead:
        return _fit_private_head(space, schema, sigma, places, at)

    figures = family_heads.evaluate_head_at_sites(
        sites, SiteRecords(numbers, out[numbers]), layout, fit
    )

    return task, fit(range(SIMULATED_SITE_COUNT), sites), *figures


def _fit_private_head(
    input_map: _HeadInputMap,
    schema: GradientSchema,
    sigma: float,
    site_numbers: Sequence[int],
    sites: SimulatedSites,
) -> FamilyHead:
    """Train a private head on records at the sites with the numbers ``site_numbers``."""
    z = np.concatenate(
        [
            input_map.map_to_inputs(place, local)
            for place, local in zip(site_numbers, sites.local_features, strict=True)
        ]
    )
    labels, count = np.concatenate(sites.labels), len(sites.labels[0])
    units = [f"{row:020d}" for row in range(count)] * len(sites.labels)
    records = LabelledFeatures(
        features=z.astype(np.float32),
        labels=labels,
        class_count=len(schema.labels),
        privacy_units=units,
    )
    steps = ChargedGradientSums(records.rows_by_unit(), sigma, schema.steps)
    halves = np.pad(z, ((0, 0), (0, 1)), constant_values=1.0) / 2
    width = halves.shape[1]
    noisy = [
        steps.noisy_sum(lambda rows: halves[rows], width) for _ in range(_MEAN_ESTIMATION_STEPS)
    ]
    total = np.sum(noisy, axis=0)
    centre = total[:-1] / max(total[-1], 1.0)
    centred_records = replace(records, features=(z - centre).astype(np.float32))
    weight, bias = private_head.train_private_head(centred_records, steps)
    reference, shrinkage = input_map.typical_moments
    factors = block_scale_factors(np.exp(reference[1]), input_map.layout.head_block_sizes)
    shift = centre @ np.linalg.pinv(input_map.basis) / factors
    return FamilyHead(
        reference=np.stack([reference[0] + shift, reference[1]]),
        records=shrinkage,
        weight=weight @ input_map.basis.T,
        bias=bias.astype(np.float64),
    )


def _fit_head_input_map(
    encoder: Encoder, spec: TaskSpec, modality: str, layout: FeatureLayout
) -> _HeadInputMap:
    """Compute, from rendered records at the simulated sites, the map to a private head's inputs."""
    tasks = [sources.load_task(task) for task in _rendered_tasks(spec, modality)]
    records = [record for task in tasks for record in task.records]
    local = list(_local_features_by_site(encoder.encode_local_batched, records, modality, spec))
    moments = np.stack([site_moments(features, layout) for features in local])
    flat = np.concatenate(
        [
            (features[:, layout.first_head_feature :] - mean)
            * block_scale_factors(np.exp(spread), layout.head_block_sizes)
            for features, (mean, spread) in zip(local, moments, strict=True)
        ]
    )
    sizes = [len(task.labels) for task in tasks]
    families = np.repeat(np.arange(len(tasks)), sizes)
    names = np.unique(
        np.stack([families, np.concatenate([task.labels for task in tasks])]),
        axis=1,
        return_inverse=True,
    )[1].ravel()
    groups = np.concatenate([families + len(tasks) * site for site in range(SIMULATED_SITE_COUNT)])
    inner = subtract_group_means(flat, groups)
    _, vectors = principal_components(inner, min(_PRINCIPAL_DIRECTION_COUNT, *inner.shape))
    axes = discriminant_directions(
        inner @ vectors,
        np.tile(names, SIMULATED_SITE_COUNT),
        _HEAD_INPUT_COUNT,
        ridge_factor=1.0,
        within_share=0.05,
    )
    basis = vectors @ axes
    basis /= np.median(np.linalg.norm(flat @ basis, axis=1))
    return _HeadInputMap(
        moments, family_heads.reference_and_record_count(local, layout), basis, layout
    )


def _local_features_by_site(
    encode: Callable[[Sequence[Record]], NDArray[np.float32]],
    records: Sequence[Record],
    modality: str,
    spec: TaskSpec,
) -> Iterator[NDArray[np.float32]]:
    """Yield, for each simulated site, the local features ``[n, D]`` of all records there."""
    for site in range(SIMULATED_SITE_COUNT):
        views = []
        for record in records:  # One by one: camera noise must not depend on a record's place
            rng = streams.stream_generator(
                Stream.FAMILY_HEAD, spec.seed, spec.family, indices=(site,)
            )
            views += sources.simulate_site([record], modality, site, rng)
        yield encode(views)


def _rendered_tasks(spec: TaskSpec, modality: str) -> Iterator[TaskSpec]:
    """Yield tasks of ten rendered families of a modality."""
    kind = next(
        k
        for k in sources.PROCEDURAL_LIBRARIES
        if modality == sources.PROCEDURAL_LIBRARIES[k].MODALITY
    )
    for family in range(_RENDERED_FAMILY_COUNT):
        yield replace(
            spec,
            kind=kind,
            family=family,
            sites=1,
            per_class=_RENDERED_RECORDS_PER_CLASS,
            strength="0.7",
            only="",
        )
