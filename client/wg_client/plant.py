"""The plant, opened: configuration, data set, commitment, and the features that statistics see.

Features are private. They are cached in the home folder, mode 0600, under a keyed name that covers
every record and the encoder, so that a changed image or encoder never meets old features.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_client import config as configuration
from wg_client import encoder_pin
from wg_client.config import ClientConfig
from wg_client.dataset import Modality, SiteData, commitment, load_dataset, record_digests
from wg_client.home import ClientHome
from wg_client.images import ImageFiles, image_size
from wg_client.window_files import WindowFiles, window_size
from wg_common import atomic, canonical
from wg_common.errors import DataError, DecodeError, VerificationError
from wg_common.ledger.commitment import commit
from wg_common.privacy.schema import StatisticsSchema, default_schema

if TYPE_CHECKING:
    from wg_common.nets.encoder import Encoder

log = logging.getLogger(__name__)

_CACHE_LIMIT = 4 << 30
_CHUNK = 64

Progress = Callable[[int, int], None]
"""Called with (records encoded, records in all)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plant:
    """What is known without looking at a record through the encoder.

    Attributes:
        config: ``client.yaml``.
        data: The data set.
        commitment: Keyed commitment to it, hex.
        encoder: Id of the encoder that the plant holds, hex.
        encoder_package: Its bytes.
        cache_key: Keyed name of the records in their order, with the encoder; hex.
    """

    config: ClientConfig
    data: SiteData
    commitment: str
    encoder: str
    encoder_package: bytes
    cache_key: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Encoded records.

    Attributes:
        local: Local features, float32 ``[n, D]``; they never leave the plant.
        dimension: Number d of them that are released.
        scaled: Number of them that have a public scale.
        clip_radius: Public clip radius of the encoder, feature units.
    """

    local: NDArray[np.float32]
    dimension: int
    scaled: int
    clip_radius: float

    @property
    def values(self) -> NDArray[np.float32]:
        """The features that are released, ``[n, d]``."""
        return self.local[:, : self.dimension]


def load_encoder_package(home: ClientHome) -> bytes:
    """Bytes of the encoder package; their SHA-256 is the encoder's id.

    Raises:
        ConfigError: The home is not initialised, or ``client.yaml`` is wrong.
        VerificationError: It is not the encoder that the owner confirmed.
    """
    return encoder_pin.load(home, configuration.load(home))


def open_plant(home: ClientHome) -> Plant:
    """Read configuration, data set and encoder package.

    Raises:
        ConfigError: The home is not initialised, or ``client.yaml`` is wrong.
        DataError: The data set cannot be used.
    """
    config = configuration.load(home)
    package = encoder_pin.load(home, config)
    encoder = canonical.sha256_hex(package)
    data = load_dataset(
        Path(config.data.path), config.data.labels, unit_column=config.data.unit_column
    )
    secret = home.load_secret()
    digests = record_digests(data)
    return Plant(
        config=config,
        data=data,
        commitment=commitment(secret, digests),
        encoder=encoder,
        encoder_package=package,
        cache_key=commit(secret, [encoder.encode("ascii"), *digests]),
    )


def pinned_encoder(home: ClientHome, wanted: str) -> Encoder:
    """The home's encoder, if it is the one that models stand on.

    Args:
        home: The plant's home.
        wanted: Id of the encoder that the models were made for, hex.

    Raises:
        VerificationError: The home holds another one.
    """
    from wg_common.nets.encoder import load_encoder  # torch: seconds to import, only when needed

    package = load_encoder_package(home)
    found = canonical.sha256_hex(package)
    if found != wanted:
        raise VerificationError(
            f"{home.encoder}: encoder {found[:16]}, the model was made for {wanted[:16]}"
        )
    return load_encoder(package)


def encode(home: ClientHome, plant: Plant, progress: Progress | None = None) -> Features:
    """Features of all records, from the cache if they are there.

    Raises:
        DataError: A record is damaged, its file is named; or the encoder is for other records.
    """
    path = home.cache / f"features-2-{plant.cache_key[:32]}.npz"
    found = _read_cache(path, len(plant.data))
    if found is not None:
        return found
    from wg_common.nets.encoder import load_encoder  # torch: seconds to import, only when needed

    encoder = load_encoder(plant.encoder_package)
    check_modality(encoder.modality, plant.data, plant.config.data.path)
    local = np.zeros((len(plant.data), encoder.local_dimension), dtype=np.float32)
    for start in range(0, len(plant.data), _CHUNK):
        stop = min(start + _CHUNK, len(plant.data))
        records = [plant.data.records[i] for i in range(start, stop)]
        local[start:stop] = encoder.encode_local(records)
        if progress is not None:
            progress(stop, len(plant.data))
    features = Features(
        local=local,
        dimension=encoder.dimension,
        scaled=encoder.scaled_dimension,
        clip_radius=float(encoder.clip_radius),
    )
    buffer = io.BytesIO()
    np.savez(
        buffer,
        local=local,
        dimension=np.int64(features.dimension),
        scaled=np.int64(features.scaled),
        clip_radius=np.float64(features.clip_radius),
    )
    atomic.write_bytes(path, buffer.getvalue(), mode=atomic.PRIVATE)
    return features


def statistics_schema(plant: Plant, features: Features) -> StatisticsSchema:
    """Layout of this plant's releases: its public label domain, the encoder, fixed shares."""
    privacy = plant.config.privacy
    return default_schema(
        encoder=plant.encoder,
        dimension=features.dimension,
        labels=plant.config.data.labels,
        clip_radius=features.clip_radius,
        unit_rule=privacy.unit_rule,
        unit_cap=privacy.unit_cap,
    )


