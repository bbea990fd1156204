"""The plant's own code on what a server makes: model selection, and training on from a head."""

from collections.abc import Sequence

import numpy as np
from bench.plants import Floats, Ints
from numpy.typing import NDArray

from wg_client.data.recipient import Features
from wg_client.fitting.backbone import Trunk, encoder_trunk
from wg_client.fitting.finetune import fit_finetuned, fixed_base
from wg_client.fitting.folds import Folds, stratify
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.standardised import family_view
from wg_client.methods import names, operator_families
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_client.methods.operator_families import OfferedFamily
from wg_client.methods.package import plant_network
from wg_client.selection.model_selection import Outcome, select_model
from wg_common.catalogue import FAMILIES, POSTERIOR
from wg_common.inference.family_head import Layout
from wg_common.inference.posterior import from_tensors
from wg_common.modalities.registry import modality
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


def plant_trunk(encoder: Encoder, local: NDArray[np.floating]) -> Trunk:
    """The encoder, seen through a plant's local features."""
    blocks = encoder.local_blocks, encoder.trunk_blocks
    return encoder_trunk(local, encoder.dimension, encoder.scaled_dimension, *blocks)


def selected(
    made: Sequence[GeneratedCandidate],
    trunk: Trunk,
    labels: Ints,
    dimension: int,
    *,
    others: bool,
    groups: Ints | None = None,
    policy: AcceptanceConfig = AcceptanceConfig(),  # noqa: B008 - frozen
    family: Candidate | None = None,
) -> Outcome:
    """The plant's model selection, with the policy that plants start with.

    Args:
        labels: ``[n]``, -1 without one.
        others: Whether other sites have released.
        groups: Of records ``[n]`` that belong together; None: each is alone.
        policy: The policy, if not the one that plants of images start with.
        family: The operator's family that the plant takes (``family_at``); None: none.
    """
    posterior = next(c.tensors for c in made if c.source == POSTERIOR)
    k = posterior["weighted"].shape[1] - 1
    return select_model(
        LabelledRecords(
            all_labels=labels,
            classes=k,
            public=trunk,
            units=None if groups is None else [str(group) for group in groups],
        ),
        Package(
            candidates=[] if family is None else [family],
            posterior=from_tensors(posterior, k, dimension),
            others_released=others,
        ),
        policy,
    )


def offered(
    made: Sequence[GeneratedCandidate], encoder: Encoder, local: NDArray[np.floating], classes: int
) -> list[OfferedFamily]:
    """The operator's families that were offered, seen through local features ``[n, D]``."""
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)
    features = Features(
        local=local.astype(np.float32),
        dimension=encoder.dimension,
        scaled=encoder.scaled_dimension,
        clip_radius=CLIP_RADIUS,
    )
    architecture = modality(encoder.modality).head
    return [
        operator_families.read(
            PackedCandidate(name=c.name, source=c.source, architecture=architecture),
            tensors_of(c),
            classes,
            layout,
            features,
        )
        for c in made
        if c.source in FAMILIES
    ]


def tensors_of(candidate: GeneratedCandidate) -> dict[str, NDArray[np.float32]]:
    """Its tensors, as a package brings them."""
    return {name: value.astype(np.float32) for name, value in candidate.tensors.items()}


def family_at(
    family: OfferedFamily, encoder: Encoder, trunk: Trunk, network: PlantNetwork | None
) -> Candidate:
    """A family that a plant takes: its head, and its network if it is to stand beside it."""
    second = None if network is None else network.head
    view, head = family_view(
        family.head, family.local, family.layout, trunk, encoder.dimension, second
    )
    return Candidate(family.name, family.source, view, head, family.unlikeness)


def network_of(family: OfferedFamily, encoder: Encoder, own: Records) -> PlantNetwork | None:
    """The network that came with a family's head, standardised by a plant's own records."""
    architecture = modality(encoder.modality).family_network
    sent = family_network.unpack_network(family.network, architecture, len(family.head.bias))
    return None if sent is None else plant_network(sent, own, encoder.settings)


def selected_heads(outcome: Outcome) -> dict[str, LinearHead]:
    """What the plant's selector keeps, and the models that tables show after local training."""
    shown = {name: model.head for name, model in outcome.models.items() if name not in AS_DELIVERED}
    return {SELECTOR: outcome.models[outcome.kept].head, **shown}


def zeros(classes: int, width: int) -> LinearHead:
    """A head of zeros."""
    return LinearHead(np.zeros((classes, width)), np.zeros(classes))


def own_folds(labels: Ints) -> Folds:
    """Folds of a plant's labels, for what is trained beside its model selection."""
    return stratify(labels, np.random.default_rng(5))


def trained_on(head: LinearHead, x: Floats, y: Ints, missing: Sequence[int] | Ints) -> LinearHead:
    """A head after local training on records that lack some classes."""
    mass = len(missing) / len(head.bias)
    return fit_finetuned(fixed_base(head), x, y, own_folds(y), unseen_mass=mass).head


def right(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Accuracy on test records, which may have more features than the head stands on."""
    features = test[0][:, : head.weight.shape[1]]
    return float((head.logits(features).argmax(axis=1) == test[1]).mean())
