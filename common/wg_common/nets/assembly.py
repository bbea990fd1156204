"""Assembly of a torch module from the tensors of a model.

A model is a head, ``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]``, on the encoder's features,
optionally joined by the features of a network; logits = features @ weight.T + bias.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from wg_common.catalogue import HEAD_WEIGHT
from wg_common.inference.hostile_tensors import Tensors
from wg_common.nets import network as networks
from wg_common.nets.encoder.module import Encoder, EncoderModule
from wg_common.nets.encoder.trunk import EncoderTrunk
from wg_common.nets.family_network import FamilyTrunk
from wg_common.nets.network import RecordTrunk
from wg_common.nets.tensor_set import check_tensors
from wg_core.errors import ConfigError


class HeadModel(nn.Module):
    """Module from a batch of records, as prepared by the encoder's first trunk, to logits.

    Args:
        encoder: Shared encoder on its first trunk.
        head: Linear head on all features.
        network: Networks of the plant's family, on the same batch, or one network on a batch that
            is prepared for it; its features come last. None if there is no network.
        further_trunks: Further trunks of the encoder, each on a batch that it prepares.
    """

    def __init__(
        self,
        encoder: EncoderModule,
        head: nn.Linear,
        network: FamilyTrunk | RecordTrunk | None = None,
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
            further_inputs: Batches prepared by the further trunks, then by the network.
        """
        return self.logits(self.features(records, *further_inputs))

    def logits(self, features: Tensor) -> Tensor:
        """Return class logits ``[n, K]`` of features from ``HeadModel.features``."""
        values: Tensor = self.head(features[:, : self.head.in_features])
        return values

    def features(self, records: Tensor, *further_inputs: Tensor) -> Tensor:
        """Return the head's input features ``[n, D]``; arguments as for ``forward``."""
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


def build_model(
    modality_head: str,
    encoder: Encoder,
    tensors: Tensors,
    labels: Sequence[str],
    network: FamilyTrunk | RecordTrunk | None = None,
) -> HeadModel:
    """Build a torch module from encoder, head and optional network, for inference or export.

    Args:
        modality_head: Architecture of heads on this encoder.
        encoder: The public encoder.
        tensors: Tensors of a generated head, or of a plant's head on local features.
        labels: Label domain, in the order of class rows.
        network: Network whose features a plant's head may use too.

    Returns:
        Module in evaluation mode.

    Raises:
        DecodeError: The tensors are not those of a head.
        ConfigError: A trunk of the encoder comes from a file.
    """
    local = encoder.local_dimension
    wide = local + (0 if network is None else network.width)
    head_shape = tensors[HEAD_WEIGHT].shape[1:]
    dimension = next((n for n in (local, wide) if head_shape == (n,)), encoder.dimension)
    check_tensors(modality_head, tensors, len(labels), dimension)
    if not all(trunk.is_exportable for trunk in (encoder.module.trunk, *encoder.further)):
        raise ConfigError(
            f"{modality_head}: its encoder stands on a file: the encoder and the head are not"
            " exported as one"
        )
    used_network = network if dimension > local else None
    head = networks.head_layer(tensors)
    return HeadModel(encoder.module, head, used_network, encoder.further).eval()
