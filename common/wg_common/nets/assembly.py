"""From the tensors of an architecture to a module that runs.

A head on the encoder is ``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]``; logits = features @
weight.T + bias. A whole network has a trunk of its own beside them, and the encoder has no part in
running it. What is done with whole networks alone is in ``wg_common.nets.network``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wg_common.catalogue import HEAD_WEIGHT, known
from wg_common.nets import network as networks
from wg_common.nets.encoder.module import Encoder, EncoderModule
from wg_common.nets.family_network import TrunkBeside
from wg_common.nets.tensor_set import Tensors, check_tensors
from wg_core.errors import ConfigError


class HeadModel(nn.Module):
    """A batch of records, as the encoder's trunk prepares them (also uint8), to logits.

    Args:
        encoder: The shared encoder.
        network: A network of the plant's family that the head stands on, too, on the same batch;
            its features come last. None: no such.
    """

    def __init__(
        self,
        encoder: EncoderModule,
        head: nn.Linear,
        network: TrunkBeside | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.network = network

    def forward(self, records: Tensor) -> Tensor:
        """Logits ``[n, K]``."""
        batch = records.float()
        features = self.encoder(batch)  # [n, D], those that are released first
        if self.network is not None:
            features = torch.cat([features, self.network(batch)], dim=1)
        logits: Tensor = self.head(features[:, : self.head.in_features])
        return logits


def build_model(
    architecture: str,
    encoder: Encoder | None,
    tensors: Tensors,
    labels: Sequence[str],
    family_trunk: TrunkBeside | None = None,
) -> nn.Module:
    """A network ready to run or to export.

    Args:
        encoder: The public encoder; whole networks need none.
        tensors: Generated tensors, or a plant's: its heads stand on the local features.
        labels: Label domain, in the order of class rows.
        family_trunk: The network of the plant's family that its heads may stand on, too.

    Returns:
        A module in evaluation mode; input as ``HeadModel`` says, or as ``network.prepared`` gives.

    Raises:
        DecodeError: The tensors are not those of the architecture.
        ConfigError: No such architecture, no encoder where it needs one, or one of several trunks
            or of a file.
    """
    whole_network = known(architecture).whole
    if encoder is None and not whole_network:
        raise ConfigError(f"{architecture}: needs the encoder")
    dimension = 0 if encoder is None else encoder.dimension
    if encoder is not None and not whole_network:
        local = encoder.local_dimension
        wide = local + (0 if family_trunk is None else family_trunk.width)
        head_shape = tensors[HEAD_WEIGHT].shape[1:]
        dimension = next((n for n in (local, wide) if head_shape == (n,)), dimension)
        family_trunk = family_trunk if dimension > local else None
    check_tensors(architecture, tensors, len(labels), dimension)
    if encoder is None or whole_network:
        return networks.build(architecture, tensors)
    if encoder.further or not encoder.module.trunk.exports:
        raise ConfigError(
            f"{architecture}: its encoder stands on several trunks, or on a file: the encoder and"
            " the head are not exported as one"
        )
    return HeadModel(encoder.module, networks.linear(tensors), family_trunk).eval()
