"""The plant's local encoder, loaded: beside the shared one, or not at all."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities.images import ENCODER_PIXELS, Images
from wg_common.modalities.registry import modality
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import ConfigError
from wg_core.site.config import ClientConfig
from wg_core.site.encoder_names import course_name
from wg_core.site.local_encoder import LocalEncoderConfig

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.local_encoder import LocalEncoder
    from wg_common.nets.encoder.module import Encoder

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEncoderSight:
    """What a plant's local encoder is, and takes.

    Attributes:
        name: Of the encoder.
        sha256: Of its weights, hex.
        licence: Of its weights.
        features: Further local features of a record.
        seconds: Processor time for one record, the least of a few.
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


def loader(config: ClientConfig) -> Callable[[bytes], Encoder]:
    """What loads an encoder package once, with the plant's local encoder; raises as ``beside``."""

    @functools.cache
    def load_both(package: bytes) -> Encoder:
        from wg_common.nets.encoder.module import load_encoder  # torch: seconds to import

        return beside(config, load_encoder(package))

    return load_both


def usual(kind: str, shapes: NDArray[np.int64]) -> LocalEncoderConfig | None:
    """What a plant of this kind has where its owner names none: the course of windows.

    Args:
        shapes: First two sides of each record, ``[n, 2]``.
    """
    if kind != Windows.name or not len(shapes):
        return None
    return LocalEncoderConfig(name=course_name(int(shapes[:, 0].max())))


def load(chosen: LocalEncoderConfig, kind: str, pixels: int = ENCODER_PIXELS) -> LocalEncoder:
    """A local encoder, without the shared one; errors as of ``beside``.

    Args:
        chosen: From ``client.yaml``.
        pixels: Side of the images that the shared encoder sees.
    """
    from wg_common.nets.encoder.local_encoder import Lite2
    from wg_common.nets.encoder.onnx_file import ImageInput, OnnxEncoder
    from wg_common.nets.encoder.window_course import WindowCourse

    sees = Windows if chosen.channels else Texts if chosen.of_texts else Images
    if kind != sees.name:
        raise ConfigError(
            f"data.local_encoder: {chosen.name} sees {sees.title}, and this plant has"
            f" {modality(kind).title}"
        )
    if chosen.channels:
        return WindowCourse(chosen.channels)
    if chosen.of_texts:
        from wg_common.nets.minilm_encoder import MiniLmEncoder

        return MiniLmEncoder()
    if not chosen.file:
        return Lite2(pixels)
    if chosen.mean is None or chosen.std is None:
        raise ConfigError("data.local_encoder: a file needs mean and std")
    images = ImageInput(pixels=chosen.pixels, mean=chosen.mean, std=chosen.std)
    return OnnxEncoder(Path(chosen.file), chosen.sha256, chosen.name, images)


def sight(config: ClientConfig, encoder: Encoder) -> LocalEncoderSight | None:
    """What the plant's local encoder takes here, measured on a made-up record; None: it has none.

    Errors as of ``beside``.
    """
    chosen, both = config.data.local_encoder, beside(config, encoder)
    loaded = both.beside
    if chosen is None or loaded is None:
        return None
    record = modality(encoder.modality).example(loaded.shape)
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
        megabytes=2 * loaded.weight_bytes / 1e6 + loaded.activations,
    )
