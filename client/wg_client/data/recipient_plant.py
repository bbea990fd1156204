"""Interface of a plant that a package is applied to: its records and its acceptance rules.

``plant_data.PlantData`` implements it, and so does any other object with these attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.data.site_data import SiteData
from wg_common.inference.family_head import FeatureLayout
from wg_core.site.acceptance import AcceptanceConfig

StepProgressCallback = Callable[[int, int], None]  # Called with (steps done, total steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedRecords:
    """Encoded records of a plant: local features, the first d of which can be released.

    Attributes:
        local_features: Local features, float32 ``[n, D]``; they never leave the plant.
        released_width: Number d of local features that are released.
        scaled_width: Number of local features that have a public scale.
        clip_radius: Public clip radius of the encoder, feature units.
    """

    local_features: NDArray[np.float32]
    released_width: int
    scaled_width: int
    clip_radius: float

    @property
    def released_features(self) -> NDArray[np.float32]:
        """Released features of the plant's records, ``[n, d]``."""
        return self.local_features[:, : self.released_width]


class RecipientPlant(Protocol):
    """The plant that a package is for."""

    @property
    def site_name(self) -> str:
        """Name of the plant's site, as the server knows it."""

    @property
    def server_public_key(self) -> str:
        """Server's raw public key, hex, which verifies the plant's packages."""

    @property
    def acceptance_policy(self) -> AcceptanceConfig:
        """Rules by which delivered weights replace the local model."""

    @property
    def commitment(self) -> str:
        """Commitment to the frozen data set, hex: a keyed hash in the ledger."""

    @property
    def data(self) -> SiteData:
        """Records of the plant, with their labels."""

    @property
    def features(self) -> EncodedRecords:
        """Features of the plant's records."""

    @property
    def layout(self) -> FeatureLayout:
        """Layout of the plant's features: the blocks of columns that each trunk computes."""

    @property
    def encoder_sha256(self) -> str:
        """Id of the plant's encoder, hex."""

    @property
    def encoder_package(self) -> bytes:
        """Encoder package of the plant, as bytes."""
