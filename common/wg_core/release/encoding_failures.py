"""Encoding that never fails: a record that the encoder cannot process gets zero features.

Whoever makes an encoder can make it fail on a certain record: by an exception, another number of
features, a non-finite value, or excessive memory or time. If that caused a refusal, it would tell
whether a plant holds the record, and cost nothing. So such a record counts as zeros in everything
that leaves, the records beside it keep their features to the last bit, and only the plant's own
people are told (``quality.QualityReport``).

Memory and time are bounded where records are encoded (``wg_common.nets.encoder``).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import StorageError

EncodeRecords = Callable[[Sequence[Any]], NDArray[np.float32]]
"""Function that returns features ``[n, D]`` of records, such as ``RecordEncoder.encode_local``."""


def encode_or_zero(
    encode: EncodeRecords, feature_count: int, records: Sequence[Any]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return features of records, with zeros where the encoder fails in any way.

    Returns:
        Features, float32 ``[n, feature_count]``, all finite, and a mask ``[n]`` of the failures.

    Raises:
        StorageError: The machine lacks memory or disk space, whatever the records are.
    """
    shape = len(records), feature_count
    features = _encode_or_none(encode, shape, records)
    if features is None and len(records) > 1:
        features = np.full(shape, np.nan, np.float32)
        for row, record in enumerate(records):
            lone_row = _encode_or_none(encode, (1, feature_count), [record])
            if lone_row is not None:
                features[row] = lone_row[0]
    if features is None:
        features = np.full(shape, np.nan, np.float32)
    finite = np.isfinite(features)
    failures = np.asarray(~finite.all(axis=1), dtype=np.bool_)
    return np.where(finite, features, np.float32(0)), failures


def _encode_or_none(
    encode: EncodeRecords, shape: tuple[int, int], records: Sequence[Any]
) -> NDArray[np.float32] | None:
    """Return the features of records encoded together, or None if the encoder failed."""
    try:
        features = np.asarray(encode(records), dtype=np.float32)
    except StorageError:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the error, there are no features
        return None
    return features if features.shape == shape else None
