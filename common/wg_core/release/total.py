"""An encoder is total: a record that it fails on has no features, and nothing else tells of it.

Whoever makes an encoder can make one that fails on a certain record: by an error, another number of
features, a value that is not finite, more memory or time than there is. Were that a refusal, it
would tell whether a plant holds the record, and cost nothing. So it counts as a record of zeros in
all that leaves, the records beside it keep their features to the last bit, and the plant's own
people are told (``snapshot.Quality``).

Memory and time are bounded where records are encoded (``wg_common.nets.encoder``).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import StorageError


class LocalEncoder(Protocol):
    """The part of an encoder that makes features: see ``freeze.RecordEncoder``."""

    @property
    def local_dimension(self) -> int:
        """Number D of local features."""

    def encode_local(self, records: Sequence[Any], /) -> NDArray[np.float32]:
        """Local features ``[n, D]`` of records; not finite where it failed on one.

        Raises:
            StorageError: The machine is short of something, whatever the records are.
        """


def encode(
    encoder: LocalEncoder, records: Sequence[Any]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Local features of records, zeros where an encoder fails, whatever it does.

    Returns:
        Features, float32 ``[n, D]``, all finite, and whether the encoder failed on each, ``[n]``.

    Raises:
        StorageError: As of ``LocalEncoder``.
    """
    shape = len(records), encoder.local_dimension
    features = _attempt(encoder, records)
    if features is None and len(records) > 1:
        features = np.full(shape, np.nan, np.float32)
        for row, record in enumerate(records):
            lone_row = _attempt(encoder, [record])
            if lone_row is not None:
                features[row] = lone_row[0]
    if features is None:
        features = np.full(shape, np.nan, np.float32)
    finite = np.isfinite(features)
    failures = np.asarray(~finite.all(axis=1), dtype=np.bool_)
    return np.where(finite, features, np.float32(0)), failures


def _attempt(encoder: LocalEncoder, records: Sequence[Any]) -> NDArray[np.float32] | None:
    """Features of some records, or nothing: the encoder failed on all of them together."""
    try:
        features = np.asarray(encoder.encode_local(records), dtype=np.float32)
    except StorageError:
        raise
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, there are no features
        return None
    return features if features.shape == (len(records), encoder.local_dimension) else None
