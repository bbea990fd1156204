"""The built-in encoder: what a plant stands on before there is a server.

The trunks of a modality that come with the program, and directions of random signs of the first,
which keep angles and distances between raw features (Achlioptas 2003, *Journal of Computer and
System Sciences* 66(4)). Signs come from a hash of the trunk's name: the package has the same bytes,
and so the same id, wherever this version of the program makes it. Nothing is fitted, on public data
or on a plant's.

Not guaranteed: that it is good to release by. Servers fit encoders on public data (``fit``).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wg_common.nets.encoder import fit, package
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_common.nets.encoder.trunk import own_trunks
from wg_core.privacy.schema import DIMENSION

SOURCE = "built in"  # In place of the public data that a package was fitted on


def unfitted_package(modality: str) -> bytes:
    """Make the built-in encoder package of a modality.

    All records are at the clip radius, as their raw features are far larger; by their angles they
    differ.

    Raises:
        DecodeError: No such modality.
        ConfigError: The trunk is not installed.
    """
    trunks = own_trunks(modality)
    trunk = trunks[0]
    zeros = np.zeros((trunk.width, 1))
    about = fit.metadata(modality, trunk, None, [SOURCE])
    return package.pack(zeros[:, 0], _signs(trunk.label, trunk.width), zeros, about, trunks)


def unfitted_encoder(modality: str) -> Encoder:
    """Load the built-in encoder; errors as of ``unfitted_package``."""
    return load_encoder(unfitted_package(modality))


def _signs(label: str, width: int) -> NDArray[np.float64]:
    """Random signs that a name fixes, ``[width, DIMENSION]``."""
    data = hashlib.shake_256(label.encode()).digest(width * DIMENSION // 8)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return bits.reshape(width, DIMENSION).astype(np.float64) * 2 - 1
