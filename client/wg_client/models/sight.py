"""What models see of records: features of the encoder, or the records themselves.

Heads share the encoder's features; those of a network of the plant's family may stand behind them.
Whole networks see the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities.base import Record

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.module import Encoder
    from wg_common.nets.family_network import TrunkBeside

Inputs = NDArray[Any]
"""What models see: local features, float64 ``[n, D]``, with those of a network beside the encoder
behind them if there is one, or records from ``network.prepared``."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sight:
    """How models of one architecture see records.

    Attributes:
        architecture: Name in the catalogue.
        encoder: What heads stand on; None for whole networks.
        network: What they stand on beside it; None: on nothing else.
    """

    architecture: str
    encoder: Encoder | None = None
    network: TrunkBeside | None = None

    def inputs(self, records: Iterable[Record], *, batch: int = 64) -> Inputs:
        """What models see of records, of which ``batch`` are in memory at a time.

        Raises:
            DataError: A record is damaged, or is not what the models take.
        """
        record_iterator = iter(records)
        parts: list[Inputs] = []
        while (chunk := list(islice(record_iterator, batch))) or not parts:
            parts.append(self._inputs(chunk))
        return np.concatenate(parts)

    def _inputs(self, records: Sequence[Record]) -> Inputs:
        from wg_common.nets import network

        if self.encoder is None:
            return network.prepared(self.architecture, records)
        return self._joined(self.encoder.encode_batched(records), records)

    def _joined(self, local: NDArray[np.float32], records: Sequence[Record]) -> Inputs:
        """Local features, and those of the network beside the encoder."""
        if self.network is None:
            return local.astype(np.float64)
        return np.hstack([local, self.network.features(records)]).astype(np.float64)
