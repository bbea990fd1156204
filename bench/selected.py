"""The plant's own code on what a server makes: model selection, and training on from a head."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from bench.plants import Floats, Ints
from numpy.typing import NDArray

from wg_client.fitting.backbone import Trunk, encoder_trunk
from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.folds import Folds, stratified
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.standardised import family_view
from wg_client.methods import names
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_client.selection.model_selection import Outcome, select_model
from wg_common.catalogue import POSTERIOR, SAME_FAMILY
from wg_common.inference import family_head
from wg_common.inference.family_head import Layout
from wg_common.inference.hostile_tensors import apart
from wg_common.inference.posterior import from_tensors
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality
from wg_common.nets import family_network
from wg_common.nets.encoder.module import Encoder
from wg_common.nets.encoder.trunk import Records
from wg_core.site.acceptance import AcceptanceConfig
from wg_server.generator.weights.head_generation import Generated

SELECTOR = "selector"
THEN_LOCAL = ", then local"
AS_DELIVERED = (names.GENERATED,)  # Methods that tables show among delivered heads


def plant_trunk(encoder: Encoder, local: NDArray[np.floating]) -> Trunk:
    """The encoder, seen through a plant's local features."""
    blocks = encoder.local_blocks
    return encoder_trunk(local, encoder.dimension, encoder.scaled_dimension, blocks)


def selected(
    made: Generated,
    trunk: Trunk,
    labels: Ints,
    dimension: int,
    *,
    own: bool,
    others: bool,
    groups: Ints | None = None,
    policy: AcceptanceConfig = AcceptanceConfig(),  # noqa: B008 - frozen
    learners: Sequence[str] = Images.learners,
    family: Callable[[Mapping[str, NDArray[np.float32]]], tuple[Trunk, LinearHead]] | None = None,
) -> Outcome:
    """The plant's model selection, with the policy that plants start with.

    Args:
        labels: ``[n]``, -1 without one.
        own: Whether it was made from a release of the plant's own records.
        others: Whether other sites have released.
        groups: Of records ``[n]`` that belong together; None: each is alone.
        policy: The policy, if not the one that plants of images start with.
        learners: Kinds that local-only is chosen from.
        family: What the plant makes of a head of its family (``family_at``); None: there is none.
    """
    candidates = []
    for c in made.candidates:
        if c.source == SAME_FAMILY and family is not None:
            candidates.append(Candidate(c.name, c.source, *family(c.tensors)))
    posterior = next(c.tensors for c in made.candidates if c.source == POSTERIOR)
    k = posterior["weighted"].shape[1] - 1
    return select_model(
        LabelledRecords(
            all_labels=labels,
            classes=k,
            public=trunk,
            units=None if groups is None else [str(group) for group in groups],
            learners=learners,
        ),
        Package(
            candidates=candidates,
            posterior=from_tensors(posterior, k, dimension),
            own_release=own,
            others_released=others,
        ),
        policy,
    )


def family_at(
    encoder: Encoder, local: Floats, trunk: Trunk, classes: int, records: Records
) -> Callable[[Mapping[str, NDArray[np.float32]]], tuple[Trunk, LinearHead]]:
    """The head of a family at a plant of so many classes with local features ``[n, D]``."""
    layout = Layout(encoder.scaled_dimension, encoder.local_blocks)

    def seen(tensors: Mapping[str, NDArray[np.float32]]) -> tuple[Trunk, LinearHead]:
        own, _ = apart(tensors, family_network.PREFIX)
        head = family_head.from_tensors(own, classes, layout)
        network = network_of(tensors, encoder, classes, records)
        beside = [] if network is None else network.heads()
        return family_view(head, local, layout, trunk, encoder.dimension, beside)

    return seen


def network_of(
    tensors: Mapping[str, NDArray[np.float32]], encoder: Encoder, classes: int, own: Records
) -> PlantNetwork | None:
    """The networks that came with a family's head, at a plant."""
    _, further = apart(tensors, family_network.PREFIX)
    if not further:
        return None
    wanted = modality(encoder.modality).family_networks
    several = family_network.unpacked(further, wanted, classes)
    found = tuple(each.at(own, encoder.settings) for each in several)
    tensors = family_network.trunk_tensors(found)
    module = family_network.TrunkBeside(wanted, tensors, encoder.settings)
    return PlantNetwork(found, module, module.features(own))


def inputs_for(
    made: Generated, encoder: Encoder, classes: int, records: Records, own: Records
) -> Floats:
    """What heads stand on, of any records: local features, and those of networks that came.

    Args:
        own: All of the plant's records.
    """
    parts = [encoder.encode_batched(records)]
    for candidate in made.candidates:
        if candidate.source == SAME_FAMILY:
            network = network_of(candidate.tensors, encoder, classes, own)
            parts += [] if network is None else [network.module.features(records)]
    return np.hstack(parts).astype(np.float64)


def selected_heads(outcome: Outcome) -> dict[str, LinearHead]:
    """What the plant's selector keeps, and the models that tables show after local training."""
    shown = {name: model.head for name, model in outcome.models.items() if name not in AS_DELIVERED}
    return {SELECTOR: outcome.models[outcome.kept].head, **shown}


def zeros(classes: int, width: int) -> LinearHead:
    """A head of zeros."""
    return LinearHead(np.zeros((classes, width)), np.zeros(classes))


def own_folds(labels: Ints) -> Folds:
    """Folds of a plant's labels, for what is trained beside its model selection."""
    return stratified(labels, np.random.default_rng(5))


def trained_on(head: LinearHead, x: Floats, y: Ints, missing: Sequence[int] | Ints) -> LinearHead:
    """A head after local training on records that lack some classes."""
    mass = len(missing) / len(head.bias)
    return fit_finetuned(fixed(head), x, y, own_folds(y), unseen_mass=mass).head


def right(head: LinearHead, test: tuple[Floats, Ints]) -> float:
    """Accuracy on test records, which may have more features than the head stands on."""
    features = test[0][:, : head.weight.shape[1]]
    return float((head.logits(features).argmax(axis=1) == test[1]).mean())
