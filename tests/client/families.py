"""What a server hands on to a plant of the operator's families, made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tests.common.nets.random_tensors import draw_trunk

from wg_common.inference.family_head import FamilyHead, FeatureLayout, NetworkHead
from wg_common.inference.family_likeness import LikenessTest, description_size
from wg_common.modalities.images import Images
from wg_common.nets import network, site_norms
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.nets.family_network import FamilyNetwork

ARCHITECTURE = Images.family_network


def family_head(
    encoder_package: bytes, classes: int, unlike: float = 0.0
) -> dict[str, NDArray[np.float32]]:
    """A head on the encoder's local features, as a package has it.

    Args:
        encoder_package: The encoder.
        classes: Of the head.
        unlike: How unlike the family any plant's records are.
    """
    encoder = load_encoder(encoder_package)
    layout = FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes)
    return head(layout, classes).tensors() | likeness(encoder.dimension, unlike).tensors()


def likeness(dimension: int, unlike: float = 0.0) -> LikenessTest:
    """A test that says the same of every plant."""
    return LikenessTest(np.zeros(description_size(dimension)), np.array([unlike]), np.ones(1))


def beside(classes: int) -> FamilyNetwork:
    """A network that stands beside heads, of random weights."""
    trunk = draw_trunk(ARCHITECTURE, np.random.default_rng(7))
    return FamilyNetwork(ARCHITECTURE, trunk, network_head(classes))


def network_head(classes: int) -> NetworkHead:
    """As ``head``, on a network's features; its norms are at rest at a typical site."""
    plain = head(FeatureLayout(network.feature_count(ARCHITECTURE), ()), classes)
    rest = {
        name: np.zeros(shape)
        for name, shape in site_norms.network_head_shapes(ARCHITECTURE).items()
    }
    return NetworkHead(plain.reference, plain.records, plain.weight, plain.bias, **rest)


def head(layout: FeatureLayout, classes: int) -> FamilyHead:
    """One that has a feature for each class."""
    size = sum(layout.head_block_sizes)
    return FamilyHead(
        reference=np.zeros((2, size)),
        records=np.ones(1),
        weight=np.eye(classes, size),
        bias=np.zeros(classes),
    )
