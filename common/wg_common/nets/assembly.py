"""From the tensors of a model to a module that runs.

A model is a head, ``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]``, on the encoder's features
and on those of a network that may stand beside it; logits = features @ weight.T + bias.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wg_common.catalogue import HEAD_WEIGHT
from wg_common.nets import network as networks
from wg_common.nets.encoder.module import Encoder, EncoderModule
from wg_common.nets.family_network import TrunkBeside
from wg_common.nets.network import RecordTrunk
from wg_common.nets.tensor_set import Tensors, check_tensors
from wg_core.errors import ConfigError


class HeadModel(nn.Module):
    """A batch of records, as the encoder's trunk prepares them (also uint8), to logits.

    Args:
        encoder: The shared encoder.
        network: What the head stands on, too: networks of the plant's family, on the same batch, or
            one network on a batch that is prepared for it; its features come last. None: no such.
    """

    def __init__(
        self,
        encoder: EncoderModule,
        head: nn.Linear,
        network: TrunkBeside | RecordTrunk | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.network = network

    def forward(self, records: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Logits ``[n, K]``."""
        batch = records.float()
        features = self.encoder(batch)  # [n, D], those that are released first
        if self.network is not None:
            network_batch = batch if prepared is None else prepared
            features = torch.cat([features, self.network(network_batch)], dim=1)
        logits: Tensor = self.head(features[:, : self.head.in_features])
        return logits


def build_model(
    modality_head: str,
    encoder: Encoder,
    tensors: Tensors,
    labels: Sequence[str],
    network: TrunkBeside | RecordTrunk | None = None,
) -> HeadModel:
    """A model ready to run or to export.

    Args:
        modality_head: Architecture of heads on this encoder.
        encoder: The public encoder.
        tensors: Generated tensors, or a plant's: its heads stand on the local features.
        labels: Label domain, in the order of class rows.
        network: What its heads may stand on, too.

    Returns:
        A module in evaluation mode.

    Raises:
        DecodeError: The tensors are not those of a head.
        ConfigError: The encoder is one of several trunks or of a file.
    """
    local = encoder.local_dimension
    wide = local + (0 if network is None else network.width)
    head_shape = tensors[HEAD_WEIGHT].shape[1:]
    dimension = next((n for n in (local, wide) if head_shape == (n,)), encoder.dimension)
    check_tensors(modality_head, tensors, len(labels), dimension)
    if encoder.further or not encoder.module.trunk.exports:
        raise ConfigError(
            f"{modality_head}: its encoder stands on several trunks, or on a file: the encoder and"
            " the head are not exported as one"
        )
    used_network = network if dimension > local else None
    return HeadModel(encoder.module, networks.linear(tensors), used_network).eval()
