"""The public encoder: a frozen trunk, and a projection fitted on public data only.

There is one for images and one for sensor windows. A package says which it is in its metadata
(``modality``; images where it is not named), and refuses records of the other kind.

Features are ``clip((raw - mean) @ projection)``: standardised, each stage of the trunk weighted
alike, the leading principal directions *within* public data sets, partly whitened
(eigenvalue^-1/4), with the directions in which whole data sets differ shrunk, scaled, and clipped
to an L2 norm of 1. The clip is part of the encoder, so that a head sees the very features whose
sums a plant releases; it costs no accuracy down to the tenth percentile of public norms, and halves
the noise (docs/decisions/0030). For windows the directions are those that tell public *classes*
apart (docs/decisions/0060).

Beside these few numbers, which are made to be released, a record has many *local features* for what
never leaves a plant: the released ones, and the leading directions of the raw features. They cost
no privacy, and local learning on them is five to eight points more accurate (docs/decisions/0071).
Windows have a third kind: responses of kernels, which have no public scale (docs/decisions/0086).

The package is a safetensors file; its SHA-256 is the encoder's id, and it names the trunk's
weights by hash. Nothing private ever enters: a plant receives the package when it enrols.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.errors import DataError
from wg_common.inference.discriminants import principal
from wg_common.nets.encoder import fit as fitting
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder import isolation, window_kernels
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder import window_trunk as window_trunks
from wg_common.nets.encoder.package import CLIP_RADIUS, VERSION, Modality, modality_of
from wg_common.nets.encoder.window_kernels import WindowKernels
from wg_common.wire import canonical

PIXELS = 64
DIMENSION = 64
LOCAL = 448
"""Directions of the raw features among the local ones; fewer where public records are few."""

_CLIP_QUANTILE = 0.25
_WHITENING = 0.25
_LOCAL_NORM = 2.0
"""Median norm of the local directions of public records, in clip radii."""
_PRINCIPAL = 400
_RIDGE = 0.3
_BATCH = 32

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
Windows = window_trunks.Windows
Records = Sequence[NDArray[Any]] | NDArray[Any]
Trunk = trunks.Trunk | window_trunks.WindowTrunk


class EncoderModule(nn.Module):
    """Prepared records to features as one torch module, for export.

    Args:
        trunk: Records to raw features.
        mean: Of public raw features, ``[WIDTH]``.
        projection: Raw features to released ones, ``[WIDTH, d]``.
        local: Raw features to further local ones, ``[WIDTH, P - d]``.
        kernels: Records to the last D - P local features; None: there are none.
    """

    mean: Tensor
    projection: Tensor
    local: Tensor

    def __init__(
        self,
        trunk: Trunk,
        mean: Tensor,
        projection: Tensor,
        local: Tensor,
        *,
        kernels: WindowKernels | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.kernels = kernels
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)
        self.register_buffer("local", local)

    def forward(self, records: Tensor) -> Tensor:
        """Local features ``[n, D]``, the released ones first.

        Of images ``[n, 3, p, p]``, 0 to 255, or of windows' views.
        """
        raw = self.trunk(records)
        found = [self.project(raw), (raw - self.mean) @ self.local]
        if self.kernels is not None:
            found.append(self.kernels(records))
        return torch.cat(found, dim=1)

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
        modality: What it encodes.
        dimension: Number d of features that are released.
        scaled_dimension: Number P of local features that have a public scale, those d first.
        local_dimension: Number D of local features, those P first; each of the others is to be
            scaled by the plant.
        clip_radius: L2 norm that no released feature vector exceeds.
        module: The network.
    """

    id: str
    modality: Modality
    dimension: int
    scaled_dimension: int
    local_dimension: int
    clip_radius: float
    module: EncoderModule

    @property
    def pixels(self) -> int:
        """Side of the images that the trunk sees; 0 for windows."""
        trunk = self.module.trunk
        return trunk.pixels if isinstance(trunk, trunks.Trunk) else 0

    def encode(self, records: Records) -> NDArray[np.float32]:
        """Features to be released, float32 ``[n, d]``, each row of norm at most ``clip_radius``.

        Arguments, guarantee and errors as of ``encode_local``.
        """
        return self._run(self.module.released, records, self.dimension)

    def encode_local(self, records: Records) -> NDArray[np.float32]:
        """Local features of records, each computed by itself.

        *Guarantee.* On a CPU a row depends on its record and the encoder alone, to the last bit:
        not on the other records, their number or its place (``isolation``).

        Args:
            records: Images, each uint8 ``[h, w]`` or ``[h, w, 3]``, or sensor windows, each float
                ``[channels, time]``; sizes may differ.

        Returns:
            float32 ``[n, D]``, the d released ones first. All finite: what overflows counts as 0.

        Raises:
            DataError: A record has another type or shape, or is of the other modality.
        """
        return self._run(self.module, records, self.local_dimension)

    def encode_batched(self, records: Records) -> NDArray[np.float32]:
        """Local features of records of which nothing is released: public ones, and predictions.

        Images run in batches: equal to ``encode_local`` within rounding, and four times as fast.
        Errors as of ``encode_local``.
        """
        if self.modality == "windows":
            return self.encode_local(records)
        device = self.module.mean.device
        found = _batched(
            lambda batch: self.module(batch.to(device)), records, self.pixels, self.local_dimension
        )
        return _finite(found)

    def _run(
        self, module: Callable[[Tensor], Tensor], records: Records, width: int
    ) -> NDArray[np.float32]:
        found = np.zeros((len(records), width), np.float32)
        device = self.module.mean.device
        with isolation.one_thread(), torch.inference_mode():
            for row, record in enumerate(records):
                found[row] = module(self._prepared(row, record).to(device))[0].cpu().numpy()
        return _finite(found)

    def _prepared(self, row: int, record: NDArray[Any]) -> Tensor:
        """A batch of one."""
        try:
            if self.modality == "windows":
                return window_trunks.prepare(record)
            trunks.check_image(record)
        except DataError as error:
            raise DataError(f"{self.modality[:-1]} {row}: {error}") from error
        return trunks.prepare([record], self.pixels).contiguous(memory_format=torch.channels_last)


