"""The public encoder: a frozen trunk, and a projection fitted on public images only.

Features are ``clip((raw - mean) @ projection)``: standardised, each stage of the trunk weighted
alike, the leading principal directions *within* public data sets, partly whitened
(eigenvalue^-1/4), with the directions in which whole data sets differ shrunk, scaled, and clipped
to an L2 norm of 1. The clip is part of the encoder, so that a head sees the very features whose
sums a plant releases; it costs no accuracy down to the tenth percentile of public norms, and halves
the noise (docs/decisions/0030).

The package is a safetensors file; its SHA-256 is the encoder's id, and it names the trunk's
weights by hash. Nothing private ever enters: a plant receives the package when it enrols.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import safetensors
import safetensors.numpy
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common import canonical
from wg_common.errors import DataError, DecodeError
from wg_common.nets import trunk as trunks

VERSION = 1
PIXELS = 64
DIMENSION = 64
CLIP_RADIUS = 1.0
PACKAGE_LIMIT = 16 << 20

_CLIP_QUANTILE = 0.25
_WHITENING = 0.25
_SITE_SHRINKAGE = 4.0
_BATCH = 32

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


class EncoderModule(nn.Module):
    """Images to features as one torch module, for export."""

    mean: Tensor
    projection: Tensor

    def __init__(self, trunk: trunks.Trunk, mean: Tensor, projection: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", mean)
        self.register_buffer("projection", projection)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[n, d]`` of images ``[n, 3, p, p]``, 0 to 255."""
        return self.project(self.trunk(images))

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
        dimension: Number of features.
        clip_radius: L2 norm that no feature vector exceeds.
        module: The network.
        threads: Torch threads used while encoding.
    """

    id: str
    dimension: int
    clip_radius: float
    module: EncoderModule
    threads: int

    @property
    def pixels(self) -> int:
        """Side of the images that the trunk sees."""
        return self.module.trunk.pixels

    def encode(self, images: Images) -> NDArray[np.float32]:
        """Features of images.

        Args:
            images: Each uint8 ``[h, w]`` or ``[h, w, 3]``; sizes may differ.

        Returns:
            float32 ``[n, d]``, each row of L2 norm at most ``clip_radius``.

        Raises:
            DataError: An image has another type or shape.
        """
        found = [np.zeros((0, self.dimension), np.float32)]
        for batch in _batches(images, self.pixels, self.threads):
            with torch.inference_mode():
                found.append(self.module(batch).numpy())
        return np.concatenate(found)[: len(images)]


def raw_features(images: Images, *, pixels: int = PIXELS, threads: int = 1) -> NDArray[np.float32]:
    """Raw trunk features ``[n, trunk.WIDTH]`` of public images, for ``fit_encoder``."""
    trunk = trunks.channels_last(trunks.Trunk(pixels))
    found = [np.zeros((0, trunks.WIDTH), np.float32)]
    for batch in _batches(images, pixels, threads):
        with torch.inference_mode():
            found.append(trunk(batch).numpy())
    return np.concatenate(found)[: len(images)]


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
    sums = np.zeros((index.max() + 1, x.shape[1]))
    np.add.at(sums, index, x)
    within = x - (sums / np.bincount(index)[:, None])[index]
    std = within.std(axis=0)
    scale = _stage_weights() / (std + 1e-2 * float(std.mean()))
    z = within * scale
    values, vectors = _principal(z, dimension)
    values = np.maximum(values, values[0] * 1e-9)
    projection = scale[:, None] * vectors * values**-_WHITENING
    projection = projection @ _calm(x @ projection, index)
    largest = np.abs(projection).argmax(axis=0)
    projection = projection * np.sign(projection[largest, np.arange(dimension)])
    norms = np.linalg.norm((x - mean) @ projection, axis=1)
    projection = projection * (CLIP_RADIUS / float(np.quantile(norms, _CLIP_QUANTILE)))
    metadata = {
        "format": "weightgate-encoder",
        "version": str(VERSION),
        "trunk": trunks.NAME,
        "trunk_sha256": trunks.WEIGHTS_SHA256,
        "pixels": str(pixels),
        "clip_radius": repr(CLIP_RADIUS),
        "sources": json.dumps(list(sources)),
    }
    return safetensors.numpy.save(
        {"mean": mean.astype(np.float32), "projection": projection.astype(np.float32)},
        metadata={"encoder": canonical.encode(metadata).decode()},
    )


def load_encoder(data: bytes, *, threads: int = 1) -> Encoder:
    """Load an encoder package.

    Args:
        data: From ``fit_encoder``.
        threads: Torch threads used while encoding.

    Raises:
        DecodeError: The bytes are no encoder package of this version.
        ConfigError: The trunk that it names is not installed.
    """
    mean, projection, metadata = _unpack(data)
    pixels = int(metadata["pixels"])
    module = EncoderModule(
        trunks.Trunk(pixels), torch.from_numpy(mean), torch.from_numpy(projection)
    )
    module = trunks.channels_last(module.eval())
    return Encoder(canonical.sha256_hex(data), projection.shape[1], CLIP_RADIUS, module, threads)


def _unpack(
    data: bytes,
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, str]]:
    if len(data) > PACKAGE_LIMIT:
        raise DecodeError(f"encoder: {len(data)} bytes, at most {PACKAGE_LIMIT} are accepted")
    try:
        tensors = safetensors.numpy.load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        metadata = json.loads(header["__metadata__"]["encoder"])
        mean, projection = tensors["mean"], tensors["projection"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"encoder: not an encoder package: {error}") from error
    expected = {
        "format": "weightgate-encoder",
        "version": str(VERSION),
        "trunk": trunks.NAME,
        "trunk_sha256": trunks.WEIGHTS_SHA256,
        "clip_radius": repr(CLIP_RADIUS),
    }
    for field, value in expected.items():
        if not isinstance(metadata, dict) or metadata.get(field) != value:
            raise DecodeError(f"encoder: {field} is not {value!r}")
    pixels = metadata.get("pixels", "")
    if not (isinstance(pixels, str) and pixels.isdigit() and 32 <= int(pixels) <= 512):
        raise DecodeError(f"encoder: pixels is {pixels!r}, expected 32 to 512")
    good = (
        set(tensors) == {"mean", "projection"}
        and mean.shape == (trunks.WIDTH,)
        and projection.ndim == 2
        and projection.shape[0] == trunks.WIDTH
        and 0 < projection.shape[1] <= trunks.WIDTH
        and all(t.dtype == np.float32 and np.isfinite(t).all() for t in tensors.values())
    )
    if not good:
        raise DecodeError("encoder: tensors are not a finite mean and projection of this trunk")
    return mean, projection, metadata


def _principal(
    z: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leading eigenvalues ``[count]`` and eigenvectors ``[D, count]`` of ``z' z / n``."""
    n, d = z.shape
    small = z @ z.T if n < d else z.T @ z
    order = len(small)
    values, vectors = scipy.linalg.eigh(small / n, subset_by_index=(order - count, order - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    if n < d:
        vectors = z.T @ vectors
        vectors = vectors / (np.linalg.norm(vectors, axis=0) + 1e-300)
    return values, vectors


def _calm(features: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shrink the directions in which data sets differ as wholes, ``[d, d]``.

    Light and camera move all records of a site alike. That says nothing of its classes, but uses
    up the clip radius, and noise is proportional to it.
    """
    counts = np.bincount(index)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, index, features)
    centres = sums / counts[:, None]
    within = float(np.mean((features - centres[index]) ** 2))
    away = centres - centres.mean(axis=0)
    values, vectors = np.linalg.eigh(away.T @ away / len(away))
    gain = (1 + _SITE_SHRINKAGE * np.maximum(values, 0) / within) ** -0.5
    return np.asarray((vectors * gain) @ vectors.T)


def _stage_weights() -> NDArray[np.float64]:
    """Weight of each raw feature: each stage's statistics count alike."""
    sizes = [size for size in trunks.STAGES.values() for _ in range(2)] + [1280]
    return np.concatenate([np.full(size, size**-0.5) for size in sizes])


class _Threads:
    """Torch's thread count for the time of a block."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._before = torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self._threads)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)


def _batches(images: Images, pixels: int, threads: int) -> Iterator[Tensor]:
    with _Threads(threads):
        for start in range(0, len(images), _BATCH):
            chunk = list(images[start : start + _BATCH])
            # Kernels differ with the batch size in their last bits, and one record must not change
            # another's features: every batch is full, and the caller drops what was added.
            chunk += [chunk[-1]] * (_BATCH - len(chunk))
            yield trunks.prepare(chunk, pixels).contiguous(memory_format=torch.channels_last)
