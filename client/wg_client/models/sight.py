"""What models see of records: features of the encoder, and of networks that came beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wg_client.data.recipient import Recipient
from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import Floats
from wg_common.modalities.base import Record

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_client.methods.base import PlantNetwork
    from wg_common.nets.encoder.module import Encoder
    from wg_common.nets.family_network import TrunkBeside
    from wg_common.nets.network import RecordTrunk

Inputs = NDArray[Any]
"""What models see: local features, float64 ``[n, D]``, with those of a network beside the encoder
behind them if there is one."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sight:
    """How the models of one package see records.

    Attributes:
        encoder: What heads stand on.
        network: What they stand on beside it; None: on nothing else.
    """

    encoder: Encoder
    network: TrunkBeside | RecordTrunk | None = None

    @classmethod
    def of_plant(cls, plant: Recipient, network: PlantNetwork | None = None) -> Sight:
        """With the encoder that a plant holds.

        Args:
            network: What came with the package beside it.
        """
        return cls(
            encoder=plant.load_encoder(),
            network=None if network is None else network.module,
        )

    def inputs(self, records: Iterable[Record], *, batch: int = 64) -> Inputs:
        """What models see of records, of which ``batch`` are in memory at a time.

        Raises:
            DataError: A record is damaged, or is not what the models take.
        """
        record_iterator = iter(records)
        parts: list[Inputs] = []
        while (chunk := list(islice(record_iterator, batch))) or not parts:
            parts.append(self._joined(self.encoder.encode_batched(chunk), chunk))
        return np.concatenate(parts)

    def alone(self, record: Record) -> Inputs:
        """What models see of one record that comes by itself, and waits for no batch."""
        return self._joined(self.encoder.encode_local([record]), [record])

    def _joined(self, local: NDArray[np.float32], records: Sequence[Record]) -> Inputs:
        """Local features, and those of the network beside the encoder."""
        if self.network is None:
            return local.astype(np.float64)
        return np.hstack([local, self.network.features(records)]).astype(np.float64)

    def features(self, trunk: Trunk, inputs: Inputs) -> Floats:
        """Features ``[n, d]`` on a trunk, as learners see them, of ``inputs``."""
        return trunk.inward(inputs)