def privacy_units(plant: Plant) -> tuple[str, ...] | None:
    """Privacy unit of each record, as the schema's unit rule needs it."""
    return None if plant.config.privacy.unit_rule == "record" else plant.data.units


def check_modality(encoder: Modality, data: SiteData, path: str) -> None:
    """Refuse records that the encoder is not made for.

    Raises:
        DataError: Images for an encoder of sensor windows, or the other way round.
    """
    if encoder != data.modality:
        raise DataError(
            f"{path}: holds {_WORDS[data.modality]}, but this home's encoder, which came from the"
            f" server, is for {_WORDS[encoder]}; join a server whose zoo is of"
            f" {_WORDS[data.modality]}"
        )


_WORDS: dict[Modality, str] = {"images": "images", "windows": "sensor windows"}


def record_sizes(data: SiteData) -> dict[str, int]:
    """How many records of which size, for display; reads headers and arrays where it can.

    Images are named ``WIDTHxHEIGHT``, windows ``CHANNELSxSAMPLES``.
    """
    sizes: dict[str, int] = {}
    for index in range(len(data)):
        if isinstance(data.records, ImageFiles):
            one, two = image_size(data.records.paths[index])
        elif isinstance(data.records, WindowFiles):
            one, two = window_size(data.records.paths[index])
        else:
            one, two = data.records[index].shape[:2]
            if data.modality == "images":
                one, two = two, one
        sizes[f"{one}x{two}"] = sizes.get(f"{one}x{two}", 0) + 1
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def _read_cache(path: Path, n: int) -> Features | None:
    if not path.is_file():
        return None
    try:
        data = atomic.read_bytes(path, limit=_CACHE_LIMIT)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            local, radius = file["local"], float(file["clip_radius"])
            dimension, scaled = int(file["dimension"]), int(file["scaled"])
    except (ValueError, KeyError, OSError, EOFError, DecodeError):
        log.warning("%s: damaged or of an earlier version, encoding again", path)
        return None
    if local.ndim != 2 or len(local) != n or local.dtype != np.float32:
        log.warning("%s: not the records it was made for, encoding again", path)
        return None
    return Features(local=local, dimension=dimension, scaled=scaled, clip_radius=radius)
