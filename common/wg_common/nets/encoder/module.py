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
of the projection (``EncoderTrunk.read``).

The package is a safetensors file; its SHA-256 is the encoder's id, and it names the trunk's
weights by hash. Nothing private ever enters: a plant receives the package when it enrols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.registry import modality as modality_of
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder.local_encoder import LocalEncoder
from wg_common.nets.encoder.trunk import EncoderTrunk, Records, trunk_of
from wg_core.privacy.schema import CLIP_RADIUS
from wg_core.site.encoder_names import loudness_of
from wg_core.wire import canonical


class EncoderModule(nn.Module):
    """Prepared records to features as one torch module, for export.

    Args:
        mean: Of public raw features, ``[WIDTH]``.
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
        raw, further = self.trunk.read(records)
        return torch.cat([self.project(raw), (raw - self.mean) @ self.local, *further], dim=1)

    def released(self, records: Tensor) -> Tensor:
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
        local_dimension: Number D of local features, those P first; each of the others is to be
            scaled by the plant.
        clip_radius: L2 norm that no released feature vector exceeds.
        settings: Of the trunk, as they stand in the package.
        module: The network.
        beside: A plant's local encoder; its features are the last of the local ones.
    """

    id: str
    modality: str
    dimension: int
    scaled_dimension: int
    local_blocks: tuple[int, ...]
    local_dimension: int
    clip_radius: float
    settings: Mapping[str, str]
    module: EncoderModule
    beside: LocalEncoder | None = None

    @property
    def loudness(self) -> tuple[float, ...]:
        """Of each of ``local_blocks``, see ``feature_scaling``."""
        if self.beside is None:
            return (1.0,) * len(self.local_blocks)
        return (1.0,) * (len(self.local_blocks) - 1) + (loudness_of(self.beside.name),)

    def with_beside(self, local_encoder: LocalEncoder | None) -> Encoder:
        """This encoder with a plant's local one; nothing of what it releases changes."""
        if local_encoder is None:
            return self
        return replace(
            self,
            local_blocks=(*self.local_blocks, local_encoder.width),
            local_dimension=self.local_dimension + local_encoder.width,
            beside=local_encoder,
        )

    def encode(self, records: Records) -> NDArray[np.float32]:
        """Features to be released, float32 ``[n, d]``, each row of norm at most ``clip_radius``.

        Arguments, guarantee and errors as of ``encode_local``.
        """
        return self._run(self.module.released, records, self.dimension, batch=1)

    def encode_local(self, records: Records) -> NDArray[np.float32]:
        """Local features of records, each computed by itself.

        *Guarantee.* On a CPU a row depends on its record and the encoder alone, to the last bit:
        not on the other records, their number or its place (``isolation``).

        Args:
            records: Of the encoder's modality; sizes may differ.

        Returns:
            float32 ``[n, D]``, the d released ones first. All finite: what overflows counts as 0.

        Raises:
            DataError: A record has another type or shape, or is of another modality.
        """
        return self._local(records, batch=1)

    def encode_batched(self, records: Records) -> NDArray[np.float32]:
        """Local features of records of which nothing is released: public ones, and predictions.

        Where the trunk runs batches: equal to ``encode_local`` within rounding, and for images four
        times as fast. Errors as of ``encode_local``.
        """
        return self._local(records, batch=self.module.trunk.batch)

    def _local(self, records: Records, *, batch: int) -> NDArray[np.float32]:
        width = self.local_dimension - (0 if self.beside is None else self.beside.width)
        shared = self._run(self.module, records, width, batch=batch)
        if self.beside is None:
            return shared
        further = self.encode_beside(records, batch=batch)
        return np.concatenate([shared, further], axis=1)

    def encode_beside(self, records: Records, *, batch: int = 1) -> NDArray[np.float32]:
        """Features of the local encoder alone, float32 ``[n, w]``; errors as of ``encode_local``.

        Guarantee as of ``encode_local``, with a batch of 1.
        """
        local = self.beside
        if local is None:
            return np.zeros((len(records), 0), np.float32)
        batch_size = min(batch, local.batch)
        return self._run(local, records, local.width, batch=batch_size, prepare=local.prepare)

    def _run(
        self,
        run: Callable[[Tensor], Tensor],
        records: Records,
        width: int,
        *,
        batch: int,
        prepare: Callable[[Sequence[Record]], Tensor] | None = None,
    ) -> NDArray[np.float32]:
        """Features, of which what is not finite counts as 0, as ``privacy.exact`` has it.

        Whoever makes an encoder can make one that overflows on a certain record. Were that refused,
        the refusal would tell that the record is there, and cost nothing.
        """
        device = self.module.mean.device
        features = _in_batches(
            lambda prepared: run(prepared.to(device)),
            prepare or self.module.trunk.prepare,
            records,
            width,
            modality=self.modality,
            batch=batch,
        )
        return np.where(np.isfinite(features), features, np.float32(0))


