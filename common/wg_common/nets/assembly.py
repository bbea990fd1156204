"""Assembly of a classifier as one torch module: encoder, optional network, and linear head.

The head has the tensors ``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]`` for K classes. Its d
inputs are the encoder's features, followed by those of the network if there is one.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from wg_common.catalogue import HEAD_WEIGHT_TENSOR
from wg_common.inference.hostile_tensors import Tensors
from wg_common.nets import network as networks
from wg_common.nets.encoder.projected_trunk import Encoder, EncoderModule
from wg_common.nets.encoder.trunk import EncoderTrunk
from wg_common.nets.family_network import FamilyTrunk
from wg_common.nets.network import NetworkTrunks
from wg_common.nets.tensor_set import check_tensors
from wg_core.errors import ConfigError


class HeadModel(nn.Module):
    """Classifier that maps prepared records to class logits.

    Args:
        encoder: Encoder with its first trunk.
        head: Linear head on the concatenated features.
        network: Additional network, whose features come last: a ``FamilyTrunk`` reads the batch of
            the first trunk, a ``NetworkTrunks`` a batch of its own. None if there is no network.
        further_trunks: The encoder's other trunks; each reads a batch that it prepared itself.
    """

    def __init__(
        self,
        encoder: EncoderModule,
        head: nn.Linear,
        network: FamilyTrunk | NetworkTrunks | None = None,
        further_trunks: Sequence[EncoderTrunk] = (),
    ) -> None:
        super().__init__()
        self.further = nn.ModuleList(further_trunks)
        self.encoder = encoder
        self.head = head
        self.network = network

    def forward(self, records: Tensor, *further_inputs: Tensor) -> Tensor:
        """Return class logits ``[n, K]`` of a batch of records.

        Args:
            records: Batch prepared by the encoder's first trunk.
            further_inputs: One batch for each further trunk, then one for a ``NetworkTrunks``.
        """
        return self.logits(self.features(records, *further_inputs))

    def logits(self, features: Tensor) -> Tensor:
        """Return class logits ``[n, K]`` of features from ``HeadModel.features``."""
        values: Tensor = self.head(features[:, : self.head.in_features])
        return values

    def features(self, records: Tensor, *further_inputs: Tensor) -> Tensor:
        """Compute all features ``[n, D]`` of a batch of records, of which the head uses the first.

        ``records`` and ``further_inputs`` are the batches that ``forward`` takes.
        """
        batch = records.float()
        parts = [self.encoder(batch)]  # [n, D], the released features first
        for trunk, x in zip(self.further, further_inputs, strict=False):
            parts.append(cast(EncoderTrunk, trunk).local_features(x))
        if self.network is not None:
            parts.append(
                self.network(
                    further_inputs[-1] if len(further_inputs) > len(self.further) else batch
                )
            )
        return torch.cat(parts, dim=1)


def build_head_model(
    head_architecture: str,
    encoder: Encoder,
    tensors: Tensors,
    labels: Sequence[str],
    network: FamilyTrunk | NetworkTrunks | None = None,
) -> HeadModel:
    """Build a classifier from encoder, head tensors and optional network.

    The number of the head's inputs decides which features it gets: the released features, all local
    features, or these and the network's.

    Args:
        head_architecture: Name of the architecture of heads on this encoder, for messages and
            checks.
        encoder: The public encoder.
        tensors: ``head.weight`` and ``head.bias``.
        labels: Class names, in the order of the head's rows.
        network: Network whose features the head may use.

    Returns:
        Module in evaluation mode.

    Raises:
        DecodeError: The tensors are not those of a head on these features.
        ConfigError: A trunk of the encoder is not exportable, such as one from a file.
    """
    local = encoder.local_dimension
    wide = local + (0 if network is None else network.width)
    head_shape = tensors[HEAD_WEIGHT_TENSOR].shape[1:]
    dimension = next((n for n in (local, wide) if head_shape == (n,)), encoder.dimension)
    check_tensors(head_architecture, tensors, len(labels), dimension)
    if not all(trunk.is_exportable for trunk in (encoder.module.trunk, *encoder.further_trunks)):
        raise ConfigError(
            f"{head_architecture}: its encoder stands on a file: the encoder and the head are not"
            " exported as one"
        )
    used_network = network if dimension > local else None
    head = networks.build_head_layer(tensors)
    return HeadModel(encoder.module, head, used_network, encoder.further_trunks).eval()
