"""The plant's own code on what a server makes: model selection, and training on from a head."""

from collections.abc import Sequence

import numpy as np
from bench.plants import Floats, Ints
from numpy.typing import NDArray

from wg_client.data.recipient import EncodedRecords
from wg_client.fitting.backbone import TrunkFeatures, encoder_features
from wg_client.fitting.finetune import constant_base_head, fit_finetuned
from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.standardised import family_features
from wg_client.methods import names, operator_families
from wg_client.methods.base import DeliveredCandidate, PlantNetwork, PlantRecords, PreparedPackage
from wg_client.methods.operator_families import DeliveredFamily
from wg_client.methods.package import standardise_network
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_common.catalogue import FAMILY_SOURCES, POSTERIOR_SOURCE
from wg_common.inference.family_head import FeatureLayout
from wg_common.inference.posterior import posterior_from_tensors
from wg_common.modalities.registry import find_modality
from wg_common.nets import family_network
from wg_common.nets.encoder.module import Encoder
from wg_common.nets.encoder.trunk import Records
from wg_common.weights_package import Candidate as PackedCandidate
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.acceptance import AcceptanceConfig
from wg_server.generator.weights.candidates import GeneratedCandidate

SELECTOR = "selector"
THEN_LOCAL = ", then local"
AS_DELIVERED = (names.HANDED_ON, names.GENERATED)  # Methods that tables show among delivered heads


def plant_trunk(encoder: Encoder, local: NDArray[np.floating]) -> TrunkFeatures:
    """The encoder, seen through a plant's local features."""
    blocks = encoder.local_blocks, encoder.trunk_blocks
    return encoder_features(local, encoder.dimension, encoder.scaled_dimension, *blocks)


def selected(
    made: Sequence[GeneratedCandidate],
    trunk: TrunkFeatures,
    labels: Ints,
    dimension: int,
    *,
    others: bool,
    groups: Ints | None = None,
    policy: AcceptanceConfig = AcceptanceConfig(),  # noqa: B008 - frozen
    family: DeliveredCandidate | None = None,
) -> SelectionOutcome:
    """The plant's model selection, with the policy that plants start with.

    Args:
        labels: ``[n]``, -1 without one.
        others: Whether other sites have released.
        groups: Of records ``[n]`` that belong together; None: each is alone.
        policy: The policy, if not the one that plants of images start with.
        family: The operator's family that the plant takes (``family_at``); None: none.
    """
    posterior = next(c.tensors for c in made if c.source == POSTERIOR_SOURCE)
    k = posterior["weighted"].shape[1] - 1
    return select_model(
        PlantRecords(
            all_labels=labels,
            classes=k,
            encoder_features=trunk,
            units=None if groups is None else [str(group) for group in groups],
        ),
        PreparedPackage(
            candidates=[] if family is None else [family],
            posterior=posterior_from_tensors(posterior, k, dimension),
            others_released=others,
        ),
        policy,
    )


def offered(
    made: Sequence[GeneratedCandidate], encoder: Encoder, local: NDArray[np.floating], classes: int
) -> list[DeliveredFamily]:
    """The operator's families that were offered, seen through local features ``[n, D]``."""
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_blocks)
    features = EncodedRecords(
        local=local.astype(np.float32),
        dimension=encoder.dimension,
        scaled=encoder.scaled_dimension,
        clip_radius=CLIP_RADIUS,
    )
    architecture = find_modality(encoder.modality).head
    return [
        operator_families.read_family(
            PackedCandidate(name=c.name, source=c.source, architecture=architecture),
            tensors_of(c),
            classes,
            layout,
            features,
        )
        for c in made
        if c.source in FAMILY_SOURCES
    ]


def tensors_of(candidate: GeneratedCandidate) -> dict[str, NDArray[np.float32]]:
    """Its tensors, as a package brings them."""
    return {name: value.astype(np.float32) for name, value in candidate.tensors.items()}


def family_at(
    family: DeliveredFamily, encoder: Encoder, trunk: TrunkFeatures, network: PlantNetwork | None
) -> DeliveredCandidate:
    """A family that a plant takes: its head, and its network if it is to stand beside it."""
    second = None if network is None else network.head
    view, head = family_features(
        family.head, family.local, family.layout, trunk, encoder.dimension, second
    )
    return DeliveredCandidate(family.name, family.source, view, head, family.unlikeness)


def network_of(family: DeliveredFamily, encoder: Encoder, own: Records) -> PlantNetwork | None:
    """The network that came with a family's head, standardised by a plant's own records."""
    architecture = find_modality(encoder.modality).family_network
    sent = family_network.unpack_network(family.network, architecture, len(family.head.bias))
    return None if sent is None else standardise_network(sent, own, encoder.settings)


def selected_heads(outcome: SelectionOutcome) -> dict[str, LinearHead]:
    """What the plant's selector keeps, and the models that tables show after local training."""
    shown = {name: model.head for name, model in outcome.models.items() if name not in AS_DELIVERED}
    return {SELECTOR: outcome.models[outcome.kept].head, **shown}


def zeros(classes: int, width: int) -> LinearHead:
    """A head of zeros."""
    return LinearHead(np.zeros((classes, width)), np.zeros(classes))


def own_folds(labels: Ints) -> Folds:
    """Folds of a plant's labels, for what is trained beside its model selection."""
    return stratified_folds(labels, np.random.default_rng(5))


def trained_on(head: LinearHead, x: Floats, y: Ints, missing: Sequence[int] | Ints) -> LinearHead:
    """A head after local training on records that lack some classes."""
    mass = len(missing) / len(head.bias)
    return fit_finetuned(constant_base_head(head), x, y, own_folds(y), unseen_mass=mass).head


def right(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Accuracy on test records, which may have more features than the head stands on."""
    features = test[0][:, : head.weight.shape[1]]
    return float((head.logits(features).argmax(axis=1) == test[1]).mean())


def mean_recall(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Accuracy averaged over the classes of test records."""
    features, truth = test[0][:, : head.weight.shape[1]], test[1]
    hits = head.logits(features).argmax(axis=1) == truth
    return float(np.mean([hits[truth == label].mean() for label in np.unique(truth)]))
