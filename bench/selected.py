"""The plant's own code applied to the server's results: model selection, and further training."""

from collections.abc import Sequence

import numpy as np
from bench.plants import Floats, Ints
from numpy.typing import NDArray

from wg_client.data.recipient_plant import EncodedRecords
from wg_client.fitting.family_features import append_family_logits
from wg_client.fitting.finetune import constant_base_fitter, fit_finetuned
from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.trunk_features import TrunkFeatures, scale_encoder_features
from wg_client.methods import method_names, operator_families
from wg_client.methods.base import DeliveredCandidate, PlantNetwork, PlantRecords, PreparedPackage
from wg_client.methods.operator_families import DeliveredFamily
from wg_client.methods.package import standardise_network
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_common.catalogue import FAMILY_SOURCES, POSTERIOR_SOURCE
from wg_common.inference.family_head import FeatureLayout
from wg_common.inference.posterior import posterior_from_tensors
from wg_common.modalities.registry import find_modality
from wg_common.nets import family_network
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.encoder.trunk import Records
from wg_common.weights_package import Candidate as PackedCandidate
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.acceptance import AcceptanceConfig
from wg_server.generator.weights.candidates import GeneratedCandidate

SELECTOR = "selector"
THEN_LOCAL = ", then local"
AS_DELIVERED = (
    method_names.HANDED_ON,
    method_names.GENERATED,
)  # Methods that tables show among delivered heads


def plant_trunk(encoder: Encoder, local: NDArray[np.floating]) -> TrunkFeatures:
    """Return a plant's local features ``[n, D]``, scaled, with the encoder's layout of them."""
    blocks = encoder.local_block_sizes, encoder.trunk_block_counts
    return scale_encoder_features(local, encoder.dimension, encoder.scaled_dimension, *blocks)


def select_for_plant(
    candidates: Sequence[GeneratedCandidate],
    trunk: TrunkFeatures,
    labels: Ints,
    dimension: int,
    *,
    others_released: bool,
    groups: Ints | None = None,
    policy: AcceptanceConfig = AcceptanceConfig(),  # noqa: B008 - frozen
    family: DeliveredCandidate | None = None,
) -> SelectionOutcome:
    """Run the plant's model selection, by default with the initial policy of a plant.

    Args:
        candidates: Candidates that the server makes.
        trunk: The plant's features, from ``plant_trunk``.
        labels: Classes ``[n]``, -1 without one.
        dimension: Number of released features.
        others_released: True if other sites have released.
        groups: Groups of records ``[n]`` that belong together; None if each is independent.
        policy: Policy of the plant.
        family: The operator's family that the plant uses (``family_candidate``); None for none.
    """
    posterior = next(c.tensors for c in candidates if c.source == POSTERIOR_SOURCE)
    k = posterior["weighted"].shape[1] - 1
    return select_model(
        PlantRecords(
            all_labels=labels,
            class_count=k,
            encoder_features=trunk,
            privacy_units=None if groups is None else [str(group) for group in groups],
        ),
        PreparedPackage(
            candidates=[] if family is None else [family],
            posterior=posterior_from_tensors(posterior, k, dimension),
            other_sites_released=others_released,
        ),
        policy,
    )


def offered_families(
    candidates: Sequence[GeneratedCandidate],
    encoder: Encoder,
    local: NDArray[np.floating],
    classes: int,
) -> list[DeliveredFamily]:
    """Return the operator's families among the candidates, with features ``[n, D]`` of a plant."""
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    features = EncodedRecords(
        local_features=local.astype(np.float32),
        released_width=encoder.dimension,
        scaled_width=encoder.scaled_dimension,
        clip_radius=CLIP_RADIUS,
    )
    architecture = find_modality(encoder.modality).head_architecture
    return [
        operator_families.read_family(
            PackedCandidate(name=c.name, source=c.source, architecture=architecture),
            candidate_tensors(c),
            classes,
            layout,
            features,
        )
        for c in candidates
        if c.source in FAMILY_SOURCES
    ]


def candidate_tensors(candidate: GeneratedCandidate) -> dict[str, NDArray[np.float32]]:
    """Return a candidate's tensors as float32, as in a package."""
    return {name: value.astype(np.float32) for name, value in candidate.tensors.items()}


def family_candidate(
    family: DeliveredFamily, encoder: Encoder, trunk: TrunkFeatures, network: PlantNetwork | None
) -> DeliveredCandidate:
    """Return a family as a plant's candidate: its head, and its network if given."""
    second = None if network is None else network.head
    view, head = append_family_logits(
        family.head, family.local_features, family.layout, trunk, encoder.dimension, second
    )
    return DeliveredCandidate(family.name, family.source, view, head, family.unlikeness)


def plant_network(
    family: DeliveredFamily, encoder: Encoder, plant_records: Records
) -> PlantNetwork | None:
    """Load the network of a family, standardised by a plant's own records; None for none."""
    architecture = find_modality(encoder.modality).family_network
    sent = family_network.unpack_network(
        family.network_tensors, architecture, len(family.head.bias)
    )
    return (
        None if sent is None else standardise_network(sent, plant_records, encoder.trunk_settings)
    )


def selected_heads(outcome: SelectionOutcome) -> dict[str, LinearHead]:
    """Return the selected model's head, and those shown in tables after local training."""
    shown = {name: model.head for name, model in outcome.models.items() if name not in AS_DELIVERED}
    return {SELECTOR: outcome.models[outcome.kept_name].head, **shown}


def zero_head(classes: int, width: int) -> LinearHead:
    """Return a head of zeros."""
    return LinearHead(np.zeros((classes, width)), np.zeros(classes))


def label_folds(labels: Ints) -> Folds:
    """Return folds of a plant's labels, for training besides its model selection."""
    return stratified_folds(labels, np.random.default_rng(5))


def train_locally(
    head: LinearHead, x: Floats, y: Ints, missing: Sequence[int] | Ints
) -> LinearHead:
    """Train a head locally on records that lack some classes."""
    mass = len(missing) / len(head.bias)
    return fit_finetuned(constant_base_fitter(head), x, y, label_folds(y), unseen_mass=mass).head


def head_accuracy(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Accuracy on test records, which may have further features after those of the head."""
    features = test[0][:, : head.weight.shape[1]]
    return float((head.logits(features).argmax(axis=1) == test[1]).mean())


def mean_recall(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Recall averaged over the classes of test records."""
    features, truth = test[0][:, : head.weight.shape[1]], test[1]
    hits = head.logits(features).argmax(axis=1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))
