"""Public encoder: a frozen trunk, and a projection fitted on public data (``fit``).

Each modality has its own encoder. The package's metadata name the modality (images by default). The
trunk (``trunk.EncoderTrunk``) holds all that differs between modalities.

Released features are ``clip((raw - mean) @ projection)``. The projection selects directions that
separate public *classes*, and shrinks those in which whole data sets differ; the clip bounds the L2
norm by 1. The clip is part of the encoder, so that a head sees the very features whose sums a plant
releases. It costs no accuracy down to the tenth percentile of public norms, and halves the noise.

A record also has many *local features*, which never leave the plant: the released features, and the
leading directions of the raw features. They cost no privacy, and local learning on them is five to
eight points more accurate. Further local features have no public scale, so each plant scales them:
the trunk's own outputs (``EncoderTrunk.compute_features``), and the features of further trunks.

The package is a safetensors file; its SHA-256 is the encoder's id, and it names the trunk's weights
by hash. It contains no private data: a plant receives the package when it enrols.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.language import text
from wg_common.machines.registry import declared_kind, declared_unit
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.confined_trunk import TrunkNotStarted, load_trunk
from wg_common.nets.encoder.plant_trunk import PlantTrunk
from wg_common.nets.encoder.reading_map import ReadingMaps, record_readings
from wg_common.nets.encoder.trunk import EncoderTrunk, Records, TrunkKind, find_trunk
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLIP_RADIUS, MACHINE_DIMENSION
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

log = logging.getLogger(__name__)


class EncoderModule(nn.Module):
    """Torch module of an encoder, from prepared records to local features, for export.

    Args:
        trunk: Frozen trunk.
        mean: Mean of public raw features, ``[WIDTH]``.
        projection: Map from raw to released features, ``[WIDTH, d]``.
        local: Map from raw to further local features, ``[WIDTH, P - d]``.
    """

    mean: Tensor
    projection: Tensor
    local: Tensor

    def __init__(
        self, trunk: EncoderTrunk, mean: Tensor, projection: Tensor, local: Tensor
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)
        self.register_buffer("local", local)

    def forward(self, records: Tensor) -> Tensor:
        """Return local features ``[n, D]`` of a batch from ``trunk.prepare``, released first."""
        raw, other_trunks = self.trunk.compute_features(records)
        return torch.cat([self.project(raw), (raw - self.mean) @ self.local, *other_trunks], dim=1)

    def released_features(self, records: Tensor) -> Tensor:
        """Return a batch's released features only, ``[n, d]``."""
        return self.project(self.trunk(records))

    def project(self, raw: Tensor) -> Tensor:
        """Project raw features ``[n, WIDTH]`` to released features ``[n, d]``, and clip them."""
        features = (raw - self.mean) @ self.projection
        norm = features.square().sum(dim=1, keepdim=True).sqrt()
        return features * (CLIP_RADIUS / norm.clamp(min=CLIP_RADIUS))


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Encoder of a plant's records, loaded from its package.

    Attributes:
        id: SHA-256 of the package, hex.
        modality: Name of the modality that it encodes.
        dimension: Number d of released features.
        scaled_dimension: Number P of local features with a public scale; the first d are released.
        local_blocks: Sizes of the blocks of local features without a public scale.
        trunk_blocks: Number of blocks of each trunk.
        local_dimension: Number D of local features; each plant scales those after the first P.
        clip_radius: Largest L2 norm of a released feature vector.
        settings: Settings of the trunk, as in the package.
        module: The network.
        further: Trunks whose features are never released, and come last among the local features.
        maps: Reading maps by kind of machine; empty for images.
    """

    id: str
    modality: str
    dimension: int
    scaled_dimension: int
    local_blocks: tuple[int, ...]
    trunk_blocks: tuple[int, ...]
    local_dimension: int
    clip_radius: float
    settings: Mapping[str, str]
    module: EncoderModule
    further: tuple[EncoderTrunk, ...] = ()
    maps: ReadingMaps = field(default_factory=dict)

    @property
    def machine_kinds(self) -> tuple[str, ...]:
        """Kinds of machines for which the encoder computes machine features."""
        return tuple(self.maps)

    def machine_features(self, records: Records, data_sheet: DataSheet) -> NDArray[np.float32]:
        """Compute the machine features of records, one record at a time (``reading_map``).

        *Guarantee.* A row depends on its record, the data sheet and the encoder alone, to the last
        bit, and has a norm of at most ``clip_radius``, up to rounding. A row with a value that is
        not finite is replaced by zeros.

        Args:
            records: Records of the encoder's modality; sizes may differ.
            data_sheet: Data sheet of their machine.

        Returns:
            Machine features, float32 ``[n, MACHINE_DIMENSION]``.

        Raises:
            ConfigError: The machine lies outside the simulated ranges, or the encoder has no
                reading map for its kind.
            DataError: A record has a wrong type or shape.
        """
        kind = declared_unit(data_sheet) or declared_kind(data_sheet)
        figures = kind.read_figures(data_sheet)
        if kind.name not in self.maps:
            raise ConfigError(
                text(
                    "encoder {encoder}: no reading map of {kind}, so that its records have no"
                    " machine statistics; its operator fits another encoder with 'wg-server"
                    " zoo build --new-encoder'",
                    encoder=self.id[:16],
                    kind=kind.name,
                )
            )
        reading_map = self.maps[kind.name]
        numbers = np.zeros((len(records), MACHINE_DIMENSION), np.float32)
        with isolation.limit_to_one_thread(), torch.inference_mode():
            for row in range(len(records)):
                (record,) = records[row : row + 1]
                modality_of(self.modality).check_records([record], first_index=row)
                numbers[row] = reading_map(record_readings(kind, figures, record)).numpy()
        return np.where(np.isfinite(numbers).all(axis=1, keepdims=True), numbers, np.float32(0))

    def with_plant_trunk(self, trunk: PlantTrunk) -> Encoder:
        """Return the encoder extended by a trunk fitted at a plant, for the plant's own models.

        Released features do not change.
        """
        blocks, counts = trunk.layout(self.local_blocks, self.trunk_blocks)
        return replace(
            self,
            local_blocks=blocks,
            trunk_blocks=counts,
            local_dimension=self.local_dimension + trunk.width,
            further=(*self.further, isolation.align_memory(trunk)),
        )

    def encode(self, records: Records, *, one_by_one: bool = True) -> NDArray[np.float32]:
        """Compute records' released features, float32 ``[n, d]``, of norm up to ``clip_radius``.

        Arguments, guarantee and errors are those of ``encode_local``, or of ``encode_batched`` if
        not ``one_by_one``. A record on which the trunk fails has a row of zeros.
        """
        run, trunk = self.module.released_features, self.module.trunk
        batch = 1 if one_by_one else trunk.batch
        return _zeros_for_failures(self._run(run, trunk, records, self.dimension, batch=batch))

    def encode_local(self, records: Records) -> NDArray[np.float32]:
        """Compute all local features of records, one record at a time.

        *Guarantee.* On a CPU a row depends on its record and the encoder alone, to the last bit:
        not on the other records, their number or its position (``isolation``). If a trunk fails on
        a record, all features of that trunk are NaN, and count as zeros in a release; no record
        aborts the call (``_chunked_features``).

        Args:
            records: Records of the encoder's modality; sizes may differ.

        Returns:
            Local features, float32 ``[n, D]``, the d released features first.

        Raises:
            DataError: A record has a wrong type or shape.
            StorageError: The machine cannot restart a trunk's process.
        """
        return self._local(records, one_by_one=True)

    def encode_batched(self, records: Records) -> NDArray[np.float32]:
        """Compute all local features of records in batches, for records that no release uses.

        The result equals ``encode_local`` up to rounding, and takes a quarter of the time for
        images. A trunk that fails on a record gives zeros. Errors are those of ``encode_local``.
        """
        return _zeros_for_failures(self._local(records, one_by_one=False))

    def _local(self, records: Records, *, one_by_one: bool) -> NDArray[np.float32]:
        trunk = self.module.trunk
        width = self.local_dimension - sum(_local_width(trunk) for trunk in self.further)
        batch = 1 if one_by_one else trunk.batch
        parts = [self._run(self.module, trunk, records, width, batch=batch)]
        for trunk in self.further:
            batch = 1 if one_by_one else trunk.batch
            parts.append(
                self._run(trunk.local_features, trunk, records, _local_width(trunk), batch=batch)
            )
        return np.concatenate(parts, axis=1)

    def _run(
        self,
        run: Callable[[Tensor], Tensor],
        trunk: EncoderTrunk,
        records: Records,
        width: int,
        *,
        batch: int,
    ) -> NDArray[np.float32]:
        modality_of(self.modality).check_records(records)
        return _chunked_features(lambda part: run(trunk.prepare(part)), records, width, batch=batch)


def _local_width(trunk: EncoderTrunk) -> int:
    return sum(trunk.local_blocks) or trunk.width


def plant_features(trunk: PlantTrunk, modality: str, records: Records) -> NDArray[np.float32]:
    """Compute features ``[n, width]`` of records by a trunk that the plant fitted.

    A record on which the trunk fails has a row of zeros.

    Raises:
        DataError: A record has a wrong type or shape.
    """
    modality_of(modality).check_records(records)
    run = trunk.local_features
    features = _chunked_features(
        lambda part: run(trunk.prepare(part)), records, trunk.width, batch=1
    )
    return _zeros_for_failures(features)


def raw_features(
    records: Records,
    *,
    modality: str = Images.name,
    settings: Mapping[str, str] | None = None,
    trunk: TrunkKind | None = None,
) -> NDArray[np.float32]:
    """Compute raw trunk features ``[n, WIDTH]`` of public records, for ``fit.fit_encoder``.

    A record on which the trunk fails has a row of zeros; the number of failures is logged.

    Args:
        records: Public records.
        modality: Name of their modality.
        settings: Settings of the trunk; None for the defaults.
        trunk: Kind of the trunk; None for the default trunk.

    Raises:
        DataError: A record has a wrong type or shape.
        DecodeError: There is no such modality, or a setting is out of range.
    """
    kind = find_trunk(modality) if trunk is None else trunk
    run = load_trunk(kind, modality, kind.settings() if settings is None else settings)
    modality_of(modality).check_records(records)
    raw = _chunked_features(
        lambda part: run(run.prepare(part)), records, run.width, batch=min(kind.batch, run.batch)
    )
    failures = int(np.isnan(raw).any(axis=1).sum())
    if failures:
        log.warning("trunk %s failed on %d of %d public records", run.label, failures, len(raw))
    return _zeros_for_failures(raw)


def load_encoder(data: bytes) -> Encoder:
    """Load an encoder from the bytes of its package.

    Args:
        data: Package from ``fit.fit_encoder``.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
        VerificationError: The encoder could overflow on a record; see ``package``.
        ConfigError: The trunk that it names is not installed.
    """
    contents = packages.unpack_encoder(data)
    metadata, (kind, *further_kinds) = contents.metadata, contents.kinds
    modality = packages.stated_modality(metadata)
    trunk = load_trunk(kind, modality, metadata)
    packages.check_overflow(contents.tensors, trunk.feature_bounds())
    parts = [torch.from_numpy(contents.tensors[part]) for part in packages.TENSORS]
    module = EncoderModule(trunk, *parts).eval()
    other_trunks = tuple(
        load_trunk(further_kind, modality, further_kind.settings())
        for further_kind in further_kinds
    )
    encoder = assemble_encoder(
        canonical.sha256_hex(data),
        modality,
        module,
        {key: metadata[key] for key in kind.settings()},
        other_trunks,
    )
    maps = {name: isolation.align_memory(part) for name, part in contents.maps.items()}
    return replace(encoder, maps=maps)


def assemble_encoder(
    package_sha256: str,
    modality: str,
    module: EncoderModule,
    settings: Mapping[str, str],
    further_trunks: tuple[EncoderTrunk, ...] = (),
) -> Encoder:
    """Assemble an encoder from its parts; arguments as for ``Encoder``."""
    dimension = module.projection.shape[1]
    scaled_width = dimension + module.local.shape[1]
    by_trunk = packages.local_block_sizes((module.trunk, *further_trunks))
    blocks = sum(by_trunk, ())
    return Encoder(
        id=package_sha256,
        modality=modality,
        dimension=dimension,
        scaled_dimension=scaled_width,
        local_blocks=blocks,
        trunk_blocks=tuple(len(sizes) for sizes in by_trunk),
        local_dimension=scaled_width + sum(blocks),
        clip_radius=CLIP_RADIUS,
        settings=settings,
        module=isolation.align_memory(module),
        further=tuple(isolation.align_memory(trunk) for trunk in further_trunks),
    )


def _zeros_for_failures(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(features), features, np.float32(0))


def _chunked_features(
    run: Callable[[Sequence[Record]], Tensor], records: Records, width: int, *, batch: int
) -> NDArray[np.float32]:
    """Compute a trunk's features ``[n, width]`` of records; NaN rows if the trunk fails.

    An encoder can be built to fail on a certain record. An error would then reveal at no privacy
    cost that a plant has this record. So an exception, a wrong shape, or a value that is not finite
    gives a row of NaN, and has no other effect: the other records of the batch run again at their
    positions, with one of them substituted for each failed record. ``confined_trunk`` bounds memory
    and time.

    The last bits of kernels' results depend on the batch size. So every batch is full, and work
    that resumes after an interruption gives the same numbers.

    Args:
        run: Function from a full batch to its features ``[batch, width]``.
    """
    features = np.full((len(records), width), np.nan, np.float32)
    with isolation.limit_to_one_thread(), torch.inference_mode():
        for start in range(0, len(records), batch):
            chunk = list(records[start : start + batch])
            features[start : start + batch] = _batch_features(run, chunk, (batch, width))
    features[~np.isfinite(features).all(axis=1)] = np.nan
    return features


def _batch_features(
    run: Callable[[Sequence[Record]], Tensor], chunk: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Compute a trunk's features of at most a batch of records; NaN rows if it fails."""
    batch, width = shape
    rows = _features_or_none(run, [*chunk, *[chunk[-1]] * (batch - len(chunk))], shape)
    if rows is not None:
        return rows[: len(chunk)]
    failures = np.full((len(chunk), width), np.nan, np.float32)
    if batch == 1:
        return failures
    usable = [_features_or_none(run, [record] * batch, shape) is not None for record in chunk]
    if not any(usable):
        return failures
    substitute = chunk[usable.index(True)]
    full_chunk = [
        record if is_usable else substitute for record, is_usable in zip(chunk, usable, strict=True)
    ]
    rows = _features_or_none(run, [*full_chunk, *[substitute] * (batch - len(chunk))], shape)
    if rows is not None:
        failures[usable] = rows[: len(chunk)][usable]
    return failures


def _features_or_none(
    run: Callable[[Sequence[Record]], Tensor], records: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Compute a trunk's features of a full batch; None if it failed on a record.

    Raises:
        StorageError: The machine cannot start a trunk's process, whatever the record.
    """
    try:
        rows = run(records).cpu().numpy()
    except TrunkNotStarted:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, the record has no features
        return None
    return np.asarray(rows, np.float32) if rows.shape == shape else None
