"""Where in an image it is unlike the plant's own: distances of its patches to theirs.

Maps of two stages of the encoder's trunk, averaged over neighbours, are patches; each is held
against a bank of patches of the plant's own records (PatchCore; Roth et al. 2022, CVPR,
arXiv 2106.08265, with a random bank in place of a coreset). Only where one looks comes from here:
whether a record is new is said by ``novelty``, which is right more often.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities.base import Record
from wg_common.nets.encoder.trunk import EncoderTrunk
from wg_common.streams import Stream
from wg_core.errors import DecodeError

PATCHES_LIMIT = 1000  # Patches in the bank
CHANNELS_LIMIT = 1024  # Most channels of a patch
_PREFIX = "patch_"

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchBank:
    """Patches of own records; at most 4 MB, 0.6 MB with today's encoder.

    Attributes:
        mean: Of each channel, ``[c]``.
        scale: Of each, ``[c]``.
        bank: Standardised patches, ``[m, c]``.
        level: Distance that one own patch in a hundred exceeds, ``[1]``.
    """

    mean: Singles
    scale: Singles
    bank: Singles
    level: Singles

    def distances(self, patches: Singles) -> Singles:
        """Distance of patches ``[..., c]`` to the nearest of the bank, in units of ``level``."""
        flat = (patches.reshape(-1, patches.shape[-1]) - self.mean) * self.scale
        squares = (flat**2).sum(axis=1)[:, None] + (self.bank**2).sum(axis=1)
        squares -= 2 * flat @ self.bank.T
        nearest = np.sqrt(np.maximum(squares.min(axis=1), 0)) / self.level[0]
        return np.asarray(nearest.reshape(patches.shape[:-1]), dtype=np.float32)

    def tensors(self) -> dict[str, Singles]:
        """As a file has them."""
        return {
            f"{_PREFIX}mean": self.mean,
            f"{_PREFIX}scale": self.scale,
            f"{_PREFIX}bank": self.bank,
            f"{_PREFIX}level": self.level,
        }


def from_tensors(tensors: Mapping[str, NDArray[np.float32]], file_name: str) -> PatchBank:
    """Of a file that this program wrote.

    Raises:
        DecodeError: Names, shapes or values are not those of ``PatchBank``.
    """
    shapes = {name.removeprefix(_PREFIX): value.shape for name, value in tensors.items()}
    c = shapes.get("mean", (0,))[0]
    m = shapes.get("bank", (0,))[0]
    expected = {"mean": (c,), "scale": (c,), "bank": (m, c), "level": (1,)}
    if shapes != expected or not (0 < c <= CHANNELS_LIMIT and 0 < m <= PATCHES_LIMIT):
        raise DecodeError(f"{file_name}: patches of shapes {shapes}")
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise DecodeError(f"{file_name}: values that are not finite")
    return PatchBank(
        **{name.removeprefix(_PREFIX): value.astype(np.float32) for name, value in tensors.items()}
    )


def split(
    tensors: Mapping[str, NDArray[np.float32]],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """A file's tensors: those of ``novelty``, and those of patches."""
    patches = {name: value for name, value in tensors.items() if name.startswith(_PREFIX)}
    return {name: value for name, value in tensors.items() if name not in patches}, patches


def fit(trunk: EncoderTrunk, records: Sequence[Record]) -> PatchBank | None:
    """From own records; None for kinds of records that have no place, or fewer than two records."""
    if len(records) < 2:
        return None
    patches = patches_of(trunk, records)
    return None if patches is None else fit_patches(patches)


def fit_patches(
    patches: Singles,
    *,
    # Of own patches' distances: from there on a patch is coloured, and at twice that fully.
    quantile: float = 0.99,
) -> PatchBank:
    """From patches ``[n, h, w, c]`` of own records, n at least 2."""
    rng = streams.rng(Stream.NOVELTY)
    half = len(patches) // 2
    flat = patches.reshape(-1, patches.shape[-1])
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    scale = (1 / (spread + 0.1 * spread.mean() + 1e-9)).astype(np.float32)

    def bank(values: Singles) -> PatchBank:
        rows = values.reshape(-1, values.shape[-1])
        chosen = rows[np.sort(rng.permutation(len(rows))[:PATCHES_LIMIT])]
        return PatchBank(
            mean=mean, scale=scale, bank=(chosen - mean) * scale, level=np.ones(1, np.float32)
        )

    # One half is held against the other: no patch is its own neighbour.
    level = np.quantile(bank(patches[:half]).distances(patches[half:]), quantile)
    patch_bank = bank(patches)
    return PatchBank(
        mean=patch_bank.mean,
        scale=patch_bank.scale,
        bank=patch_bank.bank,
        level=np.full(1, max(float(level), 1e-6), np.float32),
    )


def patches_of(trunk: EncoderTrunk, records: Sequence[Record]) -> Singles | None:
    """Patches ``[n, h, w, c]`` of records; None for kinds of records that have no place."""
    import torch
    import torch.nn.functional as F

    parts = []
    with torch.inference_mode():
        for start in range(0, len(records), trunk.batch):
            maps = trunk.maps(trunk.prepare(list(records[start : start + trunk.batch])))
            if not maps:
                return None
            size = maps[0].shape[2:]
            wide = [
                F.interpolate(
                    F.avg_pool2d(feature_map, 3, stride=1, padding=1, count_include_pad=False),
                    size=size,
                    mode="bilinear",
                    align_corners=False,
                )
                for feature_map in maps
            ]
            parts.append(torch.cat(wide, dim=1).permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts).astype(np.float32)


def png(image: NDArray[np.uint8], distances: Singles, *, least_side: int = 256) -> bytes:
    """An image with its map over it, as a PNG: clear where it is as usual, red where it is not.

    Args:
        image: uint8 ``[h, w]`` or ``[h, w, 3]``.
        distances: ``[a, b]``, from ``PatchBank.distances``.
    """
    from PIL import Image

    picture = Image.fromarray(image).convert("RGB")
    factor = max(1, -(-least_side // min(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    strength = np.clip(distances - 1, 0, 1)
    mask = Image.fromarray((200 * strength).astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    picture = picture.resize(size, Image.Resampling.NEAREST)
    picture.paste(Image.new("RGB", size, (214, 39, 40)), mask=mask)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
