"""The plant's local encoder, loaded: beside the shared one, or not at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wg_client.site.config import ClientConfig
from wg_client.site.local_encoder import LocalEncoderConfig
from wg_common.errors import ConfigError
from wg_common.modalities.images import ENCODER_PIXELS, Images
from wg_common.modalities.registry import modality

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.local_encoder import LocalEncoder
    from wg_common.nets.encoder.module import Encoder

_TRIES = 3
_ACTIVATIONS = 60.0
"""Megabytes of an image at work in a network of the size of Lite2, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEncoderSight:
    """What a plant's local encoder is, and takes.

    Attributes:
        name: Of the encoder.
        sha256: Of its weights, hex.
        licence: Of its weights.
        features: Further local features of a record.
        seconds: Processor time for one image, the least of a few.
        megabytes: Memory beside the shared encoder's, 10^6 bytes, about.
    """

    name: str
    sha256: str
    licence: str
    features: int
    seconds: float
    megabytes: float


def beside(config: ClientConfig, encoder: Encoder) -> Encoder:
    """The shared encoder with the plant's local one, where ``client.yaml`` names one.

    Raises:
        ConfigError: A package or its weights are missing, or it is not for these records.
        DataError: The file cannot be read.
        DecodeError: The file is no network that is taken here.
        VerificationError: The file is not the one that the owner confirmed.
    """
    chosen = config.data.local_encoder
    if chosen is None:
        return encoder
    pixels = int(encoder.settings.get("pixels", ENCODER_PIXELS))
    return encoder.with_beside(load(chosen, encoder.modality, pixels))


def load(chosen: LocalEncoderConfig, kind: str, pixels: int = ENCODER_PIXELS) -> LocalEncoder:
    """A local encoder, without the shared one; errors as of ``beside``.

    Args:
        chosen: From ``client.yaml``.
        kind: Name of the records' modality.
        pixels: Side of the images that the shared encoder sees.
    """
    from wg_common.nets.encoder.local_encoder import Lite2
    from wg_common.nets.encoder.onnx_file import ImageInput, OnnxEncoder

    if kind != Images.name:
        raise ConfigError(
            f"data.local_encoder: {chosen.name} sees images, and this plant has"
            f" {modality(kind).title}"
        )
    if not chosen.file:
        return Lite2(pixels)
    if chosen.mean is None or chosen.std is None:
        raise ConfigError("data.local_encoder: a file needs mean and std")
    images = ImageInput(pixels=chosen.pixels, mean=chosen.mean, std=chosen.std)
    return OnnxEncoder(Path(chosen.file), chosen.sha256, chosen.name, images)


def sight(config: ClientConfig, encoder: Encoder) -> LocalEncoderSight | None:
    """What the plant's local encoder takes here, measured on a black image; None: it has none.

    Errors as of ``beside``.
    """
    chosen, both = config.data.local_encoder, beside(config, encoder)
    loaded = both.beside
    if chosen is None or loaded is None:
        return None
    record = modality(encoder.modality).example((loaded.pixels, loaded.pixels))
    times = []
    for _ in range(_TRIES):
        started = time.process_time()
        both.encode_beside([record])
        times.append(time.process_time() - started)
    return LocalEncoderSight(
        name=chosen.name,
        sha256=chosen.pin.sha256,
        licence=chosen.under,
        features=loaded.width,
        seconds=min(times),
        megabytes=2 * loaded.weight_bytes / 1e6 + _ACTIVATIONS,
    )