def _finite(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of which what is not finite counts as 0, as ``privacy.exact`` has it.

    Whoever makes an encoder can make one that overflows on a certain record. Were that refused, the
    refusal would tell that the record is there, and cost nothing.
    """
    return np.where(np.isfinite(features), features, np.float32(0))


def raw_features(images: Images, *, pixels: int = PIXELS) -> NDArray[np.float32]:
    """Raw trunk features ``[n, trunk.WIDTH]`` of public images, for ``fit_encoder``."""
    return _batched(trunks.channels_last(trunks.Trunk(pixels)), images, pixels, trunks.WIDTH)


def raw_window_features(windows: Windows) -> NDArray[np.float32]:
    """Raw features ``[n, windows.WIDTH]`` of public windows, for ``fit_window_encoder``."""
    trunk = window_trunks.WindowTrunk()
    found = np.zeros((len(windows), window_trunks.WIDTH), np.float32)
    with isolation.one_thread(), torch.inference_mode():
        for row, window in enumerate(windows):
            found[row] = trunk(window_trunks.prepare(window))[0].numpy()
    return found


def fit_encoder(
    raw: NDArray[np.float32],
    groups: NDArray[np.int64],
    *,
    dimension: int = DIMENSION,
    pixels: int = PIXELS,
    sources: Sequence[str] = (),
) -> bytes:
    """Fit the projection on public images, and pack it.

    Args:
        raw: Raw features ``[n, trunk.WIDTH]`` from ``raw_features``.
        groups: Number of the public data set of each image, ``[n]``; directions are those that
            vary within data sets.
        dimension: Number of features d.
        pixels: Side of the images that ``raw`` was computed from.
        sources: Names of the public sources, for the package's metadata.

    Returns:
        The encoder package.

    Raises:
        DataError: Fewer images than features.
    """
    if len(raw) < 2 * dimension:
        raise DataError(f"encoder: {len(raw)} public images, expected at least {2 * dimension}")
    x = raw.astype(np.float64)
    mean = x.mean(axis=0)
    _, index = np.unique(groups, return_inverse=True)
    within = fitting.within(x, index)
    std = within.std(axis=0)
    scale = _stage_weights() / (std + 1e-2 * float(std.mean()))
    size = max(dimension, min(LOCAL, len(x) // 4))
    values, vectors = principal(within * scale, size)
    values = np.maximum(values, values[0] * 1e-9)
    local = scale[:, None] * vectors * values**-_WHITENING
    projection = local[:, :dimension]
    projection = projection @ fitting.calm(x @ projection, index)
    projection = fitting.scaled(x, mean, projection, CLIP_RADIUS, _CLIP_QUANTILE)
    metadata = {
        "format": "weightgate-encoder",
        "version": str(VERSION),
        "trunk": trunks.NAME,
        "trunk_sha256": trunks.WEIGHTS_SHA256,
        "pixels": str(pixels),
        "clip_radius": repr(CLIP_RADIUS),
        "sources": json.dumps(list(sources)),
    }
    local = fitting.scaled(x, mean, local, _LOCAL_NORM, 0.5)
    return packages.pack(mean, projection, local, metadata)


def fit_window_encoder(
    raw: NDArray[np.float32],
    groups: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    dimension: int = DIMENSION,
    sources: Sequence[str] = (),
) -> bytes:
    """Fit the projection on public sensor windows, and pack it.

    Args:
        raw: Raw features ``[n, windows.WIDTH]`` from ``raw_window_features``.
        groups: Number of the public data set of each window, ``[n]``.
        labels: Its class within that data set, ``[n]``.
        dimension: Number of features d.
        sources: Names of the public sources, for the package's metadata.

    Returns:
        The encoder package.

    Raises:
        DataError: Fewer windows than features.
    """
    if len(raw) < 2 * dimension:
        raise DataError(f"encoder: {len(raw)} public windows, expected at least {2 * dimension}")
    x = raw.astype(np.float64)
    mean = x.mean(axis=0)
    _, index = np.unique(groups, return_inverse=True)
    _, classes = np.unique(np.stack([groups, labels], axis=1), axis=0, return_inverse=True)
    within = fitting.within(x, index)
    std = within.std(axis=0)
    scale = window_trunks.block_weights() / (std + 1e-2 * float(std.mean()))
    z = within * scale
    size = max(dimension, min(_PRINCIPAL, len(x) // 4))
    spread, vectors = principal(z, size)
    spread = np.maximum(spread, spread[0] * 1e-9)
    local = scale[:, None] * vectors * spread**-_WHITENING
    values, found = fitting.discriminant(z @ vectors, classes.ravel(), dimension, _RIDGE)
    projection = scale[:, None] * (vectors @ found) * values ** (0.5 - _WHITENING)
    projection = projection @ fitting.calm(x @ projection, index)
    projection = fitting.scaled(x, mean, projection, CLIP_RADIUS, _CLIP_QUANTILE)
    metadata = {
        "format": "weightgate-encoder",
        "version": str(VERSION),
        "modality": "windows",
        "trunk": window_trunks.NAME,
        "trunk_sha256": window_trunks.digest(),
        "clip_radius": repr(CLIP_RADIUS),
        "sources": json.dumps(list(sources)),
    }
    local = fitting.scaled(x, mean, local, _LOCAL_NORM, 0.5)
    return packages.pack(mean, projection, local, metadata)


def load_encoder(data: bytes, *, device: str = "cpu") -> Encoder:
    """Load an encoder package.

    Args:
        data: From ``fit_encoder``.
        device: Torch device that encodes; another one may round otherwise.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
        VerificationError: It could overflow on a record; see ``encoder_package``.
        ConfigError: The trunk that it names is not installed.
    """
    tensors, metadata = packages.unpack(data)
    trunk: Trunk
    bounds: NDArray[np.float64] | float
    if modality_of(metadata) == "windows":
        trunk, bounds = window_trunks.WindowTrunk(), window_trunks.BOUND
    else:
        trunk = trunks.Trunk(int(metadata["pixels"]))
        bounds = trunk.bounds()
    packages.check_range(tensors, bounds)
    parts = [torch.from_numpy(tensors[name]) for name in packages.TENSORS]
    more = 0
    if modality_of(metadata) == "windows":
        kernels = WindowKernels()
        module = EncoderModule(trunk, *parts, kernels=kernels).eval()
        more = window_kernels.WIDTH
    else:
        module = EncoderModule(trunk, *parts)
        module = trunks.channels_last(module.eval()).to(device)
    dimension = tensors["projection"].shape[1]
    scaled = dimension + tensors["local"].shape[1]
    return Encoder(
        id=canonical.sha256_hex(data),
        modality=modality_of(metadata),
        dimension=dimension,
        scaled_dimension=scaled,
        local_dimension=scaled + more,
        clip_radius=CLIP_RADIUS,
        module=isolation.settled(module),
    )


def _stage_weights() -> NDArray[np.float64]:
    """Weight of each raw feature: each stage's statistics count alike."""
    sizes = [size for size in trunks.STAGES.values() for _ in range(2)] + [1280]
    return np.concatenate([np.full(size, size**-0.5) for size in sizes])


def _batched(
    module: Callable[[Tensor], Tensor], images: Images, pixels: int, width: int
) -> NDArray[np.float32]:
    """What a module makes of public images, ``[n, width]``, in batches of one size."""
    found = np.zeros((len(images), width), np.float32)
    with isolation.one_thread(), torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            chunk = list(images[start : start + _BATCH])
            # Kernels differ with the batch size in their last bits: every batch is full, so that
            # work that was cut off and goes on gives the same numbers.
            full = trunks.prepare(chunk + [chunk[-1]] * (_BATCH - len(chunk)), pixels)
            rows = module(full.contiguous(memory_format=torch.channels_last))
            found[start : start + len(chunk)] = rows[: len(chunk)].cpu().numpy()
    return found
