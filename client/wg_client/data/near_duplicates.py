"""Near-duplicates: acceptance records that are nearly the same as records of the data set.

*Images*: resized or recompressed copies, and other exposures of one scene. Grey thumbnails are
compared by their cosine at two scales: the thumbnail, and the details that a coarser one lacks.
Features of the encoder do not serve: compression changes them more than another part does.

*Texts*: equal letters, marks and digits, whatever the case, punctuation and white space.

*Windows*: overlapping cuts of one recording, which share a run of samples bit by bit. The runs of a
window with the smallest hashes stand for all of them (Broder 1997, *On the resemblance and
containment of documents*).

Near-duplicates are only reported: none is left out, and no release depends on them. Not guaranteed:
that a copy is found if it is cropped, turned or resampled, or has fewer than 28 pixels a side.
"""

import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from wg_client.data.record_inspection import Inspection
from wg_common.modalities.base import Record
from wg_common.modalities.images import Images
from wg_common.modalities.windows import Windows
from wg_core.site.reading_config import RECORDS_PER_CHUNK
from wg_core.snapshot import DuplicateRecord

SMALLEST_COSINE = 0.982
"""Smallest cosine, at both scales, of two images that are the same picture."""
_SIDE, _COARSE_SIDE = 16, 4
_HASHES_PER_WINDOW = 16  # Runs that stand for a window; overlaps by half share one with 99 %
_HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def find_near_duplicates(
    acceptance_records: Inspection, data_set_records: Inspection
) -> tuple[DuplicateRecord, ...]:
    """Find the acceptance records that are nearly the same as a record of the data set.

    Raises:
        DataError: A record cannot be read again.
    """
    if not len(acceptance_records.data) or not len(data_set_records.data):
        return ()
    find = (
        _pairs_of_similar_pictures
        if acceptance_records.data.modality == Images.name
        else _pairs_with_shared_keys
    )
    names, other_names = acceptance_records.data.names, data_set_records.data.names
    return tuple(
        DuplicateRecord(name=names[row], same_as=other_names[other])
        for row, other in sorted(find(acceptance_records, data_set_records))
    )


def _pairs_of_similar_pictures(
    acceptance_records: Inspection, data_set_records: Inspection
) -> Iterator[tuple[int, int]]:
    """Yield the row of each acceptance image with a similar image in the data set, and its row."""
    n, m = len(acceptance_records.data), len(data_set_records.data)
    views = _picture_views(acceptance_records, range(n))
    sample = sorted({*np.linspace(0, m - 1, RECORDS_PER_CHUNK).astype(int).tolist()})
    mean = np.concatenate([views, _picture_views(data_set_records, sample)], axis=1).mean(axis=1)[
        :, None
    ]
    views = _scale_rows_to_unit_length(views - mean)
    cosines, nearest = np.full(n, SMALLEST_COSINE), np.full(n, -1)
    for start in range(0, m, RECORDS_PER_CHUNK):
        rows = range(start, min(start + RECORDS_PER_CHUNK, m))
        other_views = _scale_rows_to_unit_length(_picture_views(data_set_records, rows) - mean)
        part = (views @ other_views.transpose(0, 2, 1)).min(axis=0)
        best = part.max(axis=1)
        nearest = np.where(best > cosines, start + part.argmax(axis=1), nearest)
        cosines = np.maximum(best, cosines)
    yield from ((row, int(nearest[row])) for row in np.flatnonzero(nearest >= 0).tolist())


def _picture_views(inspection: Inspection, rows: Iterable[int]) -> NDArray[np.float32]:
    """Return images' thumbnails and their fine details, of unit length, ``[2, n, pixels]``."""
    from PIL import Image

    bilinear, pixels = Image.Resampling.BILINEAR, []
    for row in rows:
        picture = Image.fromarray(inspection.read(row)[0]).convert("L").convert("F")
        thumbnail = picture.resize((_SIDE, _SIDE), bilinear)
        coarse = thumbnail.resize((_COARSE_SIDE, _COARSE_SIDE), bilinear)
        coarse = coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        pixels.append([np.asarray(thumbnail).ravel(), np.asarray(coarse).ravel()])
    thumbnails, coarse_ones = np.array(pixels, dtype=np.float32).transpose(1, 0, 2)
    whole = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    return _scale_rows_to_unit_length(np.stack([whole, thumbnails - coarse_ones]))


def _scale_rows_to_unit_length(x: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.maximum(norms, 1e-6), dtype=np.float32)


def _pairs_with_shared_keys(
    acceptance_records: Inspection, data_set_records: Inspection
) -> Iterator[tuple[int, int]]:
    """Yield pairs of an acceptance record's row and the row of a record with a key in common."""
    keys_of = _window_keys if acceptance_records.data.modality == Windows.name else _text_keys
    rows_by_key: dict[str | int, set[int]] = {}
    for row in range(len(acceptance_records.data)):
        for key in keys_of(acceptance_records.read(row)[0]):
            rows_by_key.setdefault(key, set()).add(row)
    known_rows = set[int]()
    for other in range(len(data_set_records.data)):
        for key in keys_of(data_set_records.read(other)[0]):
            new_rows = rows_by_key.pop(key, set()) - known_rows
            known_rows |= new_rows
            yield from ((row, other) for row in new_rows)


def _text_keys(record: Record) -> set[str | int]:
    letters = unicodedata.normalize("NFKC", str(record)).casefold()
    key = "".join(c for c in letters if unicodedata.category(c)[0] in "LMN")
    return {key} if key else set()


def _window_keys(record: Record) -> set[str | int]:
    """Return the smallest hashes of runs, a quarter of a window long, that are not constant."""
    window = np.ascontiguousarray(record, dtype=np.float32)
    length = min(max(window.shape[1] // 4, 4), window.shape[1])
    factors = _HASH_MULTIPLIER * np.arange(1, 2 * len(window), 2, dtype=np.uint64)
    samples = _mix_hash_bits(
        (window.view(np.uint32) * factors[:, None]).sum(axis=0, dtype=np.uint64)
    )
    runs = np.lib.stride_tricks.sliding_window_view(samples, length)
    powers = np.cumprod(np.full(length, _HASH_MULTIPLIER), dtype=np.uint64)
    hashes = _mix_hash_bits(np.asarray(runs @ powers, dtype=np.uint64))
    return set(np.sort(hashes[(runs != runs[:, :1]).any(axis=1)])[:_HASHES_PER_WINDOW].tolist())


def _mix_hash_bits(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of hashes, so that their order says nothing about the values."""
    return np.asarray((hashes ^ (hashes >> np.uint64(29))) * _HASH_MULTIPLIER, dtype=np.uint64)
