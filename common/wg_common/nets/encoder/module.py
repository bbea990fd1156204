"""The public encoder at work: a frozen trunk, and a projection fitted on public data (``fit``).

There is one for each modality. A package says in its metadata which it is for (``modality``; images
where it is not named). What differs between modalities is in its trunk (``trunk.EncoderTrunk``).

Features are ``clip((raw - mean) @ projection)``: the directions that tell public *classes* apart,
with those in which whole data sets differ shrunk, scaled, and clipped to an L2 norm of 1. The clip
is part of the encoder, so that a head sees the very features
whose sums a plant releases; it costs no accuracy down to the tenth percentile of public norms, and
halves the noise.

Beside these few numbers, which are made to be released, a record has many *local features* for what
never leaves a plant: the released ones, and the leading directions of the raw features. They cost
no privacy, and local learning on them is five to eight points more accurate.
A third kind has no public scale, and is scaled by each plant: what a trunk reads beside or in front
of the projection (``EncoderTrunk.read``), and what further trunks of the fleet see, of which
nothing is released.

The package is a safetensors file; its SHA-256 is the encoder's id, and it names the trunk's
weights by hash. Nothing private ever enters: a plant receives the package when it enrols.
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
from wg_common.machines.registry import stated_kind, stated_unit
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality as modality_of
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.confined_trunk import NotStartedError, load_trunk
from wg_common.nets.encoder.plant_trunk import PlantTrunk
from wg_common.nets.encoder.reading_map import Maps, read_record
from wg_common.nets.encoder.trunk import EncoderTrunk, Records, TrunkKind, trunk_of
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLIP_RADIUS, MACHINE_DIMENSION
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

log = logging.getLogger(__name__)


class EncoderModule(nn.Module):
    """Prepared records to features as one torch module, for export.

    Args:
        mean: Mean of public raw features, ``[WIDTH]``.
        projection: Raw features to released ones, ``[WIDTH, d]``.
        local: Raw features to further local ones, ``[WIDTH, P - d]``.
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
        """Local features ``[n, D]`` of a batch from ``trunk.prepare``, the released ones first."""
        raw, other_trunks = self.trunk.read(records)
        return torch.cat([self.project(raw), (raw - self.mean) @ self.local, *other_trunks], dim=1)

    def released_features(self, records: Tensor) -> Tensor:
        """The features to be released alone, ``[n, d]``; arguments as of ``forward``."""
        return self.project(self.trunk(records))

    def project(self, raw: Tensor) -> Tensor:
        """Features ``[n, d]`` of raw features ``[n, WIDTH]``."""
        features = (raw - self.mean) @ self.projection
        norm = features.square().sum(dim=1, keepdim=True).sqrt()
        return features * (CLIP_RADIUS / norm.clamp(min=CLIP_RADIUS))


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A loaded encoder package.

    Attributes:
        id: SHA-256 of the package, hex.
        modality: Name of what it encodes.
        dimension: Number d of features that are released.
        scaled_dimension: Number P of local features that have a public scale, those d first.
        local_blocks: Sizes of the blocks of the others.
        trunk_blocks: Number of these of each trunk.
        local_dimension: Number D of local features, those P first; each of the others is to be
            scaled by the plant.
        clip_radius: L2 norm that no released feature vector exceeds.
        settings: Settings of the trunk, as they stand in the package.
        module: The network.
        further: Trunks that nothing is released of; their features are the last of the local ones.
        maps: Reading maps, by the kind of machine; images have none.
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
    maps: Maps = field(default_factory=dict)

    @property
    def machine_kinds(self) -> tuple[str, ...]:
        """Kinds of machines whose records have ``machine_numbers``."""
        return tuple(self.maps)

    def machine_numbers(self, records: Records, data_sheet: DataSheet) -> NDArray[np.float32]:
        """Numbers of a machine's records, each computed by itself (``reading_map``).

        *Guarantee.* A row depends on its record, the sheet and the encoder alone, to the last bit,
        and has a norm of at most ``clip_radius``, but for rounding. A record of which a number is
        not finite has zeros.

        Args:
            records: Of the encoder's modality; sizes may differ.
            data_sheet: Data sheet of their machine.

        Returns:
            float32 ``[n, MACHINE_DIMENSION]``.

        Raises:
            ConfigError: The machine is unlike all that were simulated, or of a kind that the
                encoder has no map of.
            DataError: A record has another type or shape, or is of another modality.
        """
        kind = stated_unit(data_sheet) or stated_kind(data_sheet)
        figures = kind.figures(data_sheet)
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
        with isolation.one_thread(), torch.inference_mode():
            for row in range(len(records)):
                (record,) = records[row : row + 1]
                modality_of(self.modality).check_all([record], row)
                numbers[row] = reading_map(read_record(kind, figures, record)).numpy()
        return np.where(np.isfinite(numbers).all(axis=1, keepdims=True), numbers, np.float32(0))

    def at_plant(self, trunk: PlantTrunk) -> Encoder:
        """The encoder as a plant's own models see it, with a trunk behind it that is fitted there.

        What is released does not change.
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
        """Features to be released, float32 ``[n, d]``, each row of norm at most ``clip_radius``.

        Arguments, guarantee and errors as of ``encode_local``; if not ``one_by_one``, of
        ``encode_batched``. Zeros where the trunk failed on a record.
        """
        run, trunk = self.module.released_features, self.module.trunk
        batch = 1 if one_by_one else trunk.batch
        return _zeros_for_failures(self._run(run, trunk, records, self.dimension, batch=batch))

    def encode_local(self, records: Records) -> NDArray[np.float32]:
        """Local features of records, each computed by itself.

        *Guarantee.* On a CPU a row depends on its record and the encoder alone, to the last bit:
        not on the other records, their number or its place (``isolation``). Where a trunk fails on
        a record, all its features of it are NaN, which count as zeros in whatever leaves; no record
        ends the call (``_features``).

        Args:
            records: Of the encoder's modality; sizes may differ.

        Returns:
            float32 ``[n, D]``, the d released ones first.

        Raises:
            DataError: A record has another type or shape, or is of another modality.
            StorageError: The machine cannot start a trunk's process again.
        """
        return self._local(records, one_by_one=True)

    def encode_batched(self, records: Records) -> NDArray[np.float32]:
        """Local features of records of which nothing is released: public ones, and predictions.

        Where a trunk runs batches: equal to ``encode_local`` within rounding, and for images four
        times as fast. Zeros where a trunk failed on a record. Errors as of ``encode_local``.
        """
        return _zeros_for_failures(self._local(records, one_by_one=False))

    def _local(self, records: Records, *, one_by_one: bool) -> NDArray[np.float32]:
        trunk = self.module.trunk
        width = self.local_dimension - sum(_local_width(trunk) for trunk in self.further)
        batch = 1 if one_by_one else trunk.batch
        parts = [self._run(self.module, trunk, records, width, batch=batch)]
        for trunk in self.further:
            batch = 1 if one_by_one else trunk.batch
            parts.append(self._run(trunk.local, trunk, records, _local_width(trunk), batch=batch))
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
        modality_of(self.modality).check_all(records)
        return _features(lambda part: run(trunk.prepare(part)), records, width, batch=batch)


def _local_width(trunk: EncoderTrunk) -> int:
    return sum(trunk.local_blocks) or trunk.width


def plant_features(trunk: PlantTrunk, modality: str, records: Records) -> NDArray[np.float32]:
    """Features ``[n, width]`` of a plant's records by a trunk that is fitted there.

    Zeros where it failed on a record.

    Raises:
        DataError: A record has another type or shape.
    """
    modality_of(modality).check_all(records)
    run = trunk.local
    features = _features(lambda part: run(trunk.prepare(part)), records, trunk.width, batch=1)
    return _zeros_for_failures(features)


def raw_features(
    records: Records,
    *,
    modality: str = Images.name,
    settings: Mapping[str, str] | None = None,
    trunk: TrunkKind | None = None,
) -> NDArray[np.float32]:
    """Raw trunk features ``[n, WIDTH]`` of public records, for ``fit.fit_encoder``.

    Args:
        settings: Settings of the trunk; None for the usual ones.
        trunk: None: the usual one.

    Returns:
        Zeros where the trunk failed on a record, which is logged.

    Raises:
        DataError: A record has another type or shape.
        DecodeError: No such modality, or a setting is out of range.
    """
    kind = trunk_of(modality) if trunk is None else trunk
    run = load_trunk(kind, modality, kind.settings() if settings is None else settings)
    modality_of(modality).check_all(records)
    raw = _features(
        lambda part: run(run.prepare(part)), records, run.width, batch=min(kind.batch, run.batch)
    )
    failures = int(np.isnan(raw).any(axis=1).sum())
    if failures:
        log.warning("trunk %s failed on %d of %d public records", run.label, failures, len(raw))
    return _zeros_for_failures(raw)


def load_encoder(data: bytes) -> Encoder:
    """Load an encoder package.

    Args:
        data: From ``fit.fit_encoder``.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
        VerificationError: It could overflow on a record; see ``encoder_package``.
        ConfigError: The trunk that it names is not installed.
    """
    contents = packages.unpack(data)
    metadata, (kind, *further_kinds) = contents.metadata, contents.kinds
    modality = packages.modality_of(metadata)
    trunk = load_trunk(kind, modality, metadata)
    packages.check_range(contents.tensors, trunk.bounds())
    parts = [torch.from_numpy(contents.tensors[part]) for part in packages.TENSORS]
    module = EncoderModule(trunk, *parts).eval()
    other_trunks = tuple(
        load_trunk(further_kind, modality, further_kind.settings())
        for further_kind in further_kinds
    )
    encoder = assemble(
        canonical.sha256_hex(data),
        modality,
        module,
        {key: metadata[key] for key in kind.settings()},
        other_trunks,
    )
    maps = {name: isolation.align_memory(part) for name, part in contents.maps.items()}
    return replace(encoder, maps=maps)


def assemble(
    identity: str,
    modality: str,
    module: EncoderModule,
    settings: Mapping[str, str],
    further_trunks: tuple[EncoderTrunk, ...] = (),
) -> Encoder:
    """An encoder of its parts; arguments as of ``Encoder``."""
    dimension = module.projection.shape[1]
    scaled_width = dimension + module.local.shape[1]
    by_trunk = packages.blocks_of((module.trunk, *further_trunks))
    blocks = sum(by_trunk, ())
    return Encoder(
        id=identity,
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


def _features(
    run: Callable[[Sequence[Record]], Tensor], records: Records, width: int, *, batch: int
) -> NDArray[np.float32]:
    """Features ``[n, width]`` of records, NaN where a trunk failed: here an encoder is total.

    Whoever makes an encoder can make one that fails on a certain record. Were that an error, it
    would tell that the record is there, and cost nothing. So whatever a trunk does on a record, by
    an error, another shape, or a number that is not finite, is a row of NaN, and nothing else
    differs: the records beside it in a batch run again, at their places, with one of them in the
    place of those that failed. Memory and time are bounded where a trunk runs
    (``confined_trunk``).

    Kernels differ with the batch size in their last bits: every batch is full, so that work that
    was cut off and goes on gives the same numbers.

    Args:
        run: Features ``[batch, width]`` of a full batch.
    """
    features = np.full((len(records), width), np.nan, np.float32)
    with isolation.one_thread(), torch.inference_mode():
        for start in range(0, len(records), batch):
            chunk = list(records[start : start + batch])
            features[start : start + batch] = _rows(run, chunk, (batch, width))
    features[~np.isfinite(features).all(axis=1)] = np.nan
    return features


def _rows(
    run: Callable[[Sequence[Record]], Tensor], chunk: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Features of at most a batch of records, NaN where a trunk failed."""
    batch, width = shape
    rows = _attempt(run, [*chunk, *[chunk[-1]] * (batch - len(chunk))], shape)
    if rows is not None:
        return rows[: len(chunk)]
    failures = np.full((len(chunk), width), np.nan, np.float32)
    if batch == 1:
        return failures
    usable = [_attempt(run, [record] * batch, shape) is not None for record in chunk]
    if not any(usable):
        return failures
    substitute = chunk[usable.index(True)]
    full_chunk = [
        record if is_usable else substitute for record, is_usable in zip(chunk, usable, strict=True)
    ]
    rows = _attempt(run, [*full_chunk, *[substitute] * (batch - len(chunk))], shape)
    if rows is not None:
        failures[usable] = rows[: len(chunk)][usable]
    return failures


def _attempt(
    run: Callable[[Sequence[Record]], Tensor], records: Sequence[Record], shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Features of a full batch, or nothing: a trunk failed on a record of it.

    Raises:
        StorageError: The machine cannot start a trunk's process; no record is the reason.
    """
    try:
        rows = run(records).cpu().numpy()
    except NotStartedError:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, the record has no features
        return None
    return np.asarray(rows, np.float32) if rows.shape == shape else None
