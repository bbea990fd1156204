"""Public encoder: a frozen trunk, and a projection fitted on public data (``projection_fit``).

Each modality has its own encoder, whose package names the modality. All that differs between
modalities is in the trunk (``trunk.EncoderTrunk``).

Released features are ``clip((raw - mean) @ projection)``. The projection selects directions that
separate public *classes*, and shrinks those in which whole data sets differ; the clip bounds the L2
norm by 1. The clip is part of the encoder, so that a head gets exactly the features whose sums a
plant releases. Clipping
halves the noise, and costs no accuracy even if it shortens nine of ten vectors.

A plant computes further features of each record for its own models. With the released features they
are called *local features*. They never leave the plant, so they cost no privacy, and models on them
are five to eight points more accurate. First come projections of the raw features, on a public
scale; then features that each plant scales by its own records: more of the trunk's outputs
(``EncoderTrunk.compute_features``), and the features of further trunks.

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
from wg_common.machines.registry import declared_machine_kind, declared_process_unit
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import find_modality as modality_of
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder import record_isolation
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
    """Torch module of an encoder with its first trunk, from prepared records to local features.

    Args:
        trunk: Frozen trunk with W raw features.
        mean: Mean of public records' raw features, ``[W]``.
        projection: Map from centred raw features to released features, ``[W, d]``.
        local: Map from centred raw features to other local features, ``[W, P - d]``.
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
        """Compute the local features ``[n, D]`` of a batch of n records from ``trunk.prepare``.

        The d released features come first, then other projections, then the trunk's blocks.
        """
        raw, other_trunks = self.trunk.compute_features(records)
        return torch.cat(
            [self.project_and_clip(raw), (raw - self.mean) @ self.local, *other_trunks], dim=1
        )

    def released_features(self, records: Tensor) -> Tensor:
        """Compute only the released features ``[n, d]`` of a batch from ``trunk.prepare``."""
        return self.project_and_clip(self.trunk(records))

    def project_and_clip(self, raw: Tensor) -> Tensor:
        """Project raw features ``[n, W]`` to released features ``[n, d]``, and clip their norms."""
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
        local_block_sizes: Number of features in each block of local features without a public
            scale.
        trunk_block_counts: Number of these blocks that come from each trunk.
        local_dimension: Number D of local features; each plant scales those after the first P.
        clip_radius: Largest L2 norm of a released feature vector.
        trunk_settings: Settings of the first trunk, as in the package.
        module: The network, with the first trunk.
        further_trunks: Other trunks, whose features are never released; they come last in local
            features.
        reading_maps: Reading maps by kind of machine; empty if the encoder has none, as for images.
    """

    id: str
    modality: str
    dimension: int
    scaled_dimension: int
    local_block_sizes: tuple[int, ...]
    trunk_block_counts: tuple[int, ...]
    local_dimension: int
    clip_radius: float
    trunk_settings: Mapping[str, str]
    module: EncoderModule
    further_trunks: tuple[EncoderTrunk, ...] = ()
    reading_maps: ReadingMaps = field(default_factory=dict)

    @property
    def machine_kinds(self) -> tuple[str, ...]:
        """Kinds of machines for which the encoder computes machine features."""
        return tuple(self.reading_maps)

    def machine_features(self, records: Records, data_sheet: DataSheet) -> NDArray[np.float32]:
        """Compute machine features (see ``reading_map``) of records, one record at a time.

        *Guarantee.* A row depends on its record, the data sheet and the encoder alone, to the last
        bit, and has an L2 norm of at most ``clip_radius``, up to rounding. Zeros replace a row with
        a value that is not finite.

        Args:
            records: Records of the encoder's modality; sizes may differ.
            data_sheet: Data sheet of their machine.

        Returns:
            Machine features, float32 ``[n, MACHINE_DIMENSION]``.

        Raises:
            ConfigError: A figure of the data sheet is outside the range that the generator was
                trained on, or the encoder has no reading map for this kind of machine.
            DataError: A record has a wrong type or shape.
        """
        kind = declared_process_unit(data_sheet) or declared_machine_kind(data_sheet)
        figures = kind.read_figures(data_sheet)
        if kind.name not in self.reading_maps:
            raise ConfigError(
                text(
                    "encoder {encoder}: no reading map of {kind}, so that its records have no"
                    " machine statistics; its operator fits another encoder with 'wg-server"
                    " zoo build --new-encoder'",
                    encoder=self.id[:16],
                    kind=kind.name,
                )
            )
        reading_map = self.reading_maps[kind.name]
        numbers = np.zeros((len(records), MACHINE_DIMENSION), np.float32)
        with record_isolation.limit_to_one_thread(), torch.inference_mode():
            for row in range(len(records)):
                (record,) = records[row : row + 1]
                modality_of(self.modality).check_records([record], first_index=row)
                numbers[row] = reading_map(record_readings(kind, figures, record)).numpy()
        return np.where(np.isfinite(numbers).all(axis=1, keepdims=True), numbers, np.float32(0))

    def with_plant_trunk(self, trunk: PlantTrunk) -> Encoder:
        """Return an encoder with an additional trunk that a plant fitted, for its own models.

        The trunk's features come last among the local features; released features stay the same.
        """
        blocks, counts = trunk.extend_layout(self.local_block_sizes, self.trunk_block_counts)
        return replace(
            self,
            local_block_sizes=blocks,
            trunk_block_counts=counts,
            local_dimension=self.local_dimension + trunk.width,
            further_trunks=(*self.further_trunks, record_isolation.align_memory(trunk)),
        )

    def encode(self, records: Records, *, one_by_one: bool = True) -> NDArray[np.float32]:
        """Compute the released features of records, float32 ``[n, d]``, clipped to ``clip_radius``.

        A record on which the trunk fails has a row of zeros. Guarantee and errors are those of
        ``encode_local`` if ``one_by_one``; otherwise records are encoded in batches, for purposes
        other than a release.
        """
        run, trunk = self.module.released_features, self.module.trunk
        batch = 1 if one_by_one else trunk.batch_size
        return _replace_failures_by_zeros(
            self._compute_in_batches(run, trunk, records, self.dimension, batch_size=batch)
        )

    def encode_local(self, records: Records) -> NDArray[np.float32]:
        """Compute all local features of records, one record at a time.

        *Guarantee.* On a CPU a row depends on its record and the encoder alone, to the last bit:
        not on the other records, their number or its position (``record_isolation``). If a trunk
        fails on a record, the record's features of that trunk are NaN, which a release counts as
        zeros; a failure never aborts the call (``_chunked_features``).

        Args:
            records: Records of the encoder's modality; sizes may differ.

        Returns:
            Local features, float32 ``[n, D]``, the d released features first.

        Raises:
            DataError: A record has a wrong type or shape.
            StorageError: The machine cannot restart a trunk's process.
        """
        return self._compute_local(records, one_by_one=True)

    def encode_local_batched(self, records: Records) -> NDArray[np.float32]:
        """Compute all local features ``[n, D]`` in batches, for records that no release uses.

        The result equals that of ``encode_local`` up to rounding, except that failures of a trunk
        give zeros. For images it takes a quarter of the time. Errors are those of ``encode_local``.
        """
        return _replace_failures_by_zeros(self._compute_local(records, one_by_one=False))

    def _compute_local(self, records: Records, *, one_by_one: bool) -> NDArray[np.float32]:
        trunk = self.module.trunk
        width = self.local_dimension - sum(
            _local_feature_count(trunk) for trunk in self.further_trunks
        )
        batch = 1 if one_by_one else trunk.batch_size
        parts = [self._compute_in_batches(self.module, trunk, records, width, batch_size=batch)]
        for trunk in self.further_trunks:
            batch = 1 if one_by_one else trunk.batch_size
            parts.append(
                self._compute_in_batches(
                    trunk.local_features,
                    trunk,
                    records,
                    _local_feature_count(trunk),
                    batch_size=batch,
                )
            )
        return np.concatenate(parts, axis=1)

    def _compute_in_batches(
        self,
        compute: Callable[[Tensor], Tensor],
        trunk: EncoderTrunk,
        records: Records,
        feature_count: int,
        *,
        batch_size: int,
    ) -> NDArray[np.float32]:
        modality_of(self.modality).check_records(records)
        return _chunked_features(
            lambda part: compute(trunk.prepare(part)), records, feature_count, batch_size=batch_size
        )


def _local_feature_count(trunk: EncoderTrunk) -> int:
    return sum(trunk.local_block_sizes) or trunk.width


def plant_features(trunk: PlantTrunk, modality: str, records: Records) -> NDArray[np.float32]:
    """Compute features ``[n, width]`` of records with a trunk that the plant fitted.

    A record on which the trunk fails has a row of zeros.

    Raises:
        DataError: A record has a wrong type or shape.
    """
    modality_of(modality).check_records(records)
    run = trunk.local_features
    features = _chunked_features(
        lambda part: run(trunk.prepare(part)), records, trunk.width, batch_size=1
    )
    return _replace_failures_by_zeros(features)


def compute_raw_features(
    records: Records,
    *,
    modality: str = Images.name,
    trunk_settings: Mapping[str, str] | None = None,
    trunk: TrunkKind | None = None,
) -> NDArray[np.float32]:
    """Compute a trunk's raw features ``[n, W]`` of public records, to fit an encoder.

    A record on which the trunk fails has a row of zeros; the number of failures is logged.

    Args:
        records: Public records.
        modality: Name of their modality.
        trunk_settings: Settings of the trunk; None for the defaults.
        trunk: Kind of the trunk; None for the default trunk.

    Raises:
        DataError: A record has a wrong type or shape.
        DecodeError: There is no such modality, or a setting is out of range.
    """
    kind = find_trunk(modality) if trunk is None else trunk
    run = load_trunk(kind, modality, kind.settings() if trunk_settings is None else trunk_settings)
    modality_of(modality).check_records(records)
    raw = _chunked_features(
        lambda part: run(run.prepare(part)),
        records,
        run.width,
        batch_size=min(kind.batch_size, run.batch_size),
    )
    failures = int(np.isnan(raw).any(axis=1).sum())
    if failures:
        log.warning("trunk %s failed on %d of %d public records", run.label, failures, len(raw))
    return _replace_failures_by_zeros(raw)


def load_encoder(data: bytes) -> Encoder:
    """Load an encoder from the bytes of its package.

    Args:
        data: Package from ``projection_fit.fit_encoder``.

    Raises:
        DecodeError: The bytes are not an encoder package of this version.
        VerificationError: The encoder could overflow, or a trunk's file has another hash.
        ConfigError: A trunk that the package names is not installed.
    """
    contents = packages.unpack_encoder(data)
    metadata, (kind, *further_kinds) = contents.metadata, contents.trunk_kinds
    modality = packages.stated_modality(metadata)
    trunk = load_trunk(kind, modality, metadata)
    packages.check_overflow(contents.tensors, trunk.feature_bounds())
    parts = [torch.from_numpy(contents.tensors[part]) for part in packages.TENSOR_NAMES]
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
    maps = {
        name: record_isolation.align_memory(part) for name, part in contents.reading_maps.items()
    }
    return replace(encoder, reading_maps=maps)


def assemble_encoder(
    package_sha256: str,
    modality: str,
    module: EncoderModule,
    trunk_settings: Mapping[str, str],
    further_trunks: tuple[EncoderTrunk, ...] = (),
) -> Encoder:
    """Build an ``Encoder`` without reading maps from its parts, whose weights are aligned."""
    dimension = module.projection.shape[1]
    scaled_width = dimension + module.local.shape[1]
    by_trunk = packages.block_sizes_by_trunk((module.trunk, *further_trunks))
    blocks = sum(by_trunk, ())
    return Encoder(
        id=package_sha256,
        modality=modality,
        dimension=dimension,
        scaled_dimension=scaled_width,
        local_block_sizes=blocks,
        trunk_block_counts=tuple(len(sizes) for sizes in by_trunk),
        local_dimension=scaled_width + sum(blocks),
        clip_radius=CLIP_RADIUS,
        trunk_settings=trunk_settings,
        module=record_isolation.align_memory(module),
        further_trunks=tuple(record_isolation.align_memory(trunk) for trunk in further_trunks),
    )


def _replace_failures_by_zeros(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isfinite(features), features, np.float32(0))


def _chunked_features(
    compute: Callable[[Sequence[Record]], Tensor],
    records: Records,
    feature_count: int,
    *,
    batch_size: int,
) -> NDArray[np.float32]:
    """Compute a trunk's features ``[n, width]`` of records, with NaN where the trunk fails.

    An encoder can be built to fail on a certain record. If that raised an error, it would reveal,
    outside the privacy budget, that a plant has this record. So an exception, a wrong shape, or a
    value that is not finite only makes the record's row NaN. The other records of its batch run
    again at their positions, with a copy of one of them in the place of each failed record.
    ``confined_trunk`` bounds memory and time.

    The last bits of results depend on the batch size. So the last batch is filled up with copies of
    its last record, and an interrupted job that resumes gives the same numbers.

    Args:
        compute: Function from a full batch of records to its features ``[batch, width]``.
    """
    features = np.full((len(records), feature_count), np.nan, np.float32)
    with record_isolation.limit_to_one_thread(), torch.inference_mode():
        for start in range(0, len(records), batch_size):
            chunk = list(records[start : start + batch_size])
            features[start : start + batch_size] = _batch_features(
                compute, chunk, (batch_size, feature_count)
            )
    features[~np.isfinite(features).all(axis=1)] = np.nan
    return features


def _batch_features(
    compute: Callable[[Sequence[Record]], Tensor], chunk: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Compute features of at most one batch; rows are NaN where ``compute`` fails."""
    batch, width = shape
    rows = _features_or_none(compute, [*chunk, *[chunk[-1]] * (batch - len(chunk))], shape)
    if rows is not None:
        return rows[: len(chunk)]
    failures = np.full((len(chunk), width), np.nan, np.float32)
    if batch == 1:
        return failures
    usable = [_features_or_none(compute, [record] * batch, shape) is not None for record in chunk]
    if not any(usable):
        return failures
    substitute = chunk[usable.index(True)]
    full_chunk = [
        record if is_usable else substitute for record, is_usable in zip(chunk, usable, strict=True)
    ]
    rows = _features_or_none(compute, [*full_chunk, *[substitute] * (batch - len(chunk))], shape)
    if rows is not None:
        failures[usable] = rows[: len(chunk)][usable]
    return failures


def _features_or_none(
    compute: Callable[[Sequence[Record]], Tensor], records: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Compute features of a full batch; None if ``compute`` fails or returns another shape.

    Raises:
        TrunkNotStarted: The machine cannot start the trunk's process, whatever the record.
    """
    try:
        rows = compute(records).cpu().numpy()
    except TrunkNotStarted:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, the record has no features
        return None
    return np.asarray(rows, np.float32) if rows.shape == shape else None