def raw_features(
    records: Records, *, modality: str = Images.name, settings: Mapping[str, str] | None = None
) -> NDArray[np.float32]:
    """Raw trunk features ``[n, WIDTH]`` of public records, for ``fit.fit_encoder``.

    Args:
        settings: Of the trunk; None for the usual ones.

    Raises:
        DataError: A record has another type or shape.
        DecodeError: No such modality, or a setting is out of range.
    """
    kind = trunk_of(modality)
    trunk = kind.from_settings(kind.settings() if settings is None else settings)
    return _in_batches(
        trunk, trunk.prepare, records, kind.width, modality=modality, batch=kind.batch
    )


def unfitted_encoder(modality: str, dimension: int, records: Records = ()) -> Encoder:
    """The usual trunk of a modality, without any package: what is fitted on public data is zero.

    Local features that a plant scales by itself are those of every encoder on this trunk. Of the
    others only their number is right; nothing may be released of them. A trunk that has no others
    gets its local directions from ``records`` instead of public ones: they keep the distances
    between raw features, as a fitted encoder's do.

    Args:
        dimension: Number d of features that an encoder would release.
        records: Of the modality; needed where the trunk has no ``local_blocks``.

    Raises:
        DataError: A record has another type or shape.
        DecodeError: No such modality.
        ConfigError: The trunk is not installed.
    """
    kind = trunk_of(modality)
    trunk = kind.from_settings(kind.settings())
    mean, local = torch.zeros(kind.width), torch.zeros(kind.width, kind.directions)
    if not kind.local_blocks and len(records):
        from wg_common.nets.encoder import fit  # scipy: what only encodes needs none

        raw = raw_features(records, modality=modality)
        centre, directions = fit.local_directions(raw, kind)
        mean = torch.from_numpy(centre)
        local[:, : directions.shape[1]] = torch.from_numpy(directions)
    module = EncoderModule(trunk, mean, torch.zeros(kind.width, dimension), local).eval()
    return _encoder("", modality, module, kind.settings())


def load_encoder(data: bytes, *, device: str = "cpu") -> Encoder:
    """Load an encoder package.

    Args:
        data: From ``fit.fit_encoder``.
        device: Torch device that encodes, where the trunk may run elsewhere than on the CPU;
            another one may round otherwise.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
        VerificationError: It could overflow on a record; see ``encoder_package``.
        ConfigError: The trunk that it names is not installed.
    """
    tensors, metadata = packages.unpack(data)
    name = packages.modality_of(metadata)
    kind = trunk_of(name)
    trunk = kind.from_settings(metadata)
    packages.check_range(tensors, trunk.bounds())
    parts = [torch.from_numpy(tensors[part]) for part in packages.TENSORS]
    module = EncoderModule(trunk, *parts).eval().to(device if kind.devices else "cpu")
    settings = {key: metadata[key] for key in kind.settings()}
    return _encoder(canonical.sha256_hex(data), name, module, settings)


def _encoder(
    identity: str, modality: str, module: EncoderModule, settings: Mapping[str, str]
) -> Encoder:
    dimension = module.projection.shape[1]
    scaled = dimension + module.local.shape[1]
    blocks = module.trunk.local_blocks
    return Encoder(
        id=identity,
        modality=modality,
        dimension=dimension,
        scaled_dimension=scaled,
        local_blocks=blocks,
        local_dimension=scaled + sum(blocks),
        clip_radius=CLIP_RADIUS,
        settings=settings,
        module=isolation.aligned(module),
    )


def _in_batches(
    run: Callable[[Tensor], Tensor],
    prepare: Callable[[Sequence[Record]], Tensor],
    records: Records,
    width: int,
    *,
    modality: str,
    batch: int,
) -> NDArray[np.float32]:
    """What a module makes of records, ``[n, width]``, in batches of one size, by one thread.

    Kernels differ with the batch size in their last bits: every batch is full, so that work that
    was cut off and goes on gives the same numbers.
    """
    kind = modality_of(modality)
    features = np.zeros((len(records), width), np.float32)
    with isolation.one_thread(), torch.inference_mode():
        for start in range(0, len(records), batch):
            chunk = list(records[start : start + batch])
            kind.check_all(chunk, start)
            rows = run(prepare(chunk + [chunk[-1]] * (batch - len(chunk))))
            features[start : start + len(chunk)] = rows[: len(chunk)].cpu().numpy()
    return features
