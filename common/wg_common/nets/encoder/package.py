"""The encoder package: its bytes, and what is accepted as one.

A safetensors file of three tensors, with metadata that say what it encodes and name the trunk by
hash. Its SHA-256 is the encoder's id.

It comes from a server, and sees every record of a plant: so its numbers are bounded before it sees
one. *Guarantee.* Of an encoder that ``check_range`` accepts, no feature of any valid record, and
nothing on the way to it, is infinite or NaN. The argument: raw features have bounds that hold for
every record (``EncoderTrunk.bounds``); the trunks are pinned by hash. A feature
is a sum of terms ``(raw_j - mean_j) p_jk``, and this sum and each partial sum of it is at most
``F_k = sum_j (bound_j + |mean_j|) |p_jk|``, whatever the order, but for rounding by a factor of at
most ``(1 + 2^-24)^(2 width)``. With ``F_k`` at most ``RANGE`` = 1e12 and at most 5,000 columns, the
sum of squares, of which the clip takes the root, is below 1e28; float32 reaches 3e38. The clip
divides by at least its radius.
"""

import json
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from wg_common.modalities.registry import modality
from wg_common.modalities.texts import Texts
from wg_common.nets.encoder.trunk import trunk_of
from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.wire import canonical

VERSION = 1
PACKAGE_LIMIT = 16 << 20
RANGE = 1e12  # Largest value that a feature may have for any record before it is clipped

TENSORS = ("mean", "projection", "local")


def modality_of(metadata: Mapping[str, str]) -> str:
    """What an encoder of this metadata encodes.

    Raises:
        DecodeError: No modality that is known here.
    """
    return modality(str(metadata.get("modality"))[:64]).name


def read_modality(data: bytes) -> str:
    """What an encoder package encodes, without building its network.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    return modality_of(unpack(data)[1])


def read_about(data: bytes) -> tuple[str, tuple[str, ...]]:
    """What an encoder package encodes, and on which public sources it says that it was fitted.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    metadata = unpack(data)[1]
    try:
        sources = json.loads(metadata.get("sources", "[]"))
    except (ValueError, TypeError, RecursionError) as error:
        raise DecodeError("encoder: sources is no list of names") from error
    if not isinstance(sources, list) or not all(_is_name(source) for source in sources):
        raise DecodeError("encoder: sources is no list of names")
    return modality_of(metadata), tuple(sources)


def projection_of_texts(data: bytes) -> NDArray[np.float32] | None:
    """How texts, and so class names, become released features, ``[512, d]``; None: other records.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    tensors, metadata = unpack(data)
    return tensors["projection"] if modality_of(metadata) == Texts.name else None


def _is_name(source: object) -> bool:
    """Whether a name can be shown to somebody who decides by it."""
    return isinstance(source, str) and 0 < len(source) <= 200 and source.isprintable()


def pack(
    mean: NDArray[np.float64],
    projection: NDArray[np.float64],
    local: NDArray[np.float64],
    metadata: dict[str, str],
) -> bytes:
    """A package of tensors ``[WIDTH]``, ``[WIDTH, d]``, ``[WIDTH, P - d]``, kept as float32."""
    values = zip(TENSORS, (mean, projection, local), strict=True)
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values},
        metadata={"encoder": canonical.encode(metadata).decode()},
    )


def unpack(data: bytes) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Tensors and metadata of a package.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
    """
    if len(data) > PACKAGE_LIMIT:
        raise DecodeError(f"encoder: {len(data)} bytes, at most {PACKAGE_LIMIT} are accepted")
    try:
        tensors = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        metadata = json.loads(header["__metadata__"]["encoder"])
        shapes = [tensors[name].shape for name in TENSORS]
    except (
        safetensors.SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,  # JSON in a string of the header may nest as deep as it is long
    ) as error:
        raise DecodeError(f"encoder: not an encoder package: {error}") from error
    if not isinstance(metadata, dict):
        raise DecodeError("encoder: format is not 'weightgate-encoder'")
    trunk = trunk_of(modality_of(metadata))
    expected = {
        "format": "weightgate-encoder",
        "version": str(VERSION),
        "trunk": trunk.label,
        "trunk_sha256": trunk.digest(),
        "clip_radius": repr(CLIP_RADIUS),
    }
    for field, value in expected.items():
        if metadata.get(field) != value:
            raise DecodeError(
                f"encoder: {field} is {str(metadata.get(field))[:64]!r}, this program's is"
                f" {value!r}; a home keeps the encoder that it was made with: make another home"
            )
    trunk.check_settings(metadata)
    width = trunk.width
    good = (
        set(tensors) == set(TENSORS)
        and shapes[0] == (width,)
        and all(len(s) == 2 and s[0] == width and 0 < s[1] <= width for s in shapes[1:])
        and all(t.dtype == np.float32 and np.isfinite(t).all() for t in tensors.values())
    )
    if not good:
        raise DecodeError("encoder: tensors are not finite projections of this trunk")
    return tensors, metadata


def check_range(
    tensors: Mapping[str, NDArray[np.float32]], bounds: NDArray[np.float64] | float
) -> None:
    """Refuse tensors that could overflow on some record; which is public arithmetic.

    Args:
        tensors: From ``unpack``.
        bounds: Largest magnitude of each raw feature of any record, ``[WIDTH]``, or of all.

    Raises:
        VerificationError: A feature could be larger than ``RANGE``.
    """
    extent = bounds + np.abs(tensors["mean"].astype(np.float64))
    for name in ("projection", "local"):
        # By columns of bounded terms: float64 holds the product of any two float32.
        largest = float((extent @ np.abs(tensors[name].astype(np.float64))).max())
        if not max(largest, float(extent.max())) <= RANGE:
            raise VerificationError(
                f"encoder: {name}: features of up to {max(largest, float(extent.max())):.3g} before"
                f" the clip, at most {RANGE:g} are accepted: it could overflow on a record, and"
                " tell by that whether the record is there"
            )
