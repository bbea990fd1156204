"""Built-in encoder for plants without a server, whose projection is not fitted.

It has all installed trunks of a modality. Raw features of the first are projected by random signs,
which nearly preserve angles and distances (Achlioptas 2003, *Journal of Computer and System
Sciences* 66(4)). The signs come from a hash of the trunk's name, so the package has the same bytes
and the same id wherever this version of the program builds it with the same trunks installed.

*Not guaranteed:* that its features suit releases. Servers fit encoders on public data
(``projection_fit``).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wg_common.nets.encoder import package, projection_fit
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_common.nets.encoder.trunk import default_trunks
from wg_core.privacy.schema import RELEASED_DIMENSION

BUILTIN_SOURCE_NAME = (
    "built in"  # Source in the package's metadata, where others name their public data
)


def unfitted_package(modality: str) -> bytes:
    """Build the built-in encoder package of a modality.

    Its projected features are far longer than the clip radius, so that all released features are
    clipped to this length, and records differ only in the direction of their features.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: The trunk is not installed.
    """
    trunks = default_trunks(modality)
    trunk = trunks[0]
    zeros = np.zeros((trunk.width, 1))
    about = projection_fit.encoder_metadata(modality, trunk, None, [BUILTIN_SOURCE_NAME])
    return package.pack_encoder(
        zeros[:, 0], _pseudorandom_signs(trunk.label, trunk.width), zeros, about, trunks
    )


def unfitted_encoder(modality: str) -> Encoder:
    """Load the built-in encoder of a modality; errors as for ``unfitted_package``."""
    return load_encoder(unfitted_package(modality))


def _pseudorandom_signs(trunk_label: str, width: int) -> NDArray[np.float64]:
    """Return pseudorandom signs from a hash of a name, ``[width, RELEASED_DIMENSION]``."""
    data = hashlib.shake_256(trunk_label.encode()).digest(width * RELEASED_DIMENSION // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return bits.reshape(width, RELEASED_DIMENSION).astype(np.float64) * 2 - 1
